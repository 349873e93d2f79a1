"""`reindex`: the entries of what is stored change without a new version."""

from __future__ import annotations

from typing import Any

from fhir_server.search.nodes import (
    Bounds,
    Composite,
    Date,
    Everything,
    Missing,
    Near,
    Node,
    Number,
    Reference,
    Select,
    Sort,
    String,
    Text,
    Token,
)
from fhir_server.store.contract import Indexed, Store
from tests.store.making import entries, gone, put

OLD: dict[str, Any] = {
    "tokens": [("code", "s", "old"), ("flag", "", "a"), ("flag:of-type", "t", "m|1")],
    "references": [("subject", "Patient/1")],
    "dates": [("date", 10, 20)],
    "strings": [("name", "zoe", "Zoé"), ("flag:text", "a", "A")],
    "numbers": [("value", 1.0, 1.0, "", "mg")],
    "composites": [("pair", (("token", "s", "old"), ("number", 1.0, 1.0, "", "mg")))],
    "positions": [("near", 43.0, 1.0)],
    "texts": [("_text", "douleur"), ("_content", "douleur thoracique")],
}
NEW: dict[str, Any] = {
    **OLD,
    "tokens": [("code", "s", "new"), ("flag", "", "b")],
    "references": [("subject", "Patient/2")],
    "dates": [("date", 30, 40), ("date", 50, 60)],
    "strings": [("name", "lea", "Léa")],
    "numbers": [("value", 2.0, 2.0, "", "mg"), ("value", 3.0, 3.0, "", "g")],
    "composites": [("pair", (("token", "s", "new"), ("number", 2.0, 2.0, "", "mg")))],
    "positions": [("near", 48.0, 2.0)],
}
MG = ("", "mg")


def of(old: bool) -> dict[str, Node]:
    """By name, a condition that the old entries fulfil, or the new."""
    code, value = ("old", 1.0) if old else ("new", 2.0)
    exactly = (Bounds(start_from=value, end_until=value),)
    return {
        "code": Token("code", (("s", code),)),
        "flag": Token("flag", (("", "a" if old else "b"),)),
        "subject": Reference("subject", ("Patient/1" if old else "Patient/2",)),
        "date": Date(
            "date", (Bounds(start_from=10, end_until=20) if old else Bounds(start_from=50, end_until=60),)
        ),
        "name": String("name", "exact", ("Zoé" if old else "Léa",)),
        "value": Number("value", exactly, MG),
        "pair": Composite("pair", (Token("", (("s", code),)), Number("", exactly, MG))),
        "near": Near("near", *((43.0, 1.0) if old else (48.0, 2.0)), 10.0),
    }


async def found(store: Store, where: Node) -> list[str]:
    return [row.version.id for row in await store.search(Select("Observation", where))]


async def told(store: Store) -> dict[str, str]:
    """By name: which of its entries `a` is found by."""
    found_by = {}
    for name, old in of(True).items():
        hits = [
            which
            for which, where in (("old", old), ("new", of(False)[name]))
            if await found(store, where) == ["a"]
        ]
        found_by[name] = "+".join(hits)
    return found_by


async def test_all_entries(store: Store) -> None:
    (made,) = await store.commit([put("Observation", "a", **OLD)])
    await store.commit([put("Observation", "b", tokens=[("other", "", "x")])])
    assert set((await told(store)).values()) == {"old"}
    assert await store.reindex([Indexed("Observation", "a", 1, entries(**NEW))]) == 1
    assert set((await told(store)).values()) == {"new"}
    assert await found(store, Text("_content", "thoracique", False)) == ["a"]
    assert await found(store, Token("flag:of-type", ((None, None),))) == []
    assert await store.read("Observation", "a") == made
    assert await store.latest() == made.seq + 1
    assert await store.count("Observation", Everything()) == 2
    ordered = Select("Observation", Everything(), (Sort("code", "token"),))
    assert [row.version.id for row in await store.search(ordered)] == ["a", "b"]


async def test_the_entries_of_some_names(store: Store) -> None:
    await store.commit([put("Observation", "a", **OLD)])
    changed = {
        **OLD,
        "tokens": [("code", "s", "old"), ("flag", "", "b"), ("flag:identifier", "", "9")],
        "strings": [("name", "zoe", "Zoé")],
    }
    assert await store.reindex([Indexed("Observation", "a", 1, entries(**changed), frozenset({"flag"}))]) == 1
    assert await told(store) == {**dict.fromkeys(of(True), "old"), "flag": "new"}
    assert await found(store, Token("flag:identifier", (("", "9"),))) == ["a"]
    assert await found(store, Token("flag:of-type", (("t", "m|1"),))) == []
    assert await found(store, Missing("flag:text", "string")) == ["a"]


async def test_a_name_that_was_never_there(store: Store) -> None:
    await store.commit([put("Observation", "a", **OLD)])
    more = {**OLD, "tokens": [*OLD["tokens"], ("own", "s", "x")]}
    assert await store.reindex([Indexed("Observation", "a", 1, entries(**more), frozenset({"own"}))]) == 1
    assert await found(store, Token("own", (("s", "x"),))) == ["a"]
    assert set((await told(store)).values()) == {"old"}
    assert await store.reindex([Indexed("Observation", "a", 1, entries(**OLD), frozenset({"own"}))]) == 1
    assert await found(store, Token("own", (("s", "x"),))) == []


async def test_what_is_not_current_is_passed_over(store: Store) -> None:
    await store.commit([put("Observation", "a", **OLD), put("Observation", "b", **OLD)])
    await store.commit([put("Observation", "a", 1, **OLD), gone("Observation", "b", 1)])
    items = [Indexed("Observation", id, 1, entries(**NEW)) for id in ("a", "b", "c")]
    assert await store.reindex([*items, Indexed("Observation", "b", 2, entries(**NEW))]) == 0
    assert set((await told(store)).values()) == {"old"}
    assert await found(store, Everything()) == ["a"]
    assert await store.reindex([]) == 0


async def test_a_later_write_brings_its_own(store: Store) -> None:
    await store.commit([put("Observation", "a", **OLD)])
    await store.reindex([Indexed("Observation", "a", 1, entries(**NEW))])
    await store.commit([put("Observation", "a", 1, **{**OLD, "texts": []})])
    assert set((await told(store)).values()) == {"old"}
