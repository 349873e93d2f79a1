"""batch: independent entries, each with its own answer. FHIR R4 http.html#batch"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.interactions.answers import answer_error, answer_version, as_entry, do_read
from fhir_server.interactions.create import create, create_unless
from fhir_server.interactions.delete import delete, delete_matching
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.entries import Item, is_operation
from fhir_server.interactions.listing import Entry
from fhir_server.interactions.patch import patch, patch_matching
from fhir_server.interactions.update import update, update_matching
from fhir_server.operations.registry import Level, OperationRequest, parameters_of
from fhir_server.store.contract import Version
from profiles.outcomes import NotFound, TeledossierError, Unavailable
from profiles.patch import of_resource

_TOGETHER = 16
"""Entries of one kind run side by side, so that their commits share the store's group commit."""


async def batch(
    engine: Engine, access: Access, items: Sequence[Item | TeledossierError], *, returning: str = "minimal"
) -> list[Entry]:
    """The answers in the order of the entries; an entry that fails is an outcome and stops nothing."""
    answers: list[Entry] = [
        answer_error(item) if isinstance(item, TeledossierError) else Entry(None) for item in items
    ]
    limit = asyncio.Semaphore(_TOGETHER)

    async def run(position: int, item: Item) -> None:
        async with limit:
            try:
                answers[position] = await _one(engine, access, item, returning)
            except TeledossierError as error:
                answers[position] = answer_error(error)

    for order in range(4):
        async with asyncio.TaskGroup() as group:
            for position, item in enumerate(items):
                if isinstance(item, Item) and item.order == order:
                    group.create_task(run(position, item))
    return answers


async def _one(engine: Engine, access: Access, item: Item, returning: str) -> Entry:
    if is_operation(item):
        return await _operation(engine, access, item)
    if item.verb in ("GET", "HEAD"):
        return await do_read(engine, access, item)
    if item.verb == "DELETE":
        if item.condition is None:
            gone = await delete(engine, access, item.type, item.id, if_match=item.if_match)
        else:
            gone = await delete_matching(engine, access, item.type, item.condition, if_match=item.if_match)
        return (
            answer_version(engine, gone, returning)
            if gone
            else Entry(None, response={"status": "204 No Content"})
        )
    assert item.resource is not None
    if item.verb == "PUT":
        return answer_version(engine, await _update(engine, access, item, item.resource), returning)
    if item.verb == "PATCH":
        return answer_version(engine, await _patch(engine, access, item, item.resource), returning)
    if item.if_none_exist is None:
        return answer_version(engine, await create(engine, access, item.resource), returning)
    version, made = await create_unless(engine, access, item.resource, item.if_none_exist)
    return answer_version(engine, version, returning, status="" if made else "200 OK")


async def _update(engine: Engine, access: Access, item: Item, resource: Resource) -> Version:
    if item.condition is not None:
        return await update_matching(engine, access, resource, item.condition, if_match=item.if_match)
    return await update(engine, access, {**resource, "id": item.id}, if_match=item.if_match)


async def _patch(engine: Engine, access: Access, item: Item, resource: Resource) -> Version:
    document = of_resource(resource)
    if item.condition is not None:
        return await patch_matching(
            engine, access, item.type, item.condition, document, if_match=item.if_match
        )
    return await patch(engine, access, item.type, item.id, document, if_match=item.if_match)


async def _operation(engine: Engine, access: Access, item: Item) -> Entry:
    levels: dict[int, Level] = {1: "system", 2: "type", 3: "instance"}
    level = levels.get(len(item.segments))
    type, id = (item.type if level != "system" else ""), (item.id if level == "instance" else "")
    found = engine.operations.find(item.segments[-1][1:], level, type) if level else None
    if found is None or (found.affects_state and item.verb != "POST"):
        raise NotFound("unknown-operation", f"{item.place}.request.url names no operation for that method")
    result = await found.handler(
        engine,
        access,
        OperationRequest(type, id, parameters_of(item.resource), list(item.query)),
    )
    kind = next((value for name, value in result.headers.items() if name.lower() == "content-type"), "json")
    if isinstance(result.resource, bytes) and "json" not in kind:
        raise Unavailable("not-in-a-bundle", "this operation's answer is not FHIR; call it by itself")
    return as_entry(result.resource, result.status)
