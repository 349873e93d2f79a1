"""What every engine owes: versions, races, atomicity, history, records, counters."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fhir_server.search.nodes import And, Everything, Ids, Not, Select, Text, Token
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Past, RaceLost, Store, Unless, Version
from profiles.outcomes import SchemaMismatch, Unavailable
from tests.store.making import AT, gone, put


async def ids(store: Store, type: str = "Patient") -> list[str]:
    return [row.version.id for row in await store.search(Select(type, Everything(), count=100))]


async def test_a_write_is_read_back_byte_for_byte(store: Store) -> None:
    body = '{"x":1.00,"n":"é\\u0000\U0001f600"}'.encode()
    (made,) = await store.commit([put("Patient", "a", body=body)])
    assert made == Version("Patient", "a", 1, made.seq, AT, "create", body)
    assert await store.read("Patient", "a") == made
    assert await store.vread("Patient", "a", 1) == made
    assert await store.latest() == made.seq > 0
    assert await store.read("Patient", "b") is None
    assert await store.read("Basic", "a") is None
    assert await store.vread("Patient", "a", 2) is None
    assert await store.vread("Patient", "b", 1) is None


async def test_an_empty_store_answers(store: Store) -> None:
    assert await store.latest() == 0
    assert await store.read("Patient", "a") is None
    assert await store.history(Past(("Patient",), "a", 5)) == []
    assert await ids(store) == []
    assert await store.count("Patient", Everything()) == 0
    assert [version async for version in store.scan()] == []
    assert await store.read_many([("Patient", "a")]) == {}
    assert await store.commit([]) == []


async def test_versions_and_tombstones(store: Store) -> None:
    await store.commit([put("Patient", "a")])
    await store.commit([put("Patient", "a", 1)])
    (deleted,) = await store.commit([gone("Patient", "a", 2)])
    assert (deleted.version, deleted.method, deleted.body) == (3, "delete", None)
    assert await store.read("Patient", "a") == deleted
    assert await store.vread("Patient", "a", 3) == deleted
    assert await ids(store) == []
    assert await store.count("Patient", Everything()) == 0
    assert await store.read_many([("Patient", "a")]) == {}
    (again,) = await store.commit([put("Patient", "a", 3)])
    assert again.version == 4
    assert await store.read("Patient", "a") == again
    assert await ids(store) == ["a"]
    history = await store.history(Past(("Patient",), "a", 10))
    assert [(each.version, each.method) for each in history] == [
        (4, "update"),
        (3, "delete"),
        (2, "update"),
        (1, "create"),
    ]
    assert [each.version for each in await store.history(Past(("Patient",), "a", 2))] == [4, 3]
    assert [each.version for each in await store.history(Past(("Patient",), "a", 9, history[1].seq))] == [
        2,
        1,
    ]
    assert [each.seq for each in history] == sorted((each.seq for each in history), reverse=True)


@pytest.mark.parametrize("expect", [0, 2, 3, -1])
async def test_a_stale_expectation_loses(store: Store, expect: int) -> None:
    (first,) = await store.commit([put("Patient", "a")])
    with pytest.raises(RaceLost) as lost:
        await store.commit([put("Patient", "a", expect)])
    assert (lost.value.type, lost.value.id) == ("Patient", "a")
    assert await store.read("Patient", "a") == first
    assert await store.latest() == first.seq


async def test_all_or_nothing(store: Store) -> None:
    """What came before the lost race in the same commit leaves no trace, not even in a dictionary."""
    await store.commit([put("Patient", "a")])
    before = await store.latest()
    with pytest.raises(RaceLost):
        await store.commit(
            [
                put("Basic", "new", tokens=[("code", "s", "c")], references=[("subject", "Patient/x")]),
                put("Patient", "a"),
            ]
        )
    assert await store.read("Basic", "new") is None
    assert await store.latest() == before
    await store.commit(
        [put("Basic", "new", tokens=[("code", "s", "c")], references=[("subject", "Patient/x")])]
    )
    assert await ids(store, "Basic") == ["new"]
    made = await store.commit([put("Patient", "b"), put("Patient", "b", 1), put("Patient", "c")])
    assert [(each.id, each.version) for each in made] == [("b", 1), ("b", 2), ("c", 1)]
    assert await ids(store) == ["c", "b", "a"]


async def test_exactly_one_of_many_racers_wins(store: Store) -> None:
    """In one group commit: the losers harm neither the winner nor the bystanders."""
    racers = [store.commit([put("Patient", "a", body=str(n).encode())]) for n in range(40)]
    bystanders = [store.commit([put("Patient", f"by{n}", tokens=[("code", "s", str(n))])]) for n in range(20)]
    results = await asyncio.gather(*racers, *bystanders, return_exceptions=True)
    assert sum(isinstance(each, RaceLost) for each in results[:40]) == 39
    (winner,) = [each for each in results[:40] if not isinstance(each, BaseException)]
    assert await store.read("Patient", "a") == winner[0]
    assert all(isinstance(each, list) for each in results[40:])
    assert sorted(await ids(store)) == sorted(["a", *(f"by{n}" for n in range(20))])


async def test_a_cancelled_caller_harms_nobody(store: Store) -> None:
    tasks = [asyncio.ensure_future(store.commit([put("Patient", f"p{n}")])) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, list) for each in results[1::2])
    assert {f"p{n}" for n in range(1, 20, 2)} <= set(await ids(store))


async def test_read_many(store: Store) -> None:
    await store.commit([put("Patient", "a"), put("Patient", "b"), put("Basic", "a")])
    await store.commit([gone("Patient", "b", 1)])
    found = await store.read_many(
        [("Patient", "a"), ("Patient", "b"), ("Basic", "a"), ("Basic", "a"), ("X", "y")]
    )
    assert {key: version.type for key, version in found.items()} == {
        ("Patient", "a"): "Patient",
        ("Basic", "a"): "Basic",
    }


async def test_scan_gives_each_current_resource_once(store: Store) -> None:
    for start in range(0, 1200, 300):
        await store.commit([put("Patient" if n % 2 else "Basic", f"n{n}") for n in range(start, start + 300)])
    await store.commit([gone("Patient", "n1", 1), put("Basic", "n0", 1)])
    seen = [version async for version in store.scan()]
    assert sorted(each.id for each in seen) == sorted(f"n{n}" for n in range(1200) if n != 1)
    assert next(each for each in seen if each.id == "n0").version == 2
    assert {each.type async for each in store.scan("Basic")} == {"Basic"}
    assert len([each async for each in store.scan("Basic")]) == 600
    assert [each async for each in store.scan("Nothing")] == []


async def test_scan_while_others_write(store: Store) -> None:
    await store.commit([put("Patient", f"n{n}") for n in range(1100)])
    seen = []
    async for version in store.scan("Patient"):
        seen.append(version.id)
        if len(seen) == 10:
            await store.commit(
                [put("Patient", "n0", 1), put("Patient", "n1099", 1), gone("Patient", "n1050", 1)]
            )
    assert len(seen) == len(set(seen))
    assert {f"n{n}" for n in range(1100)} - set(seen) <= {"n1050"}


async def test_records(store: Store) -> None:
    assert await store.put_record("k", "b", {"n": 1, "t": "é"})
    assert await store.put_record("k", "a", {"n": 2})
    assert await store.put_record("other", "a", {"n": 3})
    assert await store.get_record("k", "b") == {"n": 1, "t": "é"}
    assert not await store.put_record("k", "b", {"n": 9}, only_if_absent=True)
    assert await store.put_record("k", "b", {"n": 4})
    assert await store.list_records("k") == [("a", {"n": 2}), ("b", {"n": 4})]
    assert await store.delete_record("k", "b")
    assert not await store.delete_record("k", "b")
    assert await store.get_record("k", "b") is None
    assert await store.get_record("none", "b") is None
    assert await store.list_records("none") == []


async def test_an_expired_record_is_absent(store: Store) -> None:
    await store.put_record("k", "old", {"n": 1}, expires=1)
    await store.put_record("k", "new", {"n": 2}, expires=2**62)
    assert await store.get_record("k", "old") is None
    assert await store.take_record("k", "old") is None
    assert await store.list_records("k") == [("new", {"n": 2})]
    await store.put_record("k", "gone", {"n": 1}, expires=1)
    assert not await store.delete_record("k", "gone")
    await store.put_record("k", "again", {"n": 1}, expires=1)
    assert await store.put_record("k", "again", {"n": 3}, only_if_absent=True)
    assert await store.get_record("k", "again") == {"n": 3}


async def test_exactly_one_takes_a_record(store: Store) -> None:
    await store.put_record("code", "x", {"n": 1})
    taken = await asyncio.gather(*(store.take_record("code", "x") for _ in range(50)))
    assert [each for each in taken if each is not None] == [{"n": 1}]
    made = await asyncio.gather(
        *(store.put_record("code", "y", {"n": n}, only_if_absent=True) for n in range(50))
    )
    assert sum(made) == 1


async def test_numbers_are_never_the_same_twice(store: Store) -> None:
    numbers = await asyncio.gather(*(store.next_number("TD-2024") for _ in range(100)))
    assert sorted(numbers) == list(range(1, 101))
    assert await store.next_number("TD-2025") == 1


async def test_everything_is_there_after_reopening(store: Store, settings: Settings) -> None:
    await store.commit([put("Patient", "a", tokens=[("code", "s", "c")])])
    await store.put_record("k", "a", {"n": 1})
    await store.next_number("x")
    await store.close()
    again = open_store(settings)
    await again.open()
    assert (await again.read("Patient", "a")) is not None
    assert await again.get_record("k", "a") == {"n": 1}
    assert await again.next_number("x") == 2
    await again.close()


async def test_a_closed_store_says_so(settings: Settings) -> None:
    closed = open_store(settings)
    for call in (
        closed.read("Patient", "a"),
        closed.commit([put("Patient", "a")]),
        closed.count("X", Everything()),
    ):
        with pytest.raises(Unavailable, match="not open"):
            await call
    await closed.close()


@pytest.mark.parametrize("spoil", ["version", "foreign", "no database"])
async def test_a_foreign_or_other_schema_is_refused(tmp_path: Path, spoil: str) -> None:
    import sqlite3

    path = tmp_path / "store.db"
    settings = Settings(store=f"sqlite:///{path}")
    if spoil == "no database":
        path.write_bytes(b"no database at all" * 100)
    else:
        if spoil == "version":
            made = open_store(settings)
            await made.open()
            await made.close()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=99" if spoil == "version" else "CREATE TABLE x(y)")
        connection.close()
    with pytest.raises(
        SchemaMismatch, match={"version": "schema 99, this program needs schema 4"}.get(spoil, "schema 4")
    ):
        await open_store(settings).open()


async def test_history_of_types_and_of_everything(store: Store) -> None:
    """By type, since a moment, and what was current during an interval, in pages."""
    await store.commit([put("Patient", "a", at=AT), put("Organization", "o", at=AT)])
    await store.commit([put("Patient", "b", at=AT + 10)])
    await store.commit([put("Patient", "a", 1, at=AT + 20)])
    await store.commit([gone("Patient", "b", 1)])

    async def asked(**parts: Any) -> list[tuple[str, int]]:
        return [(each.id, each.version) for each in await store.history(Past(**parts))]

    everything = [("b", 2), ("a", 2), ("b", 1), ("o", 1), ("a", 1)]
    assert await asked() == everything
    assert await asked(types=("Patient",)) == [one for one in everything if one[0] != "o"]
    assert await asked(types=("Organization",)) == [("o", 1)]
    assert await asked(types=("Organization", "Patient")) == everything
    assert await asked(types=("Task",)) == []
    assert await asked(since=AT + 20) == [("a", 2)]
    assert await asked(types=("Patient",), since=AT + 10) == [("a", 2), ("b", 1)]
    assert await asked(types=("Patient",), id="a", since=AT + 1) == [("a", 2)]
    assert await asked(types=("Patient",), id="a", during=(AT + 5, AT + 6)) == [("a", 1)]
    assert await asked(types=("Patient",), id="a", during=(AT + 15, AT + 21)) == [("a", 2), ("a", 1)]
    assert await asked(types=("Patient",), id="a", during=(AT - 5, AT)) == []
    newest, second, *_ = await store.history(Past(count=2))
    assert [one.id for one in (newest, second)] == ["b", "a"]
    assert await asked(before=second.seq, count=2) == [("b", 1), ("o", 1)]


async def test_a_commit_rests_on_what_does_not_match(store: Store) -> None:
    """Unless is judged when the commit is written: of twelve that rest on the same, one is."""
    named = Token("identifier", (("urn:x", "1"),))

    def making(n: int) -> Any:
        return put("Patient", f"p{n}", tokens=[("identifier", "urn:x", "1")])

    done = await asyncio.gather(
        *(store.commit([making(n)], [Unless("Patient", named)]) for n in range(12)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in done) == ["RaceLost"] * 11 + ["list"]
    (there,) = await ids(store)
    with pytest.raises(RaceLost):
        await store.commit([put("Organization", "o")], [Unless("Patient", named)])
    assert await store.read("Organization", "o") is None
    other = And((named, Not(Ids((there,)))))
    await store.commit([put("Organization", "o")], [Unless("Patient", other), Unless("Group", Everything())])
    await store.commit([gone("Patient", there, 1)])
    await store.commit([making(20)], [Unless("Patient", named)])
    assert await ids(store) == ["p20"]


async def test_the_tokens_in_use(store: Store) -> None:
    """Of current versions alone, each once."""
    await store.commit(
        [
            put("Patient", "a", tokens=[("_tag", "urn:x", "1"), ("_tag", "", "2"), ("other", "urn:x", "9")]),
            put("Patient", "b", tokens=[("_tag", "urn:x", "1")]),
            put("Organization", "o", tokens=[("_tag", "urn:x", "3")]),
        ]
    )
    assert await store.tokens("Patient", "_tag") == [("", "2"), ("urn:x", "1")]
    assert await store.tokens("", "_tag") == [("", "2"), ("urn:x", "1"), ("urn:x", "3")]
    await store.commit([gone("Organization", "o", 1), put("Patient", "a", 1)])
    assert await store.tokens("", "_tag") == [("urn:x", "1")]
    assert await store.tokens("Group", "_tag") == []


async def test_texts_of_commits_that_come_together(store: Store) -> None:
    """Each is found, whatever its neighbours do; a condition on texts sees those that came before it."""
    told = Text("_content", "moelle")

    async def one(n: int) -> object:
        if n % 3 == 0:  # fails after the condition was asked
            return await store.commit([put("Patient", f"t{n}", 7)], [Unless("Group", told)])
        return await store.commit([put("Patient", f"t{n}", texts=[("_content", "os moelle")])])

    done = await asyncio.gather(*(one(n) for n in range(12)), return_exceptions=True)
    assert [isinstance(each, RaceLost) for each in done] == [n % 3 == 0 for n in range(12)]
    found = {row.version.id for row in await store.search(Select("Patient", told, count=20))}
    assert found == {f"t{n}" for n in range(12) if n % 3}

    unless = [Unless("Organization", told)]
    texts = [("_content", "moelle")]
    racing = (store.commit([put("Organization", f"o{n}", texts=texts)], unless) for n in range(8))
    done = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(each, RaceLost) for each in done) == 7
