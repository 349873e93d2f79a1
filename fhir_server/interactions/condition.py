"""What a condition matches: If-None-Exist, `PUT [type]?…`, a conditional reference.

FHIR R4 http.html#ccreate, http.html#cond-update, http.html#cdelete

A condition is judged twice: here, to know what to write, and once more by the store just before it writes,
so that of two simultaneous requests with the same condition the second sees what the first made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.access import Access
from fhir_server.interactions.binding import binder
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import require
from fhir_server.search.nodes import And, Ids, Node, Not, Select
from fhir_server.search.plan import plan_of
from fhir_server.store.contract import Unless, Version
from profiles.outcomes import PreconditionFailed

Params = Sequence[tuple[str, str]]
_SHAPING = frozenset(
    ("_sort", "_count", "_total", "_summary", "_elements", "_include", "_revinclude", "_format", "_pretty")
)


@dataclass(frozen=True, slots=True)
class Matched:
    """The one resource that matches, or none; `unless` holds as long as that stays the answer."""

    version: Version | None
    unless: Unless


async def the_one(
    engine: Engine, access: Access, type: str, condition: Params, *, place: str = ""
) -> Matched:
    """At most one resource that this reader may see. `place` names the condition in messages. Raises
    PreconditionFailed when several match or the condition narrows nothing; Invalid, Forbidden."""
    require(access, type, "s")
    where = await _where(engine, access, type, condition)
    rows = await engine.store.search(Select(type, where, count=2))
    if len(rows) > 1:
        raise PreconditionFailed(
            "several-match", f"{place or 'the condition'} matches several {type}", expression=place
        )
    if not rows:
        return Matched(None, Unless(type, where))
    found = rows[0].version
    return Matched(found, Unless(type, And((where, Not(Ids((found.id,)))))))


async def _where(engine: Engine, access: Access, type: str, condition: Params) -> Node:
    narrowing = [pair for pair in condition if pair[1] and pair[0].partition(":")[0] not in _SHAPING]
    if not narrowing:
        raise PreconditionFailed("empty-condition", "the condition has no search parameter that narrows it")
    return plan_of(type, narrowing, await binder(engine, access)).select.where
