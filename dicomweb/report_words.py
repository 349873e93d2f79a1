"""The French of structured reports: concepts of DICOM and LOINC by code, and what the page itself says.

Concepts that are not here are shown as the report names them. PS3.16 §D (DICOM controlled terminology)
"""

from __future__ import annotations

from collections.abc import Mapping

CONCEPTS: Mapping[tuple[str, str], str] = {
    **{
        ("DCM", code): name
        for code, name in {
            "113000": "Images d'intérêt",
            "113001": "Écarté pour défaut de qualité",
            "113002": "Pour le médecin demandeur",
            "113003": "Pour la chirurgie",
            "113004": "Pour l'enseignement",
            "113005": "Pour la réunion",
            "113006": "Pour le traitement",
            "113007": "Pour le patient",
            "113008": "Pour relecture",
            "113009": "Pour la recherche",
            "113010": "Défaut de qualité",
            "113012": "Description de la sélection",
            "112039": "Repère",
            "112040": "Identifiant du repère",
            "121005": "Type d'observateur",
            "121006": "Personne",
            "121007": "Appareil",
            "121008": "Observateur",
            "121009": "Organisation de l'observateur",
            "121010": "Rôle de l'observateur",
            "121011": "Rôle dans l'examen",
            "121012": "Identifiant de l'appareil",
            "121013": "Appareil",
            "121014": "Fabricant",
            "121015": "Modèle",
            "121016": "Numéro de série",
            "121018": "Identifiant de l'examen",
            "121022": "Numéro d'examen",
            "121024": "Sujet",
            "121029": "Nom du sujet",
            "121030": "Identifiant du sujet",
            "121031": "Date de naissance du sujet",
            "121032": "Sexe du sujet",
            "121033": "Âge du sujet",
            "121046": "Pays de la langue",
            "121049": "Langue",
            "121058": "Examen décrit",
            "121060": "Antécédents",
            "121062": "Demande",
            "121064": "Technique",
            "121065": "Description de l'examen",
            "121066": "Examens antérieurs",
            "121068": "Constatations antérieures",
            "121069": "Constatation antérieure",
            "121070": "Constatations",
            "121071": "Constatation",
            "121072": "Impressions",
            "121073": "Impression",
            "121074": "Recommandations",
            "121075": "Recommandation",
            "121076": "Conclusions",
            "121077": "Conclusion",
            "121078": "Addendum",
            "121080": "Image la plus parlante",
            "121109": "Indication",
            "121110": "État du patient",
            "121111": "Résumé",
            "121112": "Source de la mesure",
            "121113": "Complications",
            "121206": "Distance",
            "121401": "Dérivation",
            "125007": "Groupe de mesures",
            "126000": "Compte rendu de mesures",
            "126010": "Mesures",
        }.items()
    },
    ("LN", "11528-7"): "Compte rendu de radiologie",
    ("LN", "18748-4"): "Compte rendu d'imagerie",
    ("LN", "18782-3"): "Constatations",
    ("LN", "19005-8"): "Conclusion",
}
REPORT = "Compte rendu"
COMPLETION: Mapping[str, str] = {"COMPLETE": "complet", "PARTIAL": "partiel"}
VERIFICATION: Mapping[str, str] = {"VERIFIED": "vérifié", "UNVERIFIED": "non vérifié"}
REFERENCES: Mapping[str, str] = {
    "IMAGE": "Image",
    "COMPOSITE": "Objet",
    "WAVEFORM": "Tracé",
}
BORN, VERIFIED_BY, TOO_LONG = (
    "né(e) le",
    "vérifié par",
    "La suite du compte rendu est trop longue pour cette page.",
)
