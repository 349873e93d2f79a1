"""Reading FHIR elements without surprise: each function takes a plain dict and gives a plain value, or its
empty one.

Nothing here raises on an odd resource: what the portal cannot read it leaves out, so that one strange
record never hides a télédossier.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

BASE = "https://teledossier.example/fhir"
INS_SYSTEMS = ("urn:oid:1.2.250.1.213.1.4.8", "urn:oid:1.2.250.1.213.1.4.11", "urn:oid:1.2.250.1.213.1.4.10")
RPPS_SYSTEM = "https://rpps.esante.gouv.fr"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
WORKFLOW = f"{BASE}/CodeSystem/workflow"


def structure(name: str) -> str:
    """The address of one of our extensions."""
    return f"{BASE}/StructureDefinition/{name}"


def many(element: Json, name: str) -> list[Any]:
    """A repeating child as a list, whatever is there."""
    value = element.get(name)
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def extensions(element: Json, name: str) -> list[Json]:
    """The extensions of ours with this short name, or with this full address."""
    url = name if "://" in name else structure(name)
    return [item for item in many(element, "extension") if isinstance(item, dict) and item.get("url") == url]


def extension(element: Json, name: str) -> Any:
    """The value[x] of the first such extension, or None."""
    for item in extensions(element, name):
        return value_x(item)
    return None


def value_x(element: Json, stem: str = "value") -> Any:
    """The one element that begins with `value`, whatever its type."""
    return next(
        (item for key, item in element.items() if key.startswith(stem) and len(key) > len(stem)), None
    )


def reference(element: Any) -> str:
    """`Type/id` of a Reference, cut from an absolute or versioned address; empty when there is none."""
    if not isinstance(element, dict):
        return ""
    text = element.get("reference")
    return short_reference(text) if isinstance(text, str) else ""


def short_reference(text: str) -> str:
    """`http://host/fhir/Type/id/_history/3` → `Type/id`."""
    parts = text.split("/_history/")[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 2 else ""


def own_reference(resource: Json) -> str:
    return f"{resource.get('resourceType', '')}/{resource.get('id', '')}"


def codes(concepts: Any, system: str = "") -> list[str]:
    """Every code of a CodeableConcept or a list of them; with `system`, of that system alone."""
    concepts = concepts if isinstance(concepts, list) else [concepts]
    found: list[str] = []
    for concept in concepts:
        for coding in many(concept, "coding") if isinstance(concept, dict) else []:
            if (
                isinstance(coding, dict)
                and (not system or coding.get("system") == system)
                and coding.get("code")
            ):
                found.append(str(coding["code"]))
    return found


def code(concepts: Any, system: str = "") -> str:
    """The first of `codes`, or empty."""
    return next(iter(codes(concepts, system)), "")


def display(concepts: Any) -> str:
    """The text for people of a CodeableConcept: its text, else the first display, else the first code."""
    concepts = concepts if isinstance(concepts, list) else [concepts]
    for concept in concepts:
        if not isinstance(concept, dict):
            continue
        if concept.get("text"):
            return str(concept["text"])
        for coding in many(concept, "coding"):
            if isinstance(coding, dict) and (coding.get("display") or coding.get("code")):
                return str(coding.get("display") or coding["code"])
    return ""


def identifier(resource: Json, systems: Iterable[str]) -> str:
    """The value of the first identifier of one of these systems."""
    wanted = tuple(systems)
    for item in many(resource, "identifier"):
        if isinstance(item, dict) and item.get("system") in wanted and item.get("value"):
            return str(item["value"])
    return ""


def by_type(resources: Iterable[Json], type: str) -> list[Json]:
    return [resource for resource in resources if resource.get("resourceType") == type]


def version(resource: Json) -> str:
    """`meta.versionId`, or empty."""
    return str(resource.get("meta", {}).get("versionId", ""))
