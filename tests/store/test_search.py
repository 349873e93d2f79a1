"""Every node kind → the exact ids, each with a control that it finds something and leaves something out."""

import asyncio
from typing import Any

import pytest

from fhir_server.search import evaluate
from fhir_server.search.nodes import (
    And,
    Below,
    Bounds,
    Chain,
    Date,
    Differs,
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
    Text,
    Token,
)
from fhir_server.store.contract import Put, Store
from tests.store.making import gone, put
from tests.store.ways import WAYS, go

PATIENTS = [
    put(
        "Patient",
        "a",
        tokens=[("sex", "", "male"), ("id", "ins", "1"), ("id", "ipp", "7")],
        strings=[("name", "lefevre", "Lefèvre"), ("name", "anne", "Anne")],
        dates=[("born", 10, 20)],
        references=[("gp", "Practitioner/x")],
        numbers=[("w", 70.0, 70.0, "u", "kg")],
    ),
    put(
        "Patient",
        "b",
        tokens=[("sex", "", "female"), ("id", "ipp", "1")],
        strings=[("name", "lef", "lef")],
        dates=[("born", 15, 16)],
        references=[("gp", "https://there.example/Practitioner/x")],
        numbers=[("w", 60.0, 80.0, "u", "kg")],
    ),
    put(
        "Patient",
        "c",
        tokens=[("sex", "", "male")],
        strings=[("name", "zoe\U0010ffff", "Zoé\U0010ffff")],
        dates=[("born", 20, 30), ("born", 1, 2)],
        references=[("gp", "Practitioner/y"), ("gp", "Practitioner/gone")],
        numbers=[("w", 70.0, 70.0, "", "g")],
    ),
    put("Patient", "d"),
]
OTHERS = [
    put("Practitioner", "x", tokens=[("active", "", "true")], references=[("org", "Organization/o")]),
    put("Practitioner", "y", tokens=[("active", "", "false")]),
    put("Practitioner", "gone", tokens=[("active", "", "true")]),
    put("Organization", "o", strings=[("name", "chu", "CHU")]),
    put(
        "Task",
        "t1",
        references=[("for", "Patient/a"), ("owner", "Organization/o")],
        tokens=[("status", "", "ready")],
    ),
    put(
        "Task", "t2", references=[("for", "Patient/a"), ("for", "Patient/c")], tokens=[("status", "", "done")]
    ),
    put("Task", "t3", references=[("for", "Patient/b")], tokens=[("status", "", "ready")]),
    put("Provenance", "p1", references=[("target", "Task/t3")]),
]
AFTER = [
    gone("Practitioner", "gone", 1),
    gone("Task", "t3", 1),
    put("Organization", "o", 1, strings=[("name", "chr", "CHR")]),
]


def born(*bounds: Bounds) -> Date:
    return Date("born", bounds)


def name(how: Any, *values: str) -> String:
    return String("name", how, values)


TREES: list[tuple[Node, str]] = [
    (Everything(), "abcd"),
    (Nothing(), ""),
    (Ids(("a", "d", "nobody")), "ad"),
    (Ids(()), ""),
    (Token("sex", ((None, "male"),)), "ac"),
    (Token("sex", (("", "male"), ("", "female"))), "abc"),
    (Token("sex", (("other", "male"),)), ""),
    (Token("id", (("ipp", "1"),)), "b"),
    (Token("id", ((None, "1"),)), "ab"),
    (Token("id", (("ipp", None),)), "ab"),
    (Token("id", (("ins", None), ("none", None))), "a"),
    (Token("id", ((None, None),)), "ab"),
    (Token("nothing", ((None, "male"),)), ""),
    (Token("id", tuple(("ipp", str(n)) for n in range(500))), "ab"),
    (Reference("gp", ("Practitioner/x",)), "a"),
    (Reference("gp", ("https://there.example/Practitioner/x",)), "b"),
    (Reference("gp", ("Practitioner/x", "Practitioner/y")), "ac"),
    (Reference("gp", ("Practitioner/gone",)), "c"),
    (Reference("gp", ("Group/x",)), ""),
    (Reference("gp", tuple(f"Practitioner/{c}" for c in "xyz" * 100)), "ac"),
    (born(Bounds(start_from=15)), "bc"),
    (born(Bounds(start_before=15)), "ac"),
    (born(Bounds(end_after=20)), "c"),
    (born(Bounds(end_until=20)), "abc"),
    (born(Bounds(10, 16, 15, 20)), "ab"),
    (born(Bounds(15, None, None, 16)), "b"),
    (born(Bounds(start_before=2), Bounds(start_from=15, start_before=16)), "bc"),
    (born(Bounds()), "abc"),
    (Number("w", (Bounds(start_from=70),)), "ac"),
    (Number("w", (Bounds(end_after=70),)), "b"),
    (Number("w", (Bounds(),), ("u", "kg")), "ab"),
    (Number("w", (Bounds(),), (None, "g")), "c"),
    (Number("w", (Bounds(),), ("u", None)), "ab"),
    (Number("w", (Bounds(start_from=70),), ("u", "kg")), "a"),
    (name("starts", "lef"), "ab"),
    (name("starts", "lefe"), "a"),
    (name("starts", "l", "zoe"), "abc"),
    (name("starts", "zoe\U0010ffff"), "c"),
    (name("starts", "LEF"), ""),
    (name("contains", "ev"), "a"),
    (name("contains", "e", "q"), "abc"),
    (name("contains", "%"), ""),
    (name("exact", "Lefèvre"), "a"),
    (name("exact", "lefèvre"), ""),
    (name("exact", "Anne", "lef"), "ab"),
    (Missing("born", "date"), "d"),
    (Missing("sex", "token"), "d"),
    (Missing("name", "string"), "d"),
    (Missing("gp", "reference"), "d"),
    (Missing("w", "number"), "d"),
    (Missing("nothing", "token"), "abcd"),
    (Not(Missing("born", "date")), "abc"),
    (Not(Token("sex", ((None, "male"),))), "bd"),
    (Not(Not(Ids(("a",)))), "a"),
    (And((Token("sex", ((None, "male"),)), name("starts", "lef"))), "a"),
    (And(()), "abcd"),
    (Or(()), ""),
    (Or((Ids(("d",)), born(Bounds(start_from=20)))), "cd"),
    (Or((Not(Ids(("d",))), Ids(("d",)))), "abcd"),
    (Chain("gp", "Practitioner", Everything()), "ac"),
    (Chain("gp", "Organization", Everything()), ""),
    (Chain("gp", "Practitioner", Token("active", ((None, "true"),))), "a"),
    (Chain("gp", "Practitioner", Not(Token("active", ((None, "true"),)))), "c"),
    (Not(Chain("gp", "Practitioner", Token("active", ((None, "true"),)))), "bcd"),
    (Chain("gp", "Practitioner", Chain("org", "Organization", name("starts", "chr"))), "a"),
    (Chain("gp", "Practitioner", Chain("org", "Organization", name("starts", "chu"))), ""),
    (Has("Task", "for", Everything()), "ac"),
    (Has("Task", "for", Token("status", ((None, "ready"),))), "a"),
    (
        And(
            (
                Has("Task", "for", Token("status", ((None, "ready"),))),
                Has("Task", "for", Token("status", ((None, "done"),))),
            )
        ),
        "a",
    ),
    (Has("Task", "for", And((Token("status", ((None, "ready"),)), Token("status", ((None, "done"),))))), ""),
    (Has("Task", "for", Chain("owner", "Organization", name("starts", "chr"))), "a"),
    (Has("Task", "for", Has("Provenance", "target", Everything())), ""),
    (Not(Has("Task", "for", Everything())), "bd"),
    (Has("Task", "owner", Everything()), ""),
]


async def filled(store: Store) -> evaluate.Memory:
    world = evaluate.Memory()
    for write in [*PATIENTS, *OTHERS, *AFTER]:
        (done,) = await store.commit([write])
        world.views.pop(f"{write.type}/{write.id}", None)
        if write.body is not None:
            world.views[f"{write.type}/{write.id}"] = evaluate.View(
                write.type, write.id, write.entries, done.seq
            )
    return world


async def test_each_tree_finds_exactly(store: Store) -> None:
    world = await filled(store)
    for tree, expected in TREES:
        rows = await store.search(Select("Patient", tree, count=50))
        assert "".join(sorted(row.version.id for row in rows)) == expected, str(tree)
        assert await store.count("Patient", tree) == len(expected), str(tree)
        by_evaluator = evaluate.page(Select("Patient", tree, count=50), world)
        assert "".join(sorted(view.id for view in by_evaluator)) == expected, f"the evaluator: {tree}"


@pytest.mark.parametrize("way", [way for way in WAYS if way != "small"])
async def test_each_tree_finds_exactly_however_large_the_sources(
    store: Store, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store)
    go(monkeypatch, way)
    for tree, expected in TREES:
        for sort in ((), (Sort("born", "date"),)):
            rows = await store.search(Select("Patient", tree, sort, count=50))
            assert "".join(sorted(row.version.id for row in rows)) == expected, str(tree)
        assert await store.count("Patient", tree) == len(expected), str(tree)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ((), "dcba"),
        ((Sort("_lastUpdated", "date"),), "abcd"),
        ((Sort("_lastUpdated", "date", True),), "dcba"),
        ((Sort("_id", "token"),), "abcd"),
        ((Sort("_id", "token", True),), "dcba"),
        ((Sort("born", "date"),), "cabd"),
        ((Sort("born", "date", True),), "cbad"),
        ((Sort("name", "string"),), "abcd"),
        ((Sort("name", "string", True),), "cabd"),
        ((Sort("w", "number"),), "bacd"),
        ((Sort("w", "number", True),), "cabd"),
        ((Sort("sex", "token"), Sort("born", "date", True)), "bcad"),
        ((Sort("sex", "token", True),), "cabd"),
        ((Sort("gp", "reference"),), "cabd"),
        ((Sort("nothing", "string"),), "abcd"),
        ((Sort("sex", "token"), Sort("_lastUpdated", "date", True)), "bcad"),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", WAYS)
async def test_orders_and_pages(
    store: Store, sort: tuple[Sort, ...], order: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store)
    go(monkeypatch, way)
    for size in (1, 2, 3, 4):
        pages, after = "", None
        while rows := await store.search(Select("Patient", Everything(), sort, size, after)):
            assert len(rows) <= size
            if after is not None:
                before = await store.search(
                    Select("Patient", Everything(), sort, size, rows[0].position, backwards=True)
                )
                assert "".join(row.version.id for row in before) == pages[-size:]
            pages += "".join(row.version.id for row in rows)
            after = rows[-1].position
        assert pages == order


@pytest.mark.parametrize(
    "sort", [(), (Sort("born", "date"),), (Sort("name", "string", True),), (Sort("_id", "token"),)], ids=str
)
async def test_paging_is_stable_while_others_write(store: Store, sort: tuple[Sort, ...]) -> None:
    """Nothing that stays the same is seen twice or left out, whatever comes, goes or changes around it."""

    def person(n: int, expect: int = 0) -> Put:
        return put(
            "Patient",
            f"n{n:03}",
            expect,
            dates=[("born", n % 7, n % 7 + 1)] if n % 5 else [],
            strings=[("name", f"x{n % 11}", f"X{n % 11}")] if n % 3 else [],
        )

    await store.commit([person(n) for n in range(120)])
    seen: list[str] = []
    after, step = None, 0
    while rows := await store.search(Select("Patient", Everything(), sort, 7, after)):
        seen += [row.version.id for row in rows]
        after = rows[-1].position
        await store.commit([person(1000 + step), person(step, 1), gone("Patient", f"n{119 - step:03}", 1)])
        step += 1
    steady = {f"n{n:03}" for n in range(step, 120 - step)}
    assert steady
    assert steady <= set(seen)
    assert all(seen.count(id) == 1 for id in steady)


async def test_searches_and_writes_at_once(store: Store) -> None:
    await store.commit([put("Patient", "keep", tokens=[("sex", "", "male")])])

    async def write() -> None:
        for n in range(50):
            await store.commit([put("Patient", "w", n, tokens=[("sex", "", "male")])])

    async def read() -> None:
        for _ in range(50):
            rows = await store.search(Select("Patient", Token("sex", ((None, "male"),))))
            assert {"keep"} <= {row.version.id for row in rows} <= {"keep", "w"}

    await asyncio.gather(write(), read(), read())


LONG = "é\U0001f600x" * 5_000


@pytest.mark.parametrize(
    ("node", "found"),
    [
        (String("t", "starts", (LONG,)), "ab"),
        (String("t", "starts", (LONG + "b",)), "b"),
        (String("t", "contains", (LONG[7:],)), "ab"),
        (String("t", "contains", (LONG[7:] + "b",)), "b"),
        (String("t", "ends", (LONG + "b",)), "b"),
        (String("t", "equals", (LONG + "a",)), "a"),
        (String("t", "exact", (LONG + "b",)), "b"),
        (Not(String("t", "starts", (LONG + "b",))), "ac"),
        (Differs(String("t", "starts", (LONG + "b",))), "ac"),
        (Below("u", LONG + "b"), "b"),
        (Text("_text", "w " * 2_000 + "b"), "b"),
        (Text("_text", "w " * 2_000 + "b", starts=True), "b"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_texts_may_be_long(store: Store, node: Node, found: str) -> None:
    """Longer than any pattern or index key; they differ in the last character alone."""
    await store.commit(
        [
            *(
                put(
                    "Basic",
                    id,
                    strings=[("t", LONG + id, LONG + id)],
                    tokens=[("u", "", LONG + id)],
                    texts=[("_text", "w " * 2_000 + id)],
                )
                for id in "ab"
            ),
            put("Basic", "c", strings=[("t", "short", "short")], texts=[("_text", "w")]),
        ]
    )
    rows = await store.search(Select("Basic", node))
    assert "".join(sorted(row.version.id for row in rows)) == found


MANY = 2_000


@pytest.mark.parametrize(
    ("node", "found"),
    [
        (Date("born", tuple(Bounds(start_from=n) for n in range(MANY))), "abc"),
        (Date("born", tuple(Bounds(n + 15, None, None, n + 16) for n in range(MANY))), "b"),
        (Number("w", tuple(Bounds(start_from=70 + n) for n in range(MANY))), "ac"),
        (name("starts", *(f"anne{n}" for n in range(MANY)), "lefe"), "a"),
        (name("contains", *(f"x{n}" for n in range(MANY)), "efev"), "a"),
        (name("exact", *(f"x{n}" for n in range(MANY)), "Anne"), "a"),
        (Token("id", (*((f"s{n}", None) for n in range(MANY)), ("ins", None))), "a"),
        (Token("id", (*(("ipp", f"x{n}") for n in range(MANY)), ("ipp", "1"))), "b"),
        (Ids((*(f"x{n}" for n in range(MANY)), "d")), "d"),
        (Reference("gp", (*(f"Practitioner/x{n}" for n in range(MANY)), "Practitioner/y")), "c"),
        (Or(tuple(Number("w", (Bounds(start_from=70 + n),)) for n in range(MANY))), "ac"),
        (And(tuple(Not(Token("id", ((None, str(n)),))) for n in range(MANY))), "cd"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_search_may_name_thousands_of_values(
    store: Store, node: Node, found: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store)
    go(monkeypatch, way)
    rows = await store.search(Select("Patient", node))
    assert "".join(sorted(row.version.id for row in rows)) == found
    assert await store.count("Patient", node) == len(found)


@pytest.mark.parametrize(
    ("way", "depth"),
    [*((way, depth) for way in ("small", "walk") for depth in (1, 2, 3, 4, 5, 8, 16)), ("pieces", 2)],
)
async def test_hops_of_any_depth(store: Store, depth: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of patients, each linked to the next and all owned; narrowed at every hop as an Access does."""
    go(monkeypatch, way)
    await store.commit(
        [
            put("Patient", str(n), references=[("link", f"Patient/{n + 1}"), ("audience", "Organization/o")])
            for n in range(40)
        ]
    )
    mine = Or((Reference("audience", ("Organization/o",)), Chain("link", "Patient", Ids(("nobody",)))))
    along: Node = Ids(("20",))
    against: Node = Ids(("20",))
    for _ in range(depth):
        along = Chain("link", "Patient", Not(Not(And((mine, along)))))
        against = Has("Patient", "link", And((mine, against)))
    for node, id in ((along, str(20 - depth)), (against, str(20 + depth))):
        rows = await store.search(Select("Patient", node))
        assert [row.version.id for row in rows] == [id]
        assert await store.count("Patient", node) == 1
