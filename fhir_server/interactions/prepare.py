"""From a resource as sent to the Put that stores it: the one way every write takes.

structure → write rule → profiles → meta.versionId, meta.lastUpdated → index entries → place check → Put.
Nothing here writes: create, update, delete and the bundle commit what this prepares, alone or together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from fhir_server.access import Access
from fhir_server.conformance.held import Snapshot
from fhir_server.conformance.search_parameters import faults
from fhir_server.interactions.content import filed, pointer
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.visibility import check_place
from fhir_server.search.index import extract
from fhir_server.store.contract import Method, Put, Version
from fhir_server.store.files import Stored
from profiles import codec
from profiles.outcomes import Invalid, Issue, Unprocessable
from profiles.packages.ours import profiles_of
from profiles.validation import Validator, validate

ATTEMPTS = 5
"""How often a write without If-Match is tried again after a lost race before the caller gets a 409."""


def type_of(resource: object) -> str:
    """resourceType of what should be a resource. Raises Invalid."""
    if not isinstance(resource, dict):
        raise Invalid("not-a-resource", "a resource is a JSON object")
    type = resource.get("resourceType")
    if not isinstance(type, str) or not type:
        raise Invalid("no-resource-type", "the resource has no resourceType")
    return type


async def judge(engine: Engine) -> Validator:
    """The engine's validator, asking the terminology as it is now."""
    return _judge(engine, await engine.held.current())


def _judge(engine: Engine, held: Snapshot) -> Validator:
    return held.judge(engine.validator)


def _check(engine: Engine, resource: Resource, held: Snapshot) -> None:
    """Every error of the base, of the profiles that the resource declares, and of ours that it is under, at
    once. What is judged by its structure alone is still judged wholly when it is under one of ours, or
    defines a search. Raises Unprocessable."""
    if engine.judging == "nothing":
        return
    searches = resource.get("resourceType") == "SearchParameter"
    if engine.judging == "structure" and not searches and not profiles_of(resource):
        _refuse_errors(validate(resource))
        return
    issues = _judge(engine, held).validate(resource, profiles=profiles_of(resource))
    if searches and not any(map(_is_error, issues)):
        issues = [*issues, *faults(resource)]
    _refuse_errors(issues)


def _refuse_errors(issues: Sequence[Issue]) -> None:
    """Raises Unprocessable with all of them when one is an error."""
    errors = [issue for issue in issues if _is_error(issue)]
    if errors:
        raise Unprocessable("invalid-resource", errors[0].diagnostics, issues=issues)


def _is_error(issue: Issue) -> bool:
    return issue.severity in ("fatal", "error")


@lru_cache(maxsize=64)
def instant(at: int) -> str:
    """UTC microseconds as a FHIR instant with milliseconds. FHIR R4 datatypes.html#instant"""
    return (
        datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{at // 1000 % 1000:03d}Z"
    )


def moment(engine: Engine) -> int:
    """Now in UTC microseconds, whole milliseconds: what is stored is exactly what lastUpdated says."""
    return engine.now() // 1000 * 1000


def stamped(resource: Resource, id: str, version: int, at: int) -> Resource:
    """A copy with its id, meta.versionId and meta.lastUpdated, in the usual order. Raises Invalid for a meta
    that is no object."""
    meta = resource.get("meta") or {}
    if not isinstance(meta, dict):
        raise Invalid("bad-meta", "meta is not an object", expression=f"{type_of(resource)}.meta")
    stamp = {**meta, "versionId": str(version), "lastUpdated": instant(at)}
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "id", "meta")}
    return {"resourceType": type_of(resource), "id": id, "meta": stamp, **rest}


def body_of(version: Version | None) -> Resource | None:
    """The parsed body, None for a tombstone or nothing."""
    return None if version is None or version.body is None else codec.parse(version.body)


async def draft(
    engine: Engine,
    access: Access,
    resource: Resource,
    id: str,
    *,
    old: Version | None,
    at: int,
    stored: Stored | None = None,
    held: Snapshot | None = None,
) -> Put:
    """The Put that stores `resource` as `id` in place of `old` (None: never there; a tombstone counts), its
    place not checked yet. `stored` is the file that holds a Binary's bytes already; `held` the stored
    definitions, by default those of now. Raises Unprocessable, Invalid, and what the write rule raises."""
    type = type_of(resource)
    rule = engine.write_rules.get(type)
    if rule is not None:  # it completes what is sent, so that profiles are judged on what it gives
        _refuse_errors(validate(resource))
        resource = await rule(engine, access, body_of(old), resource)
    if held is None:
        held = await engine.held.current()
    _check(engine, resource, held)
    if type == "Binary":
        resource = {**resource, "_data": pointer(stored)} if stored else await filed(engine, resource)
    expect = old.version if old else 0
    method: Method = "create" if old is None or old.body is None else "update"
    complete = stamped(resource, id, expect + 1, at)
    own = held.search_parameters.on(type)
    entries = extract(complete, engine.settings.fhir_base, engine.settings.zone, own)
    return Put(type, id, expect, at, method, codec.dump(complete), entries)


async def put(
    engine: Engine,
    access: Access,
    resource: Resource,
    id: str,
    *,
    old: Version | None,
    at: int,
    stored: Stored | None = None,
) -> Put:
    """`draft`, and its place checked. Raises Unprocessable, Forbidden, NotFound, and what the write rule
    raises."""
    made = await draft(engine, access, resource, id, old=old, at=at, stored=stored)
    await check_place(engine, access, made, ())
    return made


def tombstone(old: Version, at: int) -> Put:
    """The Put that deletes."""
    return Put(old.type, old.id, old.version, at, "delete", None)
