"""Small profiles for the tests: a differential over a base type, in one line."""

from __future__ import annotations

from typing import Any

from profiles.outcomes import Issue
from profiles.schema.packages import standard
from profiles.validation import Validator, validator

Json = dict[str, Any]
URL = "https://example.org/StructureDefinition/tested"


def profile(type: str, *elements: Json, url: str = URL, base: str = "", **members: Any) -> Json:
    """A StructureDefinition with these elements as its differential."""
    return {
        "resourceType": "StructureDefinition",
        "url": url,
        "name": "Tested",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": type,
        "baseDefinition": base or f"http://hl7.org/fhir/StructureDefinition/{type}",
        "derivation": "constraint",
        "differential": {"element": [{"id": type, "path": type}, *elements]},
        **members,
    }


def element(id: str, /, **members: Any) -> Json:
    """An element of a differential; path and slice name follow from its id."""
    last = id.rpartition(".")[2]
    path = ".".join(part.partition(":")[0] for part in id.split("."))
    sliced = {"sliceName": last.partition(":")[2]} if ":" in last else {}
    return {"id": id, "path": path, **sliced, **members}


def over(*structures: Json) -> Validator:
    """A Validator that knows these profiles beside what is built in."""
    return validator(standard().with_resources(structures))


def found(issues: list[Issue], *severities: str) -> set[tuple[str, str]]:
    """(slug, place) of the findings; errors alone unless severities are named."""
    return {
        (issue.slug, issue.expression) for issue in issues if issue.severity in (severities or ("error",))
    }


def judged(structure: Json, resource: Json, *more: Json) -> set[tuple[str, str]]:
    """The errors of a resource under a profile."""
    return found(over(structure, *more).validate(resource, profiles=[structure["url"]]))
