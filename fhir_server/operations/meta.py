"""`$meta`, `$meta-add`, `$meta-delete`: profiles, tags and security labels.

A profile is the same by its address, a Coding by its system and code. A change is a new version, as every
write here: labels decide on access elsewhere, so who changed them must be told by the history.
FHIR R4 resource-operation-meta.html, -meta-add.html, -meta-delete.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions import prepare
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.update import update
from fhir_server.interactions.visibility import current, require, sees_all
from fhir_server.operations.registry import Level, Operation, OperationRequest, OperationResult
from profiles import definitions
from profiles.outcomes import Conflict, Forbidden, Invalid, PreconditionFailed

Meta = dict[str, Any]
LISTS = ("profile", "security", "tag")


async def meta(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The labels of one resource; of a type or of everything those in use. Raises NotFound, Gone, Forbidden
    for who sees a part only: a label in use would tell of resources that are not theirs."""
    if request.id:
        require(access, request.type, "r")
        found = prepare.body_of(await current(engine, access, request.type, request.id)) or {}
        return _answer({name: found.get("meta", {}).get(name, []) for name in LISTS})
    types = [request.type] if request.type else sorted(definitions.resource_types())
    if not all(access.allows(type, "r") and sees_all(access, type) for type in types):
        raise Forbidden("partial-view", "the labels in use are told to readers who see all of it")
    labels: Meta = {}
    for name in LISTS:
        pairs = await engine.store.tokens(request.type, f"_{name}")
        if name == "profile":
            labels[name] = [code for _, code in pairs]
        else:
            labels[name] = [{"system": s, "code": c} if s else {"code": c} for s, c in pairs]
    return _answer(labels)


async def meta_add(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """What is there already stays as it is. Raises NotFound, Gone, Forbidden, Invalid, Unprocessable."""
    return await _change(engine, access, request, _added)


async def meta_delete(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """What is not there is passed over. Raises NotFound, Gone, Forbidden, Invalid."""
    return await _change(engine, access, request, _without)


def _added(there: list[Any], given: list[Any]) -> list[Any]:
    known = {_key(each) for each in there}
    return [*there, *(each for each in given if _key(each) not in known)]


def _without(there: list[Any], given: list[Any]) -> list[Any]:
    gone = {_key(each) for each in given}
    return [each for each in there if _key(each) not in gone]


def _key(label: Any) -> object:
    return (label.get("system"), label.get("code")) if isinstance(label, dict) else label


async def _change(
    engine: Engine,
    access: Access,
    request: OperationRequest,
    change: Callable[[list[Any], list[Any]], list[Any]],
) -> OperationResult:
    require(access, request.type, "u")
    given = _given(request.parameters)
    for _ in range(prepare.ATTEMPTS):
        old = await current(engine, access, request.type, request.id)
        resource: Resource = prepare.body_of(old) or {}
        before = resource.get("meta", {})
        labels = {name: change(before.get(name, []), given.get(name, [])) for name in LISTS}
        if labels == {name: before.get(name, []) for name in LISTS}:
            return _answer(labels)
        rest = {key: value for key, value in before.items() if key not in LISTS}
        changed = {**resource, "meta": {**rest, **{name: each for name, each in labels.items() if each}}}
        try:
            await update(engine, access, changed, if_match=old.version)
        except PreconditionFailed:
            continue
        return _answer(labels)
    raise Conflict("lost-race", f"{request.type}/{request.id} keeps changing; retry")


def _given(parameters: Resource) -> Meta:
    """The Meta of the parameter `meta`. Raises Invalid."""
    for parameter in parameters.get("parameter", []):
        if parameter.get("name") == "meta":
            value = parameter.get("valueMeta")
            if isinstance(value, dict) and all(isinstance(value.get(name, []), list) for name in LISTS):
                return value
    raise Invalid("no-meta", "the operation takes a parameter 'meta' with a valueMeta")


def _answer(labels: Meta) -> OperationResult:
    value = {name: each for name, each in labels.items() if each}
    return OperationResult(
        200, {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": value}]}
    )


_DEFINITION = "http://hl7.org/fhir/OperationDefinition/Resource-"
_LEVELS: tuple[Level, ...] = ("system", "type", "instance")
OPERATIONS: tuple[Operation, ...] = (
    *(
        Operation("meta", level, frozenset(), meta, affects_state=False, definition=f"{_DEFINITION}meta")
        for level in _LEVELS
    ),
    Operation(
        "meta-add",
        "instance",
        frozenset(),
        meta_add,
        affects_state=True,
        definition=f"{_DEFINITION}meta-add",
    ),
    Operation(
        "meta-delete",
        "instance",
        frozenset(),
        meta_delete,
        affects_state=True,
        definition=f"{_DEFINITION}meta-delete",
    ),
)
