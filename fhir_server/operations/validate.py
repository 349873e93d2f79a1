"""$validate: what is wrong with a resource, and whether a write of it would be taken.

Validation finds faults, so it is stricter than a write: what no known package defines is an error here and a
warning there, and recommendations are judged here alone. FHIR R4 resource-operation-validate.html
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions import prepare
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.visibility import current, find, require
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult
from profiles import codec
from profiles.outcomes import Invalid, Issue, TeledossierError, operation_outcome
from profiles.packages.ours import profiles_of
from profiles.positions import located

MODES = ("", "create", "update", "delete", "profile")


async def validate(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """200 with an OperationOutcome of every finding. Raises Invalid for parameters that do not fit together,
    Forbidden, NotFound."""
    mode, profiles = _asked(request)
    sent = _sent(request)
    stored = await _stored(engine, access, request) if request.id else None
    resource = sent if sent is not None else stored
    if mode == "delete":
        return _told(_deletion(access, request))
    if resource is None:
        raise Invalid("no-resource", "there is nothing to validate: send the resource, or name an instance")
    if request.type not in engine.write_rules:  # a write rule completes what ours ask for
        profiles += profiles_of(resource)
    strict = replace(await prepare.judge(engine), strict=True)
    issues = await asyncio.to_thread(strict.validate, resource, request.type, profiles)
    if request.id and sent is not None and sent.get("id") != request.id:
        text = "the id of the resource is not the id of the address"
        issues.append(Issue("error", "value", "wrong-id", text, f"{request.type}.id"))
    if mode in ("create", "update") and not any(issue.severity in ("error", "fatal") for issue in issues):
        issues += await _written(engine, access, resource, mode)
    return _told(_placed(request, issues) if sent is not None else issues)


def _placed(request: OperationRequest, issues: list[Issue]) -> list[Issue]:
    """With lines and columns, where the resource came as JSON."""
    try:
        body = codec.parse(request.body)
    except Invalid:
        return issues  # empty, or XML
    if body.get("resourceType") != "Parameters" or _is_itself(request):
        return located(request.body, body, issues)
    place = next(place for place, row in enumerate(body["parameter"]) if row["name"] == "resource")
    return located(request.body, body, issues, ("parameter", place, "resource"))


def _told(issues: list[Issue]) -> OperationResult:
    return OperationResult(200, operation_outcome(issues))


def _asked(request: OperationRequest) -> tuple[str, list[str]]:
    """(mode, profiles), of the body and of the address. Raises Invalid."""
    rows = request.parameters.get("parameter") or [] if not _is_itself(request) else []
    named = [(row["name"], _text(row)) for row in rows if row["name"] != "resource"] + request.query
    unknown = next((name for name, _ in named if name not in ("mode", "profile")), None)
    if unknown is not None:
        raise Invalid(
            "unknown-parameter",
            f"{unknown[:64]} is not a parameter of $validate; valid: mode, profile, resource",
        )
    modes = {value for name, value in named if name == "mode"}
    profiles = [value for name, value in named if name == "profile" and value]
    mode = modes.pop() if len(modes) == 1 else ""
    if modes or mode not in MODES:
        raise Invalid("bad-mode", "mode is one of create, update, delete, profile")
    if mode == "profile" and not profiles:
        raise Invalid("no-profile", "the mode profile needs the parameter profile")
    return mode, profiles


def _text(row: dict[str, Any]) -> str:
    value = next((value for key, value in row.items() if key.startswith("value")), "")
    return value if isinstance(value, str) else ""


def _is_itself(request: OperationRequest) -> bool:
    """Whether a Parameters was sent to be validated, and not to carry the parameters."""
    rows = request.parameters.get("parameter") or []
    carries = any(row["name"] == "resource" for row in rows)
    return request.type == "Parameters" and not carries and (bool(request.body) or not request.id)


def _sent(request: OperationRequest) -> Resource | None:
    if _is_itself(request):
        return request.parameters
    for row in request.parameters.get("parameter") or []:
        if row["name"] == "resource":
            if not isinstance(row.get("resource"), dict):
                raise Invalid("no-resource", "the parameter resource holds no resource")
            found: Resource = row["resource"]
            return found
    return None


async def _stored(engine: Engine, access: Access, request: OperationRequest) -> Resource:
    require(access, request.type, "r")
    version = await current(engine, access, request.type, request.id)
    assert version.body is not None
    return codec.parse(version.body)


def _deletion(access: Access, request: OperationRequest) -> list[Issue]:
    """What speaks against a delete; that the instance is there has been seen. Raises Invalid."""
    if not request.id:
        raise Invalid("no-instance", "the mode delete is asked of an instance: [type]/[id]/$validate")
    if access.allows(request.type, "d"):
        return []
    return [Issue("error", "forbidden", "scope", f"no granted scope allows to delete {request.type}")]


async def _written(engine: Engine, access: Access, resource: Resource, mode: str) -> list[Issue]:
    """What would refuse the write: scopes, the type's rule, its place. Nothing is stored."""
    type = prepare.type_of(resource)
    if type == "Binary":
        return []  # preparing one files its bytes
    try:
        require(access, type, mode[0])
        id = str(resource.get("id") or "")
        if mode == "update" and not id:
            raise Invalid("no-id", "an update names the id of the resource", expression=f"{type}.id")
        old = await find(engine, access, type, id) if mode == "update" else None
        await prepare.put(engine, access, resource, id or "new", old=old, at=prepare.moment(engine))
    except TeledossierError as error:
        return [issue for issue in error.issues if issue.severity in ("error", "fatal")]
    return []


DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
OPERATIONS: tuple[Operation, ...] = tuple(
    Operation("validate", level, frozenset(), validate, affects_state=False, definition=DEFINITION)
    for level in ("type", "instance")
)
