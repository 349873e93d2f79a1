"""What a télédossier server can do, and the guide itself: both are made of the other definitions.

FHIR R4 capabilitystatement.html; implementationguide.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from profiles import definitions
from profiles.packages.making import examples, structures
from profiles.packages.making.common import BASE, VERSION, Json, head, source

PACKAGE = "teledossier.fhir"
LICENSE = "Apache-2.0"
_WRITTEN = ("read", "vread", "search-type", "history-instance")
_READ = ("read", "search-type")
_DEFINITIONS = ("CodeSystem", "ValueSet", "Questionnaire", "PlanDefinition", "StructureDefinition")


def capability_statement() -> Iterator[Json]:
    """What is asked of a server of télédossiers, for the server's own statement to instantiate."""
    made = head(
        "CapabilityStatement",
        "teledossier",
        "Serveur de télédossiers",
        "Ce qu'un serveur de télédossiers offre. Les personnes lisent et cherchent ce qu'elles ont le droit "
        "de voir ; elles n'écrivent que par les opérations, qui jugent leur droit.",
    )
    made |= {"kind": "requirements", "fhirVersion": definitions.FHIR_VERSION, "format": ["json", "xml"]}
    made["implementationGuide"] = [f"{BASE}/ImplementationGuide/teledossier"]
    profiles: dict[str, list[str]] = {}
    for one in sorted(structures.profiles(), key=lambda one: str(one["id"])):
        profiles.setdefault(one["type"], []).append(one["url"])
    resources = [_resource(type, urls) for type, urls in sorted(profiles.items())]
    resources += [_resource(type, []) for type in _DEFINITIONS]
    made["rest"] = [{"mode": "server", "resource": resources}]
    yield made


def _resource(type: str, profiles: Sequence[str]) -> Json:
    made: Json = {"type": type}
    if profiles:
        made["supportedProfile"] = list(profiles)
    made["interaction"] = [{"code": code} for code in (_WRITTEN if profiles else _READ)]
    own = {id: one for id, one in source("search_parameters").items() if id.startswith(f"{type}-")}
    if own:
        made["searchParam"] = [
            {
                "name": id.partition("-")[2],
                "definition": f"{BASE}/SearchParameter/{id}",
                "type": one["type"],
            }
            for id, one in own.items()
        ]
    if type == "ServiceRequest":
        made["operation"] = [
            {"name": id, "definition": f"{BASE}/OperationDefinition/{id}"}
            for id, one in source("operations").items()
            if one["level"] != "system" and "resource" not in one
        ]
    return made


def implementation_guide(others: Sequence[Json]) -> Json:
    """The guide's own resource: what it holds, with the valid examples."""
    made = head(
        "ImplementationGuide",
        "teledossier",
        "Le télédossier en FHIR",
        "Comment un télédossier, demande d'avis ou transfert d'imagerie entre professionnels, s'écrit en "
        "FHIR R4.",
    )
    made |= {"packageId": PACKAGE, "license": LICENSE, "fhirVersion": [definitions.FHIR_VERSION]}
    rows = [
        {"reference": {"reference": f"{one['resourceType']}/{one['id']}"}, "exampleBoolean": False}
        for one in others
    ]
    rows += [
        {
            "reference": {"reference": f"{one.resource['resourceType']}/{one.resource['id']}"},
            "exampleCanonical": one.url,
        }
        for one in examples.valid()
    ]
    made["definition"] = {"resource": rows}
    return made


def manifest() -> Json:
    """package.json. FHIR package specification (hl7.org/fhir/packages)"""
    return {
        "name": PACKAGE,
        "version": f"{VERSION}.0.0",
        "canonical": BASE,
        "url": BASE,
        "title": "Le télédossier en FHIR",
        "description": "Profils, vocabulaire et workflows des télédossiers",
        "type": "IG",
        "license": LICENSE,
        "author": "Télédossier",
        "fhirVersions": [definitions.FHIR_VERSION],
        "dependencies": {"hl7.fhir.r4.core": definitions.FHIR_VERSION},
    }
