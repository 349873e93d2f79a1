"""Every French word the code itself needs: labels of codes, sentences for failures, the wording of dates.

Tables only. A code that is not in a table shows as itself (`label`), so that a new state of the domain
never breaks a page. Templates hold their own sentences; nothing else in the package is French.
"""

from __future__ import annotations

from collections.abc import Mapping

WORKFLOWS: Mapping[str, str] = {
    "transfert-imagerie": "Transfert d'imagerie",
    "avis-urgences": "Avis urgences",
    "avis-avc-aigu": "Avis AVC aigu",
    "avis-generique": "Avis programmé",
    "rcp-greffe-renale": "RCP greffe rénale",
    "autre": "Autre (reprise)",
}
WORKFLOW_HINTS: Mapping[str, str] = {
    "avis-avc-aigu": "Suspicion d'AVC de moins de 24 h. N'attend pas les images pour partir.",
    "avis-urgences": "Avis spécialisé en urgence, images et appel téléphonique.",
    "avis-generique": "Question à un spécialiste, réponse sous quelques jours.",
    "transfert-imagerie": "Mettre des examens à disposition d'un confrère ou d'une RCP, sans demande d'avis.",
    "rcp-greffe-renale": "Présenter un patient à la réunion de concertation de greffe rénale.",
}
STATES: Mapping[str, str] = {
    "brouillon": "Brouillon",
    "envoye": "Envoyé",
    "lu": "Lu",
    "pris-en-charge": "Pris en charge",
    "complement-demande": "Complément demandé",
    "repondu": "Répondu",
    "clos": "Clos",
    "refuse": "Refusé",
    "annule": "Annulé",
    "reoriente": "Réorienté",
    "erreur-de-dossier": "Erreur de dossier",
}
STATE_TONES: Mapping[str, str] = {
    "brouillon": "neutre",
    "envoye": "attente",
    "lu": "encours",
    "pris-en-charge": "encours",
    "complement-demande": "attente",
    "repondu": "fait",
    "clos": "neutre",
    "refuse": "alerte",
    "annule": "neutre",
    "reoriente": "neutre",
    "erreur-de-dossier": "alerte",
}
PRIORITIES: Mapping[str, str] = {"stat": "Urgence vitale", "urgent": "Urgente", "routine": "Normale"}
SEXES: Mapping[str, str] = {"male": "Masculin", "female": "Féminin", "other": "Autre", "unknown": "Inconnu"}
SEX_LETTERS: Mapping[str, str] = {"male": "M", "female": "F"}
BORN: Mapping[str, str] = {"male": "Né", "female": "Née"}
BORN_UNKNOWN = "Né(e)"
IDENTITIES: Mapping[str, str] = {
    "qualifiee": "Identité qualifiée",
    "validee": "Identité validée",
    "recuperee": "Identité récupérée",
    "provisoire": "Identité provisoire",
    "douteuse": "Identité douteuse",
}
IDENTITY_TONES: Mapping[str, str] = {
    "qualifiee": "fait",
    "validee": "encours",
    "recuperee": "attente",
    "provisoire": "attente",
    "douteuse": "alerte",
}
VISIBILITIES: Mapping[str, str] = {"me": "Moi-même", "community": "Ma communauté"}
CONSENTS: Mapping[str, str] = {
    "recueilli": "Recueilli",
    "impossible": "Impossible à recueillir",
    "refuse": "Refusé",
}
MODALITIES: Mapping[str, str] = {
    "MR": "IRM",
    "CT": "Scanner",
    "PT": "TEP",
    "US": "Échographie",
    "CR": "Radiographie",
    "DX": "Radiographie",
    "XA": "Angiographie",
    "NM": "Scintigraphie",
    "MG": "Mammographie",
    "OT": "Autre",
    "SC": "Capture",
    "RF": "Radioscopie",
    "ES": "Endoscopie",
    "XC": "Photographie",
    "ECG": "Électrocardiogramme",
    "DOC": "Document",
    "SR": "Compte rendu",
    "KO": "Images signalées",
    "PR": "Présentation",
}
# stage of an exam that a modality or an import announced → sentence, tone
ACQUISITION: Mapping[str, tuple[str, str]] = {
    "acquiring": ("En acquisition", "encours"),
    "transferring": ("En transfert : {n} sur {total}", "encours"),
    "complete": ("Complet", "fait"),
    "incomplete": ("Incomplet : {left} image{s} manquante{s} sur {total}", "alerte"),
    "discontinued": ("Acquisition abandonnée", "attente"),
    "interrupted": ("Acquisition interrompue : fin non annoncée par la modalité", "alerte"),
}
# what the timeline says of a step that was done
STEPS_DONE: Mapping[str, str] = {
    "conflict": "La décision est enregistrée.",
    "prior-fetch": "L'antériorité est demandée. Elle apparaîtra parmi les examens.",
    "prior-set-aside": "L'examen est écarté.",
    "prior-again": "Les établissements du groupement sont interrogés de nouveau.",
    "start": "Télédossier ouvert",
    "create": "Télédossier ouvert",
    "import-identity": "Identité reçue du DPI",
    "save": "Brouillon enregistré",
    "attach": "Pièce ajoutée",
    "exam-attached": "Examen associé",
    "prior-attached": "Antériorité ajoutée",
    "exam-transferred": "Examen transféré",
    "exam-incomplete": "Examen incomplet",
    "exam-detached": "Examen dissocié",
    "associate-exam": "Examen associé",
    "document-attached": "Document ajouté",
    "send": "Demande envoyée",
    "read": "Dossier lu",
    "take": "Pris en charge",
    "assign": "Affecté",
    "reroute": "Réorienté",
    "refuse": "Refusé",
    "cancel": "Annulé",
    "request-information": "Complément demandé",
    "add-information": "Complément apporté",
    "request-opinion": "Avis complémentaire demandé",
    "agree-protocol": "Protocole accordé",
    "log-call": "Appel téléphonique",
    "answer": "Réponse",
    "sign-report": "Compte rendu signé",
    "acknowledge": "Accusé de réception",
    "close": "Télédossier clos",
    "invite": "Invitation",
    "mask": "Pièce masquée",
    "create-venue": "Venue créée",
    "deliver-report": "Compte rendu déposé dans le DPI",
    "code-act": "Acte coté",
    "enrol-session": "Inscrit à une séance",
    "hold-session": "Séance tenue",
    "notify": "Notification",
}
# what the page says once a step of this person is done (after the redirect)
DONE: Mapping[str, str] = {
    "send": "La demande est envoyée. Les destinataires sont prévenus.",
    "save": "Le brouillon est enregistré.",
    "discard": "Le brouillon est supprimé.",
    "read": "La lecture est horodatée.",
    "take": "Vous avez pris en charge ce télédossier.",
    "log-call": "L'appel est consigné.",
    "answer": "Votre réponse est transmise au requérant.",
    "sign-report": "Le compte rendu est signé.",
    "acknowledge": "L'accusé de réception est transmis.",
    "close": "Le télédossier est clos.",
    "refuse": "La demande est refusée, le requérant est prévenu.",
    "cancel": "La demande est annulée, les destinataires sont prévenus.",
    "reroute": "La demande est réorientée.",
    "request-information": "La demande de complément est transmise.",
    "add-information": "Le complément est transmis.",
    "request-opinion": "La demande d'avis complémentaire est transmise.",
    "assign": "Le télédossier est affecté.",
    "agree-protocol": "L'accord sur le protocole est transmis.",
    "attach": "La pièce est jointe au télédossier.",
    "exam-asked": "L'examen est demandé : ses images arrivent en tâche de fond.",
    "series": "Les séries à envoyer sont retenues.",
    "exam": "L'examen est associé au télédossier.",
    "exam-refused": "La proposition d'examen est écartée.",
    "system-on": "C'est activé. La trace en est gardée.",
    "system-off": "C'est suspendu. La trace en est gardée.",
}
# status → title, sentence
FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("Demande incomprise", "La plateforme n'a pas compris cette demande. Rien n'a été modifié."),
    401: ("Session terminée", "Votre session est terminée. Reconnectez-vous pour continuer."),
    403: ("Accès refusé", "Vos droits ne permettent pas cette action."),
    404: ("Introuvable", "Ce télédossier n'existe pas, ou il ne vous est pas ouvert."),
    405: ("Action impossible", "Cette action n'est pas proposée à cette adresse."),
    409: ("Étape impossible", "Cette étape n'est pas possible dans l'état actuel du télédossier."),
    410: ("Supprimé", "Ce brouillon a été supprimé."),
    412: ("Modifié entre-temps", "Le télédossier a été modifié ailleurs. Relisez avant de recommencer."),
    413: ("Fichier trop lourd", "Ce fichier dépasse la taille acceptée."),
    415: ("Format refusé", "Ce format de fichier n'est pas accepté."),
    422: ("Saisie à compléter", "Certaines informations sont manquantes ou inexactes."),
    500: ("Incident", "La plateforme a rencontré une erreur. Réessayez dans un instant."),
    503: ("Service indisponible", "La plateforme est momentanément indisponible. Réessayez dans un instant."),
}
MUST = "Ce renseignement est obligatoire."
SHOULD = "Utile à l'expert. Non bloquant en urgence vitale."
NOT_A_NUMBER = "Indiquez un nombre."
NOT_A_WHOLE_NUMBER = "Indiquez un nombre entier."
NOT_A_TIME = "Indiquez une heure, par exemple 04:05."
NOT_A_DATE = "Indiquez une date, par exemple 17/05/1953."
TOO_LONG = "Trop long : {n} caractères au plus."
OUT_OF_RANGE = "Hors des bornes : de {low} à {high}."
NOT_A_CHOICE = "Choisissez une valeur de la liste."
NO_RECIPIENT = "Choisissez au moins un correspondant."
RECIPIENTS = "Correspondants"
DELAY = "lecture sous {delay}"
NO_WORKFLOW = "Choisissez le type de télédossier."
NO_FILE = "Choisissez un fichier."
NOT_AN_INS = "Un INS comporte 15 caractères (13 et la clé) ; la clé doit être juste."
FUTURE_BIRTH = "La date de naissance est dans le futur."
STALE = "Ce brouillon a été modifié ailleurs depuis l'ouverture de cette page. Votre saisie est conservée."
YES, NO = "Oui", "Non"
PLATFORM = "Plateforme"
UNKNOWN_PERSON = "Professionnel"
POSSIBLE_NOW = "Possible maintenant : {steps}."
UNKNOWN_PATIENT = "Patient non renseigné"
BIRTH_NOT_GIVEN = "Date de naissance non renseignée"
DOCUMENT = "Document"
REPORT = "Compte rendu"
EXAM = "Examen"
AWAITED_ONE, AWAITED_MANY = "1 examen attendu", "{n} examens attendus"
JUST_NOW = "à l'instant"
AGO_MINUTES = "il y a {n} min"
AGO_HOURS = "il y a {n} h"
AGO_DAYS = "il y a {n} j"
YEARS = "{n} ans"
MONTHS = "{n} mois"
DATE_AT_TIME = "{date} à {time}"
READ_BY = "Dossier lu par {name} le {date} à {time}"
READ_BY_SHORT = "Lu par {name} à {time}"
READ_BY_SHORT_DATED = "Lu par {name} le {date} à {time}"
BYTES = ("o", "Ko", "Mo", "Go")


def label(table: Mapping[str, str], code: str) -> str:
    """The French label of a code, or the code itself when the table does not know it."""
    return table.get(code, code)


# exams taken from a PACS or from this computer, and their transfers (R085-R091)
BAD_DATE = "Une date s'écrit jj/mm/aaaa."
SEARCH_TOO_WIDE = "Indiquez au moins un nom, une date, un identifiant ou un numéro de rendez-vous."
NO_SERIES = "Choisissez au moins une série."
NO_SERIES_TO_SEND = "Choisissez au moins une série de chaque examen."
SERIES_NOT_CHOSEN = "Le choix n'a pas été retenu : le télédossier est déjà envoyé, ou l'examen a changé."
NO_EXAM = "Cochez au moins un examen."
UNKNOWN_SENDER = "un émetteur inconnu"
PIXELS_DIFFER = "l'image elle-même, pas ses informations"
NO_REASON = "Indiquez le motif de la décision."
NO_IMAGE_CHOSEN = "Aucune image n'était à décider."
CONFLICT_FAILURES: Mapping[str, str] = {
    "of-another-study": "Ces images se disent d'un autre examen : elles ne peuvent pas être affichées ici.",
    "decided-already": "Quelqu'un d'autre a décidé entre-temps.",
    "not-allowed": "Cette décision revient à un professionnel.",
}
ATTRIBUTES: Mapping[str, str] = {
    "00080020": "date de l'examen", "00080030": "heure de l'examen", "00080050": "numéro d'examen",
    "00080080": "établissement", "00081030": "description de l'examen",
    "0008103E": "description de la série", "00100010": "nom du patient",
    "00100020": "identifiant du patient", "00100021": "émetteur de l'identifiant",
    "00100030": "date de naissance", "00100040": "sexe", "00101002": "autres identifiants du patient",
    "00104000": "commentaire sur le patient", "00180015": "région", "00200011": "numéro de série",
    "00200013": "numéro d'image", "00281050": "fenêtre", "00281051": "largeur de fenêtre",
    "04000561": "valeurs d'origine",
}  # fmt: skip
A_PACS = "un PACS"
PRIOR_HERE = "déjà sur la plateforme"
PRIORS_ASKED = "Recherche d'antériorités en cours dans les établissements du groupement…"
PRIORS_SILENT = "Sans réponse pour l'instant : {places}. La recherche y est refaite d'elle-même."
PRIOR_HOW: Mapping[str, str] = {
    "ins": "Même INS",
    "local-number": "Même numéro de patient dans l'établissement",
    "traits": "Identité à vérifier",
}
TRANSFER_IN = "Import depuis {peer}"
TRANSFER_OUT = "Envoi vers {peer}"
TRANSFER_REJECT = "Retrait demandé à {peer}"
TRANSFER_COUNT = "{done} images sur {total}"
TRANSFER_FAILED = "{count} image(s) en défaut."
TRANSFER_AGAIN = "Nouvel essai dans {seconds} s."
TRANSFER_STATES: Mapping[str, str] = {
    "waiting": "En attente",
    "running": "En cours",
    "retry": "Interrompu",
    "partial": "Incomplet",
    "failed": "Échec",
}
TRANSFER_REASONS: Mapping[str, str] = {
    "no-connection": "Le PACS ne répond pas.",
    "no-answer": "Le PACS a cessé de répondre.",
    "cut-off": "La liaison avec le PACS est coupée.",
    "out-of-resources": "Le PACS n'a plus de place.",
    "association-rejected": "Le PACS refuse l'appel (titre AE).",
    "awaiting-commitment": "Tout est parti ; le PACS n'a pas encore confirmé qu'il garde les images.",
    "peer-not-active": "L'établissement n'a pas activé l'appel de son PACS.",
    "gateway-silent": "La passerelle du site ne répond pas.",
    "peer-not-allowed": "La passerelle du site n'autorise pas l'appel de ce système.",
    "service-refused": "Le système répond, mais ne propose pas ce service.",
    "no-such-peer": "Ce PACS n'est plus dans l'annuaire.",
    "nothing-to-transfer": "Le PACS n'a plus cet examen.",
    "not-moved": "Le PACS n'arrive pas à joindre la plateforme.",
    "correction-due": "Une correction d'identité part d'abord.",
    "exam-withdrawn": "L'examen a quitté ce télédossier.",
    "some-failed": "Des images manquent ; le reçu les nomme.",
    "other": "Le transfert a rencontré un problème.",
}
GATEWAY_SILENT = "La passerelle du site ne répond pas depuis le {since}."
PACS_FAILURES: Mapping[str, str] = {
    "gateway-silent": "La passerelle du site ne répond pas.",
    "peer-not-allowed": "La passerelle du site n'autorise pas l'appel de ce PACS.",
    "peer-not-active": "Votre établissement n'a pas activé l'appel de son PACS. "
    "Adressez-vous à votre service d'imagerie.",
    "no-connection": "Le PACS est injoignable : l'établissement n'a probablement pas activé son appel.",
    "association-rejected": "Le PACS refuse l'appel. Adressez-vous à votre service d'imagerie.",
    "service-refused": "Ce PACS ne permet pas la recherche.",
    "search-too-wide": SEARCH_TOO_WIDE,
    "request-closed": "Le télédossier est clos : on ne peut plus y ajouter d'examen.",
    "other": "La recherche n'a pas abouti. Réessayez.",
}
ORDER_NUMBER, AT_TIME = "n° {n}", "{day} à {time}"
EXAM_TABS: Mapping[str, str] = {
    "pacs": "À partir du PACS",
    "local": "À partir du serveur local",
    "repertoire": "À partir d'un répertoire",
    "creer": "Créer un examen",
}
# Body Part Examined (PS3.16 Annex L), head to foot
BODY_PARTS: Mapping[str, str] = {
    "HEAD": "Tête",
    "FACE": "Visage",
    "EYE": "Œil",
    "EAR": "Oreille",
    "MOUTH": "Bouche",
    "NECK": "Cou",
    "CHEST": "Thorax",
    "BREAST": "Sein",
    "BACK": "Dos",
    "ABDOMEN": "Abdomen",
    "PELVIS": "Bassin",
    "PERINEUM": "Périnée",
    "SHOULDER": "Épaule",
    "ARM": "Bras",
    "ELBOW": "Coude",
    "FOREARM": "Avant-bras",
    "WRIST": "Poignet",
    "HAND": "Main",
    "HIP": "Hanche",
    "THIGH": "Cuisse",
    "KNEE": "Genou",
    "LEG": "Jambe",
    "ANKLE": "Cheville",
    "FOOT": "Pied",
}
BODY_SIDES: Mapping[str, str] = {"R": "Droit", "L": "Gauche", "B": "Les deux"}


def plural(count: int, noun: str) -> str:
    """`1 membre`, `2 membres`; none is singular in French."""
    return f"{count} {noun}{'s' if count > 1 else ''}"


# the sites and their gateways
GATEWAY_STATES: Mapping[str, str] = {
    "well": "En service",
    "alarm": "À vérifier",
    "silent": "Ne répond pas",
    "off": "Suspendue",
}
GATEWAY_ALARMS: Mapping[str, str] = {
    "never": "La passerelle n'a encore jamais appelé la plateforme.",
    "silent": "La passerelle n'a pas appelé la plateforme depuis plus de deux minutes.",
    "waiting": "Des images attendent leur envoi depuis plus d'un quart d'heure.",
    "disk": "Moins d'un dixième du disque est libre.",
    "refused": "La plateforme a refusé des images : la passerelle en garde la liste.",
    "steps": "La plateforme a refusé des messages d'examens faits (MPPS) : la passerelle en garde la liste.",
    "clock": "L'horloge de la passerelle est décalée de plus d'une minute.",
}
GATEWAY_FACTS: Mapping[str, str] = {
    "seen": "Dernier appel",
    "waiting": "En attente",
    "delivered": "Dernière image remise",
    "refused": "Refusées",
    "steps": "Examens faits (MPPS)",
    "disk": "Disque",
    "clock": "Horloge décalée de",
    "version": "Version",
}
NOTHING_WAITS = "aucune image"
STEPS_AT_GATEWAY: Mapping[str, str] = {"waiting": "{n} en attente", "refused": "{n} refusés"}
WAITING = "{images}, {size} Mo, la plus ancienne depuis {minutes} min"
SECONDS_OFF = "{n} s"
DISK_FREE = "{free} Go libres ({percent} %)"
SYSTEM_STATES: Mapping[str, str] = {
    "on": "Appel activé",
    "off": "Appel non activé",
    "away": "Ne répond pas",
    "wrong": "Adresse à corriger dans l'annuaire",
}
SYSTEM_USES: Mapping[str, str] = {
    "query": "recherche et import",
    "relay": "reçoit les examens adressés au site",
    "worklist": "liste de travail (MWL)",
    "steps": "informé des examens faits (MPPS)",
}
STEPS_WAITING = "{messages} MPPS à lui transmettre, depuis le {since}"
STEPS_REFUSED: Mapping[bool, str] = {
    False: "1 message MPPS refusé : le motif est donné par « teledossier pacs steps »",
    True: "{n} messages MPPS refusés : les motifs sont donnés par « teledossier pacs steps »",
}
SYSTEM_WAYS: Mapping[str, str] = {"via": "par la passerelle", "direct": "appelé directement"}
SYSTEM_ANSWERED = "Le système a répondu en {n} ms."
SITE_STATES: Mapping[str, str] = {
    "open": "En service",
    "closed": "Appel du PACS non activé",
    "none": "Aucun système déclaré",
}
