"""What the rules of a profile say, in English and in French; made once when a profile is compiled.

Values quoted here are the profile's own, never the resource's.
"""

from __future__ import annotations

from typing import Any

import orjson

from profiles.outcomes import Severity
from profiles.schema.report import Message


def short(value: Any) -> str:
    """A value of a definition in a few words."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 200 else text[:199] + "…"


def too_few(least: int, of: str, profile: str) -> Message:
    return Message(
        "required",
        "missing-element",
        f"{of} is expected at least {least} times by {profile}; add it",
        f"{of} est attendu au moins {least} fois par {profile} ; ajoutez-le",
    )


def too_many(most: int, of: str, profile: str) -> Message:
    return Message(
        "structure",
        "too-many",
        f"{of} is allowed at most {most} times by {profile}; take the others away",
        f"{of} est permis au plus {most} fois par {profile} ; retirez les autres",
    )


def fixed(value: Any, profile: str) -> Message:
    return Message(
        "value",
        "not-fixed",
        f"the value is fixed by {profile}; write {short(value)}",
        f"la valeur est fixée par {profile} ; écrivez {short(value)}",
    )


def pattern(value: Any, profile: str) -> Message:
    return Message(
        "value",
        "not-pattern",
        f"the value lacks what {profile} asks for; add {short(value)}",
        f"il manque à la valeur ce que {profile} exige ; ajoutez {short(value)}",
    )


def limit(value: Any, sign: int, profile: str) -> Message:
    least, moins = ("least", "minimum") if sign > 0 else ("most", "maximum")
    return Message(
        "value",
        "out-of-range",
        f"the value is out of range; {profile} allows at {least} {short(value)}",
        f"la valeur est hors limites ; {moins} permis par {profile} : {short(value)}",
    )


def length(most: int, profile: str) -> Message:
    return Message(
        "value",
        "too-long",
        f"the text is too long; {profile} allows {most} characters",
        f"le texte est trop long ; {profile} permet {most} caractères",
    )


def types(allowed: frozenset[str], profile: str) -> Message:
    names = ", ".join(sorted(allowed))
    return Message(
        "structure",
        "wrong-type",
        f"this type is not allowed by {profile}; use {names}",
        f"ce type n'est pas permis par {profile} ; utilisez {names}",
    )


def targets(allowed: frozenset[str], profile: str) -> Message:
    names = ", ".join(sorted(allowed))
    return Message(
        "structure",
        "wrong-target",
        f"{profile} does not allow a reference to this type; refer to {names}",
        f"{profile} ne permet pas une référence à ce type ; référencez {names}",
    )


def conforms(urls: tuple[str, ...], profile: str) -> Message:
    names = ", ".join(urls)
    return Message(
        "structure",
        "no-profile-fits",
        f"the value keeps none of the profiles that {profile} allows here: {names}",
        f"la valeur ne respecte aucun des profils que {profile} permet ici : {names}",
    )


def invariant(key: str, human: str, french: str, severity: Severity) -> Message:
    return Message(
        "invariant",
        "invariant",
        f"{key}: {human}",
        f"règle {key} non respectée : {french}",
        severity,
    )


def unjudged(key: str, why: str) -> Message:
    return Message(
        "not-supported",
        "not-judged",
        f"{key} cannot be judged here: {why}",
        f"{key} ne peut être vérifié ici : {why}",
        "warning",
    )


def closed(step: str, names: list[str], profile: str) -> Message:
    known = ", ".join(names)
    return Message(
        "structure",
        "closed-slicing",
        f"this {step} is of no slice, and {profile} allows no others than {known}",
        f"cet élément {step} n'est d'aucune tranche, et {profile} n'en permet pas d'autres que {known}",
    )


def at_end(step: str, profile: str) -> Message:
    return Message(
        "structure",
        "slice-order",
        f"{profile} allows {step} of no slice at the end only; move it there",
        f"{profile} ne permet un {step} hors tranche qu'à la fin ; déplacez-le",
    )


def order(step: str, profile: str) -> Message:
    return Message(
        "structure",
        "slice-order",
        f"the slices of {step} are not in the order of {profile}; reorder them",
        f"les tranches de {step} ne sont pas dans l'ordre de {profile} ; réordonnez-les",
    )


def unknown_profile(url: str, severity: Severity = "warning") -> Message:
    return Message(
        "not-found",
        "unknown-profile",
        f"the profile {url[:300]} is not known here, and is not checked; install its package",
        f"le profil {url[:300]} n'est pas connu ici et n'est pas vérifié ; installez son paquet",
        severity,
    )


def unsuited_profile(url: str, type: str) -> Message:
    return Message(
        "structure",
        "unsuited-profile",
        f"the profile {url} is of {type}, not of this resource; take it away or use another",
        f"le profil {url} porte sur {type} et non sur cette ressource ; retirez-le ou changez-en",
    )
