"""Codes with dates, which the SQLite engine keeps together: every way to a page answers as the evaluator."""

import random
from pathlib import Path

import pytest

from fhir_server.search import evaluate
from fhir_server.search.nodes import And, Bounds, Date, Node, Not, Select, Sort, Token
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Entries, Indexed
from fhir_server.store.sqlite.pairs import DAY
from tests.store.making import gone, put

CODES, STATES = ("x", "y", "z"), ("final", "amended")
SORTS = ((), ("date", False), ("date", True), ("date", True, "status"))


def entries(dice: random.Random, plain: bool) -> Entries:
    """`plain`: one short date, as most observations have."""
    lengths = (1, 3, DAY) if plain else (1, 3, DAY, DAY + 1, 40 * DAY)
    starts = [dice.randrange(-5, 5) * DAY // 2 for _ in range(1 if plain else dice.choice((0, 1, 1, 2)))]
    codes = dice.sample(CODES, 1 if plain else dice.choice((0, 1, 2)))
    return Entries(
        tokens=(*(("code", "s", code) for code in codes), ("status", "", dice.choice(STATES))),
        dates=tuple(("date", start, start + dice.choice(lengths)) for start in starts),
    )


def bounds(dice: random.Random) -> tuple[Bounds, ...]:
    def limit() -> int | None:
        return dice.choice((None, dice.randrange(-6, 6) * DAY // 2, dice.randrange(-6, 6) * DAY // 2 + 1))

    return tuple(Bounds(limit(), limit(), limit(), limit()) for _ in range(dice.choice((1, 1, 2))))


def query(dice: random.Random) -> Node:
    nodes: list[Node] = [
        Token("code", tuple((None, code) for code in dice.sample(CODES, dice.choice((1, 1, 2)))))
    ]
    nodes += [Date("date", bounds(dice)) for _ in range(dice.choice((0, 1, 2)))]
    if dice.random() < 0.4:
        status: Node = Token("status", ((None, "final"),))
        nodes.append(status if dice.random() < 0.5 else Not(status))
    dice.shuffle(nodes)
    return And(tuple(nodes)) if len(nodes) > 1 else nodes[0]


@pytest.mark.parametrize("plain", [True, False], ids=["one short date", "any dates"])
@pytest.mark.parametrize("small", [2000, 5], ids=["small sources", "walks"])
async def test_codes_and_dates(
    tmp_path: Path, plain: bool, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.store.sqlite.pages.SMALL", small)
    dice = random.Random(7)
    store = open_store(Settings(store=f"sqlite:///{tmp_path / 'store.db'}"))
    await store.open()
    world, versions = evaluate.Memory(), {}
    for n in range(150):
        id = str(n % 110)  # some are written twice, and then move
        given = entries(dice, plain)
        kinds = {"tokens": given.tokens, "dates": given.dates}
        (done,) = await store.commit([put("Observation", id, versions.get(id, 0), **kinds)])
        versions[id] = done.version
        world.views[f"Observation/{id}"] = evaluate.View("Observation", id, given, done.seq)
    for id in ("3", "50"):
        await store.commit([gone("Observation", id, versions[id])])
        del world.views[f"Observation/{id}"]
    again = entries(dice, plain)
    await store.reindex([Indexed("Observation", "7", versions["7"], again, frozenset({"date"}))])
    old = world.views["Observation/7"]
    mixed = Entries(tokens=old.entries.tokens, dates=again.dates)
    world.views["Observation/7"] = evaluate.View("Observation", "7", mixed, old.seq)
    again = Entries(tokens=old.entries.tokens, dates=again.dates)
    await store.reindex([Indexed("Observation", "7", versions["7"], again, frozenset({"code"}))])

    found = 0
    for _ in range(300):
        where, chosen = query(dice), dice.choice(SORTS)
        keys = () if not chosen else (Sort("date", "date", bool(chosen[1])),)
        keys += (Sort("status", "token"),) if len(chosen) > 2 else ()
        whole = Select("Observation", where, keys, 200)
        expected = [view.id for view in evaluate.page(whole, world)]
        assert [row.version.id for row in await store.search(whole)] == expected, (str(where), keys)
        assert await store.count("Observation", where) == len(expected), str(where)
        paged, after = [], None
        while rows := await store.search(Select("Observation", where, keys, 7, after)):
            paged += [row.version.id for row in rows]
            after = rows[-1].position
        assert paged == expected, (str(where), keys)
        if len(expected) > 3:
            middle = (await store.search(whole))[3].position
            before = await store.search(Select("Observation", where, keys, 2, middle, backwards=True))
            assert [row.version.id for row in before] == expected[1:3], (str(where), keys)
        found += len(expected)
    await store.close()
    assert found > 1000
