"""`$export`: the kick-off at its three levels.

Bulk Data Access IG 2.0.0 export.html#bulk-data-kick-off-request
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fhir_server.access import Access
from fhir_server.bulk.export import Asked, members, selects
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import require
from fhir_server.operations.accepting import accepted, check_async
from fhir_server.operations.registry import Level, Operation, OperationRequest, OperationResult
from profiles import dates, definitions
from profiles.outcomes import Invalid

FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
PARAMETERS = ("_outputFormat", "_since", "_type", "_typeFilter", "_elements", "patient")
MOST_WAITING = 5  # exports of one reader at a time
_DEFINITION = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"


async def system_export(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Everything that the reader may see."""
    return await _kick_off(engine, access, request, _asked(request, "system"))


async def patient_export(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The compartments of all patients, or of those that `patient` names."""
    require(access, "Patient", "r")
    return await _kick_off(engine, access, request, _asked(request, "patient"))


async def group_export(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The compartments of a Group's members. Raises NotFound."""
    require(access, "Patient", "r")
    asked = _asked(request, "patient")
    in_group = await members(engine, access, request.id)
    chosen = in_group if asked.patients is None else tuple(id for id in in_group if id in asked.patients)
    return await _kick_off(engine, access, request, replace(asked, patients=chosen))


async def _kick_off(
    engine: Engine, access: Access, request: OperationRequest, asked: Asked
) -> OperationResult:
    check_async(request, "an export")
    if asked.since:
        dates.interval(asked.since, engine.settings.zone)
    await selects(engine, access, asked)  # what is wrong with the request is said now
    job = await engine.jobs.submit("export", access, asked.request(), most=MOST_WAITING)
    return accepted(engine, job, "the export has begun; ask for its status")


def _asked(request: OperationRequest, level: str) -> Asked:
    """From the address or the Parameters. Raises Invalid."""
    types: list[str] = []
    filters: dict[str, list[str]] = {}
    elements: list[tuple[str, str]] = []
    patients: list[str] = []
    since = ""
    for name, value in _pairs(request):
        match name:
            case "_outputFormat":
                if value not in FORMATS:
                    raise Invalid("bad-format", f"_outputFormat takes {', '.join(FORMATS)}")
            case "_since":
                since = value
            case "_type":
                types += [type for type in value.split(",") if type]
            case "_typeFilter":
                for each in _split(value):
                    type, mark, query = each.partition("?")
                    if not mark:
                        raise Invalid("bad-filter", "_typeFilter takes [type]?[search parameters]")
                    filters.setdefault(type, []).append(query)
            case "_elements":
                for each in value.split(","):
                    first, dot, rest = each.partition(".")
                    elements.append((first, rest) if dot else ("", first))
            case "patient" if level != "system":
                type, _, id = value.partition("/")
                if type != "Patient" or not id:
                    raise Invalid("bad-patient", "patient takes references Patient/[id]")
                patients.append(id)
            case _:
                raise Invalid(
                    "unknown-parameter",
                    f"{name[:64]} is not a parameter here; valid: {', '.join(PARAMETERS)}",
                )
    for type in types:
        if type not in definitions.resource_types():
            raise Invalid("unknown-type", f"_type names {type[:64]}, which is no resource type of FHIR R4")
    chosen = tuple(dict.fromkeys(types)) or tuple(filters)
    return Asked(level, chosen, since, filters, tuple(elements), tuple(patients) or None, request.url)


def _split(value: str) -> Sequence[str]:
    """Several filters in one value, separated by commas: a comma belongs to the next filter only when that
    begins as one."""
    found: list[str] = []
    for piece in value.split(","):
        if found and "?" not in piece:
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


def _pairs(request: OperationRequest) -> Iterator[tuple[str, str]]:
    yield from request.query
    for parameter in request.parameters.get("parameter", []):
        yield parameter["name"], _value(parameter)


def _value(parameter: dict[str, Any]) -> str:
    """Raises Invalid."""
    for name, value in parameter.items():
        if name == "valueReference" and isinstance(value, dict):
            return str(value.get("reference", ""))
        if name.startswith("value") and isinstance(value, str):
            return value
    raise Invalid(
        "bad-parameter", f"the parameter {str(parameter.get('name'))[:64]} has no value of its type"
    )


def _operation(name: str, level: Level, types: frozenset[str], handler: Any, definition: str) -> Operation:
    return Operation(name, level, types, handler, affects_state=False, definition=_DEFINITION + definition)


OPERATIONS: tuple[Operation, ...] = (
    _operation("export", "system", frozenset(), system_export, "export"),
    _operation("export", "type", frozenset({"Patient"}), patient_export, "patient-export"),
    _operation("export", "instance", frozenset({"Group"}), group_export, "group-export"),
)
