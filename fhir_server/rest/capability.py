"""The CapabilityStatement, made from what is registered: it promises what the routes and the search can do,
no more.

FHIR R4 capabilitystatement.html; SMART App Launch 2.2 conformance.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fhir_server.conformance.search_parameters import OwnParameters
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.prepare import instant
from fhir_server.operations.registry import Operation
from fhir_server.search.bind import offered
from profiles import codec, definitions, packages, patch

_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_OURS = "https://teledossier.example/fhir"
_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)


def statement(
    engine: Engine, oauth_uris: Mapping[str, str] | None, own: OwnParameters = OwnParameters()
) -> bytes:
    """The JSON. `own`: search parameters beside the built-in ones."""
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": "FHIR R4 in JSON and XML. Every resource is seen through the reader's rights: what "
        "may not be seen is answered like what is not there.",
        "security": _security(oauth_uris),
        "resource": [_resource(engine, type, own) for type in sorted(definitions.resource_types())],
        "interaction": [
            *([{"code": "transaction"}] if engine.store.atomic_commits else []),
            {"code": "batch"},
            {"code": "history-system"},
            {"code": "search-system"},
        ],
    }
    operations = _operations(engine.operations.at("system"))
    if operations:
        rest["operation"] = operations
    return codec.dump(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": instant(engine.now()),
            "kind": "instance",
            "instantiates": [f"{_OURS}/CapabilityStatement/teledossier"],
            "software": {"name": "Télédossier", "version": software_version()},
            "implementation": {"description": "Télédossier", "url": engine.settings.fhir_base},
            "fhirVersion": definitions.FHIR_VERSION,
            "format": ["application/fhir+json", "json", "application/fhir+xml", "xml"],
            "patchFormat": list(patch.FORMATS),
            "implementationGuide": [f"{_OURS}/ImplementationGuide/teledossier"],
            "rest": [rest],
        }
    )


def software_version() -> str:
    """Of the installed program."""
    try:
        return version("teledossier")
    except PackageNotFoundError:
        return "unknown"


def _resource(engine: Engine, type: str, own: OwnParameters) -> dict[str, Any]:
    parameters = own.searchable(type).values()
    resource: dict[str, Any] = {
        "type": type,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [
            {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
            for parameter in sorted(parameters, key=lambda parameter: parameter.code)
            if offered(parameter)
        ],
    }
    if profiles := _profiles().get(type):
        resource["supportedProfile"] = list(profiles)
    includes = sorted(p.code for p in parameters if p.type == "reference")
    if includes:
        resource["searchInclude"] = [f"{type}:{code}" for code in includes]
    operations = _operations([o for level in ("type", "instance") for o in engine.operations.at(level, type)])
    if operations:
        resource["operation"] = operations
    return resource


@cache
def _profiles() -> Mapping[str, tuple[str, ...]]:
    """The guide's profiles by resource type."""
    found: dict[str, tuple[str, ...]] = {}
    for one in packages.resources():
        if one["resourceType"] == "StructureDefinition" and one["type"] != "Extension":
            found[one["type"]] = (*found.get(one["type"], ()), one["url"])
    return found


def _operations(offered: Any) -> list[dict[str, str]]:
    named: dict[str, Operation] = {operation.name: operation for operation in offered}
    return [
        {"name": name, "definition": operation.definition or _definition(name)}
        for name, operation in sorted(named.items())
    ]


def _definition(name: str) -> str:
    return f"{_OURS}/OperationDefinition/{name}"


def _security(oauth_uris: Mapping[str, str] | None) -> dict[str, Any]:
    """SMART's service code, and its deprecated extension that one client library still reads."""
    if not oauth_uris:
        return {"cors": True, "description": "No authorization server: reachable from this machine only."}
    return {
        "cors": True,
        "service": [{"coding": [{"system": _SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART on FHIR"}],
        "extension": [
            {
                "url": _OAUTH,
                "extension": [{"url": name, "valueUri": uri} for name, uri in oauth_uris.items()],
            }
        ],
    }
