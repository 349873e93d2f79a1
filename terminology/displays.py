"""The name of a concept in a language. FHIR R4 valueset-operation-expand.html (displayLanguage)"""

from __future__ import annotations

from collections.abc import Iterable

from terminology.code_systems.concept import Designation


def shown(display: str | None, designations: Iterable[Designation], language: str) -> str | None:
    """The designation in `language` ("fr" finds "fr-FR" too, "fr-CA" then "fr"), else the display as it
    is."""
    wanted = language.strip().lower()
    if not wanted:
        return display
    by_language: dict[str, str] = {}
    for one in designations:
        if one.language:
            by_language.setdefault(one.language.lower(), one.value)
    bare = wanted.partition("-")[0]
    for tag in (wanted, bare):
        if tag in by_language:
            return by_language[tag]
    near = (value for tag, value in by_language.items() if tag.partition("-")[0] == bare)
    return next(near, display)
