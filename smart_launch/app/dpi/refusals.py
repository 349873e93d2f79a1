"""What can stop a launch, and what the person is told: French sentences, no patient data, something to do
next.

One table; the code of a refusal is the reference that the person quotes to the help desk, and what the log
says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RELAUNCH = "Revenez au dossier du patient dans votre DPI et cliquez à nouveau sur « TLE/TLI »."
HELP = "Si cela se répète, prévenez l'assistance en donnant la référence."
SIGN_IN = "Vous pouvez aussi vous connecter avec votre identifiant et saisir la demande."


@dataclass(frozen=True, slots=True)
class Words:
    """The page of one refusal."""

    status: int
    title: str
    message: str
    advice: str


TABLE: Mapping[str, Words] = {
    "dpi-inconnu": Words(
        403,
        "DPI non enregistré",
        "Le logiciel qui vous envoie n'est pas enregistré sur cette plateforme. Rien n'a été ouvert.",
        f"Vérifiez que vous partez bien du DPI de votre établissement. {HELP}",
    ),
    "lancement-incomplet": Words(
        400,
        "Ouverture incomplète",
        "Le DPI n'a pas transmis tout ce qu'il faut pour ouvrir un télédossier.",
        f"{RELAUNCH} {HELP}",
    ),
    "dpi-injoignable": Words(
        502,
        "DPI injoignable",
        "Le DPI de votre établissement n'a pas répondu, ou sa réponse est illisible.",
        f"Attendez un instant, puis : {RELAUNCH} {SIGN_IN}",
    ),
    "dpi-configuration": Words(
        502,
        "DPI mal configuré",
        "Le DPI annonce des adresses ou des réglages que la plateforme ne peut pas accepter.",
        f"Prévenez l'assistance en donnant la référence. {SIGN_IN}",
    ),
    "lancement-expire": Words(
        400,
        "Ouverture expirée",
        "Cette ouverture a déjà servi, ou elle date de plus de dix minutes.",
        RELAUNCH,
    ),
    "lancement-etranger": Words(
        403,
        "Ouverture d'un autre navigateur",
        "Cette ouverture n'a pas été commencée dans ce navigateur. Elle a été annulée.",
        RELAUNCH,
    ),
    "dpi-refus": Words(
        403,
        "Refusé par le DPI",
        "Le DPI n'a pas autorisé l'ouverture du télédossier.",
        f"Vérifiez que votre session du DPI est encore ouverte. {RELAUNCH}",
    ),
    "code-refuse": Words(
        502,
        "Échange refusé par le DPI",
        "Le DPI a refusé l'ouverture : elle a expiré ou a déjà servi.",
        f"{RELAUNCH} {HELP}",
    ),
    "identite-non-prouvee": Words(
        403,
        "Identité non prouvée",
        "La preuve d'identité envoyée par le DPI n'est pas valable.",
        f"{RELAUNCH} {HELP}",
    ),
    "praticien-illisible": Words(
        502,
        "Professionnel non transmis",
        "Le DPI n'a pas transmis qui vous êtes (RPPS ou identifiant local).",
        f"Prévenez l'assistance en donnant la référence. {SIGN_IN}",
    ),
    "praticien-inconnu": Words(
        403,
        "Pas encore de compte",
        "Le DPI vous a bien identifié, mais aucun compte de la plateforme ne correspond à votre RPPS ou "
        "votre identifiant local. Aucun compte n'a été créé.",
        "Demandez votre inscription au référent télémédecine de votre établissement.",
    ),
    "compte-desactive": Words(
        403,
        "Compte désactivé",
        "Votre compte de la plateforme est désactivé.",
        "Adressez-vous au référent télémédecine de votre établissement.",
    ),
    "patient-absent": Words(
        400,
        "Aucun patient transmis",
        "Le DPI vous a identifié, mais n'a transmis aucun patient.",
        f"Ouvrez d'abord le dossier d'un patient. {RELAUNCH}",
    ),
    "patient-illisible": Words(
        502,
        "Patient non transmis",
        "L'identité du patient n'a pas pu être lue dans le DPI, ou elle est incomplète.",
        f"{RELAUNCH} Vous pouvez aussi saisir la demande depuis la liste des télédossiers.",
    ),
    "sans-fonction": Words(
        403,
        "Aucune fonction dans cet établissement",
        "Votre compte n'a pas de fonction de demandeur dans l'établissement de ce DPI.",
        "Adressez-vous au référent télémédecine de votre établissement.",
    ),
    "ouverture-refusee": Words(
        502,
        "Télédossier non ouvert",
        "La plateforme n'a pas pu ouvrir le télédossier.",
        f"{RELAUNCH} {HELP}",
    ),
    "choix-expire": Words(
        400, "Choix expiré", "Ce choix a déjà été fait, ou il date de plus de dix minutes.", RELAUNCH
    ),
}


class Stopped(Exception):
    """A launch ends here. `code` is a key of TABLE; `reason` is for the log: technical, without patient
    data."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason
