"""The names a télédossier is written with, and the small FHIR shapes made of them.

Canonical base, code systems, extensions and naming systems as in this room's README; constructors for codings
and references; readers for extensions. Nothing here knows a workflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Resource = dict[str, Any]

BASE = "https://teledossier.example/fhir"
NUMERO = f"{BASE}/NamingSystem/numero"
REPORT_NUMBER = f"{BASE}/NamingSystem/compte-rendu"
RPPS = "https://rpps.esante.gouv.fr"
FINESS = "https://finess.esante.gouv.fr"
INS_SYSTEMS = (
    "urn:oid:1.2.250.1.213.1.4.8",
    "urn:oid:1.2.250.1.213.1.4.9",
    "urn:oid:1.2.250.1.213.1.4.10",
    "urn:oid:1.2.250.1.213.1.4.11",
)
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
LOINC = "http://loinc.org"


def system(name: str) -> str:
    """One of our CodeSystems."""
    return f"{BASE}/CodeSystem/{name}"


def extension_url(name: str) -> str:
    """One of our extensions."""
    return f"{BASE}/StructureDefinition/{name}"


def coding(name: str, code: str, display: str = "") -> Resource:
    """A Coding of our CodeSystem `name`."""
    made = {"system": system(name), "code": code}
    return {**made, "display": display} if display else made


def concept(name: str, code: str, display: str = "") -> Resource:
    """A CodeableConcept with one coding of ours."""
    return {"coding": [coding(name, code, display)]}


def code_of(concepts: Resource | Sequence[Resource] | None, name: str) -> str:
    """The code of our CodeSystem `name` in a CodeableConcept or a list of them; "" if there is none."""
    several = [concepts] if isinstance(concepts, dict) else (concepts or [])
    for one in several:
        for found in one.get("coding", ()):
            if found.get("system") == system(name):
                return str(found.get("code", ""))
    return ""


def key(resource: Resource) -> str:
    """`Type/id`."""
    return f"{resource['resourceType']}/{resource['id']}"


def ref(target: str, display: str = "") -> Resource:
    """A Reference to `Type/id`."""
    return {"reference": target, "display": display} if display else {"reference": target}


def target(reference: Resource | None) -> str:
    """What a Reference points to, "" for none or a logical one."""
    return str((reference or {}).get("reference", ""))


def extensions(element: Resource, name: str) -> Iterator[Resource]:
    """Our extensions of that name on an element, in order."""
    url = extension_url(name)
    return (found for found in element.get("extension", ()) if found.get("url") == url)


def value(element: Resource, name: str) -> Any:
    """The value of our first extension of that name, None if there is none."""
    for found in extensions(element, name):
        for field, content in found.items():
            if field.startswith("value"):
                return content
    return None


def with_extension(element: Resource, name: str, *made: Resource) -> Resource:
    """A copy whose extensions of that name are exactly `made`: dicts such as {"valueCode": "me"}."""
    url = extension_url(name)
    kept = [found for found in element.get("extension", ()) if found.get("url") != url]
    kept += [{"url": url, **one} for one in made]
    copy = {field: content for field, content in element.items() if field != "extension"}
    return {**copy, "extension": kept} if kept else copy


def family_and_given(person: Resource) -> tuple[str, str, str]:
    """(prefix, given, family) of the official, else the first name."""
    names = person.get("name") or [{}]
    name = next((one for one in names if one.get("use") == "official"), names[0])
    return " ".join(name.get("prefix", ())), " ".join(name.get("given", ())), str(name.get("family", ""))


def full_name(person: Resource) -> str:
    """As shown to people: `Dr Antoine DURAND`."""
    return " ".join(part for part in family_and_given(person) if part)
