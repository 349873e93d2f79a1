"""Simpler, and the same."""

import pytest
from hypothesis import given

from fhir_server.search import evaluate
from fhir_server.search.nodes import (
    And,
    Chain,
    Date,
    Everything,
    Has,
    Ids,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Reference,
    String,
    Token,
)
from fhir_server.search.rewrite import simplified
from fhir_server.store.contract import Entries
from tests.store.test_property import ENTRIES, TREES

A, B, C = Ids(("a",)), Ids(("b",)), Ids(("c",))
ALL, NONE = Everything(), Nothing()


@pytest.mark.parametrize(
    ("node", "simpler"),
    [
        (A, A),
        (And(()), ALL),
        (Or(()), NONE),
        (And((A,)), A),
        (Or((A,)), A),
        (And((A, ALL)), A),
        (And((A, NONE)), NONE),
        (Or((A, NONE)), A),
        (Or((A, ALL)), ALL),
        (And((A, And((B, And((C, ALL)))))), And((A, B, C))),
        (Or((Or((A, B)), Or((C,)))), Or((A, B, C))),
        (And((Or((A, B)), C)), And((Or((A, B)), C))),
        (And((A, B, A)), And((A, B))),
        (Not(ALL), NONE),
        (Not(NONE), ALL),
        (Not(Not(A)), A),
        (Not(Not(Not(A))), Not(A)),
        (Not(And((A, NONE))), ALL),
        (Chain("p", "T", And((A, ALL))), Chain("p", "T", A)),
        (Chain("p", "T", And((A, NONE))), NONE),
        (Has("T", "p", Or((NONE, A))), Has("T", "p", A)),
        (Has("T", "p", NONE), NONE),
        (Chain("p", "T", ALL), Chain("p", "T", ALL)),
        (Ids(()), NONE),
        (Token("p", ()), NONE),
        (Reference("p", ()), NONE),
        (Date("p", ()), NONE),
        (Number("p", ()), NONE),
        (String("p", "exact", ()), NONE),
    ],
    ids=str,
)
def test_simplified(node: Node, simpler: Node) -> None:
    assert simplified(node) == simpler


@given(TREES, ENTRIES, ENTRIES, ENTRIES)
def test_simplified_matches_the_same(node: Node, first: Entries, second: Entries, third: Entries) -> None:
    places = (("Patient", "a", first), ("Patient", "b", second), ("Observation", "a", third))
    world = evaluate.Memory({f"{type}/{id}": evaluate.View(type, id, each) for type, id, each in places})
    simpler = simplified(node)
    assert simplified(simpler) == simpler
    for view in world.views.values():
        assert evaluate.matches(simpler, view, world) == evaluate.matches(node, view, world)
