"""transaction: every entry or none, in one commit of the store.

identities → links rewritten → every write prepared, all issues at once → one commit → the reads. A lost race
without If-Match starts again from the top; with it, it is a 412. The reads come after the commit, so they
see what was written; one that fails is an outcome in its entry, as the writes are already durable by then.
FHIR R4 http.html#transaction
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.answers import answer_error, answer_version, do_read
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.entries import Item, is_operation, parse_query
from fhir_server.interactions.links import conditional, relinked, resolver
from fhir_server.interactions.listing import Entry
from fhir_server.interactions.patch import changed, the_match
from fhir_server.interactions.update import check_free, check_match, matched_id
from fhir_server.interactions.visibility import check_place, current, find, require, sees_all, unknown
from fhir_server.store.contract import Put, RaceLost, Unless, Version
from fhir_server.store.files import Stored
from profiles.outcomes import (
    Conflict,
    Invalid,
    Issue,
    NotSupported,
    PreconditionFailed,
    TeledossierError,
    Unprocessable,
)
from profiles.patch import of_resource

_LETTERS = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}
_BREATH = 50
"""After so many entries the event loop gets a turn: a large bundle must not stop the others' requests."""


@dataclass(slots=True)
class _Plan:
    """What the entries turned out to be, by entry index: filled step by step, alive within one attempt."""

    ids: dict[int, str] = field(default_factory=dict)
    found: dict[int, Version] = field(
        default_factory=dict
    )  # If-None-Exist matched, or the version to be replaced
    matched: set[int] = field(default_factory=set)  # entries that If-None-Exist answers without a write
    known: dict[str, str] = field(default_factory=dict)  # fullUrl or conditional reference → Type/id
    puts: dict[int, Put] = field(default_factory=dict)
    unless: list[Unless] = field(default_factory=list)  # what must not match when the store commits


async def transaction(
    engine: Engine, access: Access, items: Sequence[Item], *, returning: str = "minimal"
) -> list[Entry]:
    """The answers in the order of the entries. Raises what the first failing step raises; nothing is written
    then."""
    for item in items:
        _check_scope(access, item)
    _check_urls(items)
    for _ in range(prepare.ATTEMPTS):
        plan = _Plan()
        await _identify(engine, access, items, plan)
        await _link(engine, access, items, plan)
        await _prepare(engine, access, items, plan)
        try:
            versions = await _commit(engine, access, plan)
        except RaceLost as race:
            _check_race(items, race)
            continue
        return [await _answer(engine, access, item, plan, versions, returning) for item in items]
    raise Conflict("lost-race", "what this transaction changes keeps changing; retry")


def _check_scope(access: Access, item: Item) -> None:
    if is_operation(item):
        raise NotSupported("no-operation", f"{item.place}: operations run in a batch", expression=item.place)
    if item.segments == ("_history",):
        return  # it looks after itself: the types it shows are those that the scopes allow
    if item.verb in ("GET", "HEAD"):
        require(access, item.type, "s" if len(item.segments) == 1 else "r")
    else:
        require(access, item.type, _LETTERS[item.verb])


def _check_urls(items: Sequence[Item]) -> None:
    """No fullUrl used twice. Raises Invalid."""
    urls: set[str] = set()
    for item in items:
        if item.full_url and item.verb in ("POST", "PUT"):
            if item.full_url in urls:
                raise Invalid(
                    "duplicate-full-url",
                    f"{item.place} has the fullUrl of another entry",
                    expression=f"{item.place}.fullUrl",
                )
            urls.add(item.full_url)


async def _identify(engine: Engine, access: Access, items: Sequence[Item], plan: _Plan) -> None:
    """The id of each entry: new, named by the client, or found by a condition. Two entries with the same
    If-None-Exist are one resource; otherwise no resource is written twice, as the outcome would depend on the
    order. Raises PreconditionFailed, NotFound, Invalid."""
    conditions: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    written: set[tuple[str, str]] = set()
    for item in items:
        condition = item.if_none_exist if item.verb == "POST" else item.condition
        if condition is not None:
            first = conditions.setdefault((item.type, condition), item.index)
            if first == item.index:
                await _condition(engine, access, item, condition, plan)
            elif item.verb == "POST" and items[first].verb == "POST":
                plan.ids[item.index] = plan.ids[first]
                plan.matched.add(item.index)
            else:
                raise _twice(item)
        elif item.verb == "POST":
            plan.ids[item.index] = engine.new_id()
        elif item.verb in ("PUT", "PATCH", "DELETE"):
            await _named(engine, access, item, plan)
        if item.verb in ("PUT", "PATCH", "DELETE") and item.index in plan.ids:
            if (item.type, plan.ids[item.index]) in written:
                raise _twice(item)
            written.add((item.type, plan.ids[item.index]))
        if item.full_url and item.index in plan.ids and item.verb != "DELETE":
            plan.known[item.full_url] = f"{item.type}/{plan.ids[item.index]}"


def _twice(item: Item) -> Invalid:
    return Invalid("duplicate-entry", f"{item.place} writes what another entry writes", expression=item.place)


async def _named(engine: Engine, access: Access, item: Item, plan: _Plan) -> None:
    if item.verb == "PATCH":
        old: Version | None = await current(engine, access, item.type, item.id)
    else:
        old = await find(engine, access, item.type, item.id)
    check_match(item.type, item.id, old, item.if_match)
    plan.ids[item.index] = item.id
    _keep(access, item, old, plan)


async def _condition(
    engine: Engine, access: Access, item: Item, condition: Sequence[tuple[str, str]], plan: _Plan
) -> None:
    name = "ifNoneExist" if item.verb == "POST" else "url"
    found = await the_one(engine, access, item.type, condition, place=f"{item.place}.request.{name}")
    plan.unless.append(found.unless)
    old = found.version
    if item.verb == "POST":
        if old is not None:
            plan.found[item.index] = old
            plan.matched.add(item.index)
        plan.ids[item.index] = old.id if old else engine.new_id()
        return
    if item.verb == "DELETE":
        if old is None:
            return
        id = old.id
    elif item.verb == "PATCH":
        id = the_match(item.type, old).id
    else:
        assert item.resource is not None
        id = matched_id(engine, item.resource, old)
        if old is None and "id" in item.resource:
            old = await find(engine, access, item.type, id)
            check_free(item.type, old)
    check_match(item.type, id, old, item.if_match)
    plan.ids[item.index] = id
    _keep(access, item, old, plan)


def _keep(access: Access, item: Item, old: Version | None, plan: _Plan) -> None:
    """What stands there now, and the right to put something where nothing is. Raises NotFound, Forbidden."""
    if old is not None:
        plan.found[item.index] = old
    if item.verb != "PUT":
        return
    chosen = item.resource is not None and (item.id or item.resource.get("id")) is not None
    if old is None and chosen and not sees_all(access, item.type):
        raise unknown(item.type, plan.ids[item.index])
    if old is None or old.body is None:
        require(access, item.type, "c")


async def _link(engine: Engine, access: Access, items: Sequence[Item], plan: _Plan) -> None:
    """Conditional references, each looked up once. Raises PreconditionFailed when not exactly one matches."""
    for item in items:
        if item.resource is None or item.index in plan.matched:
            continue
        for link, type, path in conditional(item.resource):
            if link in plan.known:
                continue
            place = placed_in(path, item)
            found = await the_one(engine, access, type, parse_query(link.partition("?")[2]), place=place)
            if found.version is None:
                raise PreconditionFailed(
                    "conditional-reference",
                    f"the conditional reference at {place} matches nothing",
                    expression=place,
                )
            plan.known[link] = f"{type}/{found.version.id}"


async def _prepare(engine: Engine, access: Access, items: Sequence[Item], plan: _Plan) -> None:
    """Every Put. Raises Unprocessable with the issues of all entries at once, each placed in the Bundle."""
    at = prepare.moment(engine)
    issues: list[Issue] = []
    placed: list[tuple[Item, Put]] = []
    for done, item in enumerate(items):
        if done % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        if item.verb == "DELETE" and (old := plan.found.get(item.index)) is not None and old.body is not None:
            plan.puts[item.index] = prepare.tombstone(old, at)
        if item.verb not in ("POST", "PUT", "PATCH") or item.index in plan.matched:
            continue
        try:
            old = plan.found.get(item.index)
            resource, stored = await _patched(item, plan) if item.verb == "PATCH" else _resolved(item, plan)
            id = plan.ids[item.index]
            put = await prepare.draft(engine, access, resource, id, old=old, at=at, stored=stored)
        except Unprocessable as error:
            issues.extend(in_bundle(issue, item) for issue in error.issues)
            continue
        except TeledossierError as error:
            raise type(error)(
                error.slug, str(error), issues=[in_bundle(i, item) for i in error.issues]
            ) from error
        placed.append((item, put))
        plan.puts[item.index] = put
    if issues:
        first = next(issue for issue in issues if issue.severity in ("fatal", "error"))
        raise Unprocessable("invalid-resource", first.diagnostics, issues=issues)
    puts = [put for _, put in placed]
    for _, put in placed:
        await check_place(engine, access, put, puts)


async def _patched(item: Item, plan: _Plan) -> tuple[Resource, Stored | None]:
    """The stored version as patched, its links to other entries resolved. A urn that it had already stays."""
    resource, stored = await changed(of_resource(item.resource), plan.found[item.index])
    return relinked(resource, resolver(plan.known, ""))[0], stored


def _resolved(item: Item, plan: _Plan) -> tuple[Resource, None]:
    assert item.resource is not None
    resource, lost = relinked(item.resource, resolver(plan.known, item.full_url))
    if lost:
        raise Invalid(
            "unresolved-reference",
            "a urn is no entry's fullUrl",
            issues=[
                Issue(
                    "error",
                    "invalid",
                    "unresolved-reference",
                    "no entry has the fullUrl that this names",
                    path,
                )
                for path in lost
            ],
        )
    return resource, None


def placed_in(path: str, item: Item) -> str:
    """A place told from the Bundle: `Patient.name[0]` becomes `Bundle.entry[3].resource.name[0]`."""
    if path.startswith("Bundle"):
        return path
    _, dot, rest = path.partition(".")
    return f"{item.place}.resource{dot}{rest}"


def in_bundle(issue: Issue, item: Item) -> Issue:
    """The issue, its place told from the Bundle."""
    return replace(issue, expression=placed_in(issue.expression, item))


async def _commit(engine: Engine, access: Access, plan: _Plan) -> dict[int, Version]:
    if not plan.puts:
        return {}
    olds = {(old.type, old.id): old for index, old in plan.found.items() if index in plan.puts}
    versions = await commit.many(engine, access, list(plan.puts.values()), olds=olds, unless=plan.unless)
    return dict(zip(plan.puts, versions, strict=True))


def _check_race(items: Sequence[Item], race: RaceLost) -> None:
    """A lost race on an entry with If-Match is final. Raises PreconditionFailed."""
    for item in items:
        if (item.type, item.id) == (race.type, race.id) and item.if_match is not None:
            raise PreconditionFailed(
                "stale-version",
                f"{item.place}: what If-Match or If-None-Match names has changed meanwhile",
                expression=item.place,
            )


async def _answer(
    engine: Engine, access: Access, item: Item, plan: _Plan, versions: dict[int, Version], returning: str
) -> Entry:
    if item.verb in ("GET", "HEAD"):
        try:
            return await do_read(engine, access, item)
        except TeledossierError as error:
            return answer_error(error)
    version = versions.get(item.index)
    if version is not None:
        return answer_version(engine, version, returning)
    if item.index in plan.matched:
        same = plan.found.get(item.index) or next(
            (done for done in versions.values() if (done.type, done.id) == (item.type, plan.ids[item.index])),
            None,
        )
        if same is None:  # the same condition as an entry that itself was matched
            same = next(
                old for old in plan.found.values() if (old.type, old.id) == (item.type, plan.ids[item.index])
            )
        return answer_version(engine, same, returning, status="200 OK")
    return Entry(None, response={"status": "204 No Content"})
