"""Random resources, random trees, random orders: every engine answers as the reference evaluator does."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fhir_server.search import evaluate
from fhir_server.search.nodes import (
    And,
    Below,
    Bounds,
    Chain,
    Composite,
    Date,
    Differs,
    Everything,
    Has,
    Ids,
    Missing,
    Near,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Reference,
    Select,
    Sort,
    String,
    Text,
    Token,
)
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Entries, Put, Row
from tests.mongodb import ENGINES, Server
from tests.store.ways import WAYS, go

TYPES = ("Patient", "Observation")
IDS = ("a", "b", "c", "d")
NAMES = st.sampled_from(("p", "code", "date"))  # the SQLite engine pairs Observation's code and date
SYSTEMS, CODES = st.sampled_from(("", "s", "u")), st.sampled_from(("x", "xy", "y", "z"))
TEXTS = st.text("aéb\U0010ffff", max_size=3)
POINTS = st.integers(-3, 6)
TARGETS = st.sampled_from(
    [*(f"{type}/{id}" for type in TYPES for id in IDS), "https://x.example/1", "urn:uuid:1"]
)

WORDS = st.lists(st.sampled_from(("os", "moelle", "mœ", "a1")), min_size=1, max_size=3).map(" ".join)
PLACES = st.tuples(
    st.sampled_from((-90.0, 0.0, 43.6, 43.61, 90.0)), st.sampled_from((-180.0, 1.44, 1.45, 180.0))
)
VALUES = {
    "token": st.tuples(st.just("token"), SYSTEMS, CODES),
    "reference": st.tuples(st.just("reference"), TARGETS),
    "date": st.tuples(POINTS, st.integers(1, 4)).map(lambda d: ("date", d[0], d[0] + d[1])),
    "string": TEXTS.map(lambda text: ("string", text.replace("é", "e"), text)),
    "number": st.tuples(POINTS, st.integers(0, 3), SYSTEMS, CODES).map(
        lambda n: ("number", float(n[0]), float(n[0] + n[1]), n[2], n[3])
    ),
}
FORMS = (
    ("token", "number"),
    ("token", "date"),
    ("reference", "token"),
    ("token", "string"),
    ("token", "number", "number"),
)
"""The components of c0, c1, …"""
COMPOSITES = st.integers(0, len(FORMS) - 1).flatmap(
    lambda n: st.tuples(st.just(f"c{n}"), st.tuples(*(VALUES[kind] for kind in FORMS[n])))
)

ENTRIES = st.builds(
    Entries,
    tokens=st.lists(st.tuples(NAMES, SYSTEMS, CODES), max_size=3).map(tuple),
    references=st.lists(st.tuples(NAMES, TARGETS), max_size=3).map(tuple),
    dates=st.lists(
        st.tuples(NAMES, POINTS, st.sampled_from((1, 2, 3, 4, 10**12))).map(
            lambda d: (d[0], d[1], d[1] + d[2])
        ),
        max_size=3,
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
    composites=st.lists(COMPOSITES, max_size=3).map(tuple),
    positions=st.lists(st.tuples(NAMES, PLACES).map(lambda p: (p[0], *p[1])), max_size=2).map(tuple),
    texts=st.dictionaries(st.sampled_from(("_text", "_content")), WORDS).map(
        lambda texts: tuple(texts.items())
    ),
)
SOME = st.one_of(st.none(), POINTS)
BOUNDS = st.builds(Bounds, SOME, SOME, SOME, SOME)
ANY_OF = st.lists(BOUNDS, min_size=1, max_size=2).map(tuple)
PAIR = st.tuples(st.one_of(st.none(), SYSTEMS), st.one_of(st.none(), CODES))
HOWS = st.sampled_from(("starts", "contains", "ends", "equals", "before", "after", "exact"))
PARTS = {
    "token": st.builds(Token, st.just(""), st.lists(PAIR, min_size=1, max_size=2).map(tuple)),
    "reference": st.builds(Reference, st.just(""), st.lists(TARGETS, min_size=1, max_size=2).map(tuple)),
    "date": st.builds(Date, st.just(""), ANY_OF),
    "string": st.builds(
        String,
        st.just(""),
        HOWS,
        st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
    ),
    "number": st.builds(Number, st.just(""), ANY_OF, PAIR),
}
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
        HOWS,
        st.lists(TEXTS, min_size=1, max_size=2).map(tuple),
    ),
    st.integers(0, len(FORMS) - 1).flatmap(
        lambda n: st.builds(Composite, st.just(f"c{n}"), st.tuples(*(PARTS[kind] for kind in FORMS[n])))
    ),
    st.builds(
        Near,
        NAMES,
        st.sampled_from((-90.0, 43.6, 89.9)),
        st.sampled_from((1.44, 179.9)),
        st.sampled_from((0.0, 1000.0, 3e4, 2.1e7)),
    ),
    st.sampled_from(sorted(PARTS)).flatmap(
        lambda kind: st.builds(lambda part, name: Differs(replace(part, param=name)), PARTS[kind], NAMES)
    ),
    st.builds(Below, NAMES, st.sampled_from(("", "x", "xy"))),
    st.builds(Text, st.sampled_from(("_text", "_content")), WORDS, st.booleans()),
    st.builds(Missing, NAMES, st.sampled_from(("token", "reference", "date", "string", "number"))),
)
CODED: st.SearchStrategy[Node] = st.builds(
    Token, st.just("code"), st.lists(st.tuples(st.none(), CODES), min_size=1, max_size=2).map(tuple)
)
DATED: st.SearchStrategy[Node] = st.builds(Date, st.just("date"), ANY_OF)
TOGETHER: st.SearchStrategy[Node] = st.builds(
    And,
    st.tuples(CODED, DATED)
    | st.tuples(DATED, CODED, DATED)
    | st.tuples(CODED, LEAVES)
    | st.tuples(CODED, DATED, LEAVES),
)
"""What an engine may have an index of its own for."""
TREES: st.SearchStrategy[Node] = st.recursive(
    LEAVES | CODED | TOGETHER,
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
        st.builds(Sort, st.just("date"), st.just("date"), st.booleans()),
        st.builds(Sort, st.just("_id"), st.just("token"), st.booleans()),
        st.builds(Sort, st.just("_lastUpdated"), st.just("date"), st.booleans()),
    ),
    max_size=3,
).map(tuple)
LENIENT: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
WRITES = st.lists(
    st.tuples(st.sampled_from(TYPES), st.sampled_from(IDS), st.one_of(ENTRIES, ENTRIES, ENTRIES, st.none())),
    min_size=1,
    max_size=14,
)
SEARCHES = st.lists(
    st.tuples(st.sampled_from(TYPES), TREES, SORTS, st.integers(1, 3), st.booleans()), min_size=1, max_size=6
)


@pytest.mark.parametrize("way", ["small", "walk"])
@hypothesis_settings(max_examples=120, **LENIENT)
@given(writes=WRITES, searches=SEARCHES)
def test_sqlite_answers_as_the_evaluator(
    way: str, writes: Any, searches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        go(patch, way)
        asyncio.run(_check(Settings(store=f"sqlite:///{Path(folder) / 'store.db'}"), writes, searches))


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "sqlite"])
@pytest.mark.parametrize("way", WAYS)
@hypothesis_settings(max_examples=20, **LENIENT)
@given(writes=WRITES, searches=SEARCHES)
def test_mongodb_answers_as_the_evaluator(
    engine: str,
    way: str,
    writes: Any,
    searches: Any,
    mongodb_server: Callable[[str], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fewer examples than for a file: each makes and drops a database."""
    with monkeypatch.context() as patch, mongodb_server(engine).database() as address:
        go(patch, way)
        asyncio.run(_check(Settings(store=address), writes, searches))


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
        for type, where, sort, size, beside in searches:
            both = ((next(each for each in TYPES if each != type), where),) if beside else ()
            await _compare(store, world, Select(type, where, sort, size, beside=both))
    finally:
        await store.close()


async def _compare(store: Any, world: evaluate.Memory, select: Select) -> None:
    expected = [view.reference for view in evaluate.page(replace(select, count=100), world)]
    whole = await store.search(replace(select, count=100))
    assert [named(row) for row in whole] == expected, select
    counts = [await store.count(type, where) for type, where in select.searched]
    assert sum(counts) == len(expected), select
    paged, after = [], None
    while rows := await store.search(replace(select, after=after)):
        paged += [named(row) for row in rows]
        after = rows[-1].position
    assert paged == expected, select
    for at, row in enumerate(whole):
        before = await store.search(replace(select, after=row.position, backwards=True))
        assert [named(each) for each in before] == expected[max(0, at - select.count) : at], (select, at)


def named(row: Row) -> str:
    return f"{row.version.type}/{row.version.id}"
