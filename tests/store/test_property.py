"""Random resources, random trees, random orders: every engine answers as the reference evaluator does."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fhir_server.search import evaluate
from fhir_server.search.nodes import (
    And,
    Bounds,
    Chain,
    Date,
    Everything,
    Has,
    Ids,
    Missing,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Reference,
    Select,
    Sort,
    String,
    Token,
)
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Entries, Put

TYPES = ("Patient", "Observation")
IDS = ("a", "b", "c", "d")
NAMES = st.sampled_from(("p", "q"))
SYSTEMS, CODES = st.sampled_from(("", "s", "u")), st.sampled_from(("x", "y", "z"))
TEXTS = st.text("aéb\U0010ffff", max_size=3)
POINTS = st.integers(-3, 6)
TARGETS = st.sampled_from(
    [*(f"{type}/{id}" for type in TYPES for id in IDS), "https://x.example/1", "urn:uuid:1"]
)

ENTRIES = st.builds(
    Entries,
    tokens=st.lists(st.tuples(NAMES, SYSTEMS, CODES), max_size=3).map(tuple),
    references=st.lists(st.tuples(NAMES, TARGETS), max_size=3).map(tuple),
    dates=st.lists(
        st.tuples(NAMES, POINTS, st.integers(1, 4)).map(lambda d: (d[0], d[1], d[1] + d[2])), max_size=3
    ).map(tuple),
    strings=st.lists(
        st.tuples(NAMES, TEXTS).map(lambda s: (s[0], s[1].replace("é", "e"), s[1])), max_size=3
    ).map(tuple),
    numbers=st.lists(
        st.tuples(NAMES, POINTS, st.integers(1, 3), SYSTEMS, CODES).map(
            lambda n: (n[0], float(n[1]), float(n[1] + n[2]), n[3], n[4])
        ),
        max_size=2,
    ).map(tuple),
)
SOME = st.one_of(st.none(), POINTS)
BOUNDS = st.builds(Bounds, SOME, SOME, SOME, SOME)
ANY_OF = st.lists(BOUNDS, min_size=1, max_size=2).map(tuple)
PAIR = st.tuples(st.one_of(st.none(), SYSTEMS), st.one_of(st.none(), CODES))
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.just(Everything()),
    st.just(Nothing()),
    st.builds(Ids, st.lists(st.sampled_from(IDS), max_size=2).map(tuple)),
    st.builds(Token, NAMES, st.lists(PAIR, min_size=1, max_size=2).map(tuple)),
    st.builds(Reference, NAMES, st.lists(TARGETS, min_size=1, max_size=2).map(tuple)),
    st.builds(Date, NAMES, ANY_OF),
    st.builds(Number, NAMES, ANY_OF, PAIR),
    st.builds(
        String,
        NAMES,
        st.sampled_from(("starts", "contains", "exact")),
        st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
    ),
    st.builds(Missing, NAMES, st.sampled_from(("token", "reference", "date", "string", "number"))),
)
TREES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda nodes: st.one_of(
        st.builds(And, st.lists(nodes, max_size=3).map(tuple)),
        st.builds(Or, st.lists(nodes, max_size=3).map(tuple)),
        st.builds(Not, nodes),
        st.builds(Chain, NAMES, st.sampled_from(TYPES), nodes),
        st.builds(Has, st.sampled_from(TYPES), NAMES, nodes),
    ),
    max_leaves=6,
)
SORTS = st.lists(
    st.one_of(
        st.builds(
            Sort, NAMES, st.sampled_from(("token", "reference", "date", "string", "number")), st.booleans()
        ),
        st.builds(Sort, st.just("_id"), st.just("token"), st.booleans()),
        st.builds(Sort, st.just("_lastUpdated"), st.just("date"), st.booleans()),
    ),
    max_size=3,
).map(tuple)
WRITES = st.lists(
    st.tuples(st.sampled_from(TYPES), st.sampled_from(IDS), st.one_of(ENTRIES, ENTRIES, ENTRIES, st.none())),
    min_size=1,
    max_size=14,
)
SEARCHES = st.lists(
    st.tuples(st.sampled_from(TYPES), TREES, SORTS, st.integers(1, 3)), min_size=1, max_size=6
)


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("small", [True, False], ids=["small sources", "index walks"])
@hypothesis_settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(writes=WRITES, searches=SEARCHES)
def test_engine_answers_as_the_evaluator(
    engine: str, small: bool, writes: Any, searches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way an engine has to a page must give the same: the second run forbids SQLite its small
    sources."""
    with monkeypatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        if not small:
            patch.setattr("fhir_server.store.sqlite.pages.SMALL", -1)
        asyncio.run(_check(Settings(store=f"{engine}:///{Path(folder) / 'store.db'}"), writes, searches))


async def _check(settings: Settings, writes: Any, searches: Any) -> None:
    store = open_store(settings)
    await store.open()
    try:
        world = evaluate.Memory()
        versions: dict[str, int] = {}
        for type, id, entries in writes:
            key = f"{type}/{id}"
            expect = versions.get(key, 0)
            if entries is None:
                if key not in world.views:
                    continue
                await store.commit([Put(type, id, expect, 0, "delete", None)])
                del world.views[key]
            else:
                (done,) = await store.commit([Put(type, id, expect, 0, "update", b"{}", entries)])
                world.views[key] = evaluate.View(type, id, entries, done.seq)
            versions[key] = expect + 1
        for type, where, sort, size in searches:
            await _compare(store, world, type, where, sort, size)
    finally:
        await store.close()


async def _compare(store: Any, world: evaluate.Memory, type: str, where: Node, sort: Any, size: int) -> None:
    expected = [view.id for view in evaluate.page(Select(type, where, sort, 100), world)]
    whole = await store.search(Select(type, where, sort, 100))
    assert [row.version.id for row in whole] == expected, (str(where), sort)
    assert await store.count(type, where) == len(expected), str(where)
    paged, after = [], None
    while rows := await store.search(Select(type, where, sort, size, after)):
        paged += [row.version.id for row in rows]
        after = rows[-1].position
    assert paged == expected, (str(where), sort, size)
    for at, row in enumerate(whole):
        before = await store.search(Select(type, where, sort, size, row.position, backwards=True))
        assert [each.version.id for each in before] == expected[max(0, at - size) : at], (
            str(where),
            sort,
            at,
        )
