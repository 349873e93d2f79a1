"""The store's commit, with the AuditEvents of a person's write in the same atomic unit."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.conformance import reindex
from fhir_server.interactions.engine import Engine
from fhir_server.store.contract import Put, Unless, Version


async def one(
    engine: Engine, access: Access, put: Put, *, old: Version | None = None, unless: Sequence[Unless] = ()
) -> Version:
    """One resource. Raises RaceLost."""
    olds = {(put.type, put.id): old} if old else {}
    return (await many(engine, access, [put], olds=olds, unless=unless))[0]


async def many(
    engine: Engine,
    access: Access,
    puts: Sequence[Put],
    *,
    olds: dict[tuple[str, str], Version] | None = None,
    unless: Sequence[Unless] = (),
) -> list[Version]:
    """All or nothing; the versions of `puts` in order. `olds` are the bodies that deletions remove, for the
    trail. Raises RaceLost."""
    events: list[Put] = []
    if engine.trail is not None:
        events = engine.trail.of_writes(access, puts, olds or {})
    written = await engine.store.commit([*puts, *events], unless)
    await noted(engine, puts)
    return written[: len(puts)]


async def noted(engine: Engine, puts: Sequence[Put]) -> None:
    """What was committed counts: definitions for every request, search parameters for a reindex."""
    await engine.held.noted(puts)
    if any(put.type == "SearchParameter" for put in puts):
        await reindex.submit(engine)
