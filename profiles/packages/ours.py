"""Which of our profiles a resource is under, whatever it declares: by the codes, identifiers and references
that make it part of a télédossier or of the directory.

A pure table; asks nothing of a store, and takes any JSON without raising.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from profiles import identity

BASE = "https://teledossier.example/fhir"


@dataclass(frozen=True, slots=True)
class Coded:
    """Known by a code of our CodeSystem `system` in `element`; `profiles` by code, "" for any."""

    element: str
    system: str
    profiles: Mapping[str, str]


_CODED: Mapping[str, Coded] = {
    "ServiceRequest": Coded("category", "workflow", {"": "service-request"}),
    "Task": Coded("code", "task", {"respond": "task", "associate-exam": "exam-proposal"}),
    "Communication": Coded("category", "communication", {"": "communication"}),
    "Provenance": Coded("activity", "step", {"": "provenance"}),
    "AuditEvent": Coded("subtype", "step", {"": "audit-event"}),
    "PractitionerRole": Coded("code", "role", {"": "practitioner-role"}),
    "HealthcareService": Coded("type", "workflow", {"": "healthcare-service"}),
    "ChargeItem": Coded("code", "act", {"": "charge-item"}),
    "Endpoint": Coded("connectionType", "endpoint-connection", {"": "peer"}),
    "Organization": Coded(
        "type",
        "organization-type",
        {"etablissement": "establishment", "service": "service", "communaute": "community"},
    ),
}
_IDENTIFIED: Mapping[str, tuple[frozenset[str], str]] = {
    "Patient": (identity.INS_SYSTEMS, "patient"),
    "Practitioner": (frozenset({identity.RPPS}), "practitioner"),
    "DiagnosticReport": (frozenset({f"{BASE}/NamingSystem/compte-rendu"}), "diagnostic-report"),
}


def profiles_of(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The canonical URLs of our profiles that it must keep; none for what is not ours."""
    name = _profile(resource)
    return (f"{BASE}/StructureDefinition/teledossier-{name}",) if name else ()


def _profile(resource: Mapping[str, Any]) -> str:
    type = str(resource.get("resourceType"))
    if type in _CODED:
        rule = _CODED[type]
        codes = list(_codes(resource.get(rule.element), f"{BASE}/CodeSystem/{rule.system}"))
        named = [rule.profiles.get(code) or rule.profiles.get("", "") for code in codes]
        return next((one for one in named if one), "")
    if type in _IDENTIFIED:
        systems, profile = _IDENTIFIED[type]
        there = {str(one.get("system")) for one in _objects(resource.get("identifier"))}
        return profile if systems & there else ""
    match type:
        case "Consent":
            urls = [one.get("url") for one in _objects(resource.get("extension"))]
            return "consent" if f"{BASE}/StructureDefinition/consent-state" in urls else ""
        case "QuestionnaireResponse":
            form = resource.get("questionnaire")
            is_ours = isinstance(form, str) and form.startswith(f"{BASE}/Questionnaire/")
            return "questionnaire-response" if is_ours else ""
    return ""


def _codes(concepts: object, system: str) -> Iterator[str]:
    """The codes of that system in a Coding, a CodeableConcept, or a list of them."""
    for concept in _objects(concepts):
        for coding in (concept, *_objects(concept.get("coding"))):
            if coding.get("system") == system:
                yield str(coding.get("code", ""))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    several = value if isinstance(value, list) else [value]
    return (one for one in several if isinstance(one, dict))
