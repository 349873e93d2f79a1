"""The same tree, simpler: flat And and Or, no Everything or Nothing left inside, no double negation, no
repetition."""

from __future__ import annotations

from typing import assert_never

from fhir_server.search.nodes import (
    And,
    Below,
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
    String,
    Text,
    Token,
)


def simplified(node: Node) -> Node:
    """Matches exactly what `node` matches."""
    match node:
        case And(nodes):
            return _junction(And, nodes, Everything(), Nothing())
        case Or(nodes):
            return _junction(Or, nodes, Nothing(), Everything())
        case Not(inner):
            return _negated(simplified(inner))
        case Chain(param, type, where):
            inside = simplified(where)
            return inside if isinstance(inside, Nothing) else Chain(param, type, inside)
        case Has(type, param, where):
            inside = simplified(where)
            return inside if isinstance(inside, Nothing) else Has(type, param, inside)
        case Ids(()) | Token(_, ()) | Reference(_, ()) | Date(_, ()) | Number(_, ()) | String(_, _, ()):
            return Nothing()
        case (
            Everything()
            | Nothing()
            | Ids()
            | Token()
            | Below()
            | Reference()
            | Date()
            | Number()
            | String()
            | Differs()
            | Composite()
            | Near()
            | Text()
            | Missing()
        ):
            return node
        case _:
            assert_never(node)


def _junction(kind: type[And] | type[Or], nodes: tuple[Node, ...], neutral: Node, absorbing: Node) -> Node:
    kept: dict[Node, None] = {}
    for each in map(simplified, nodes):
        for part in each.nodes if isinstance(each, kind) else (each,):
            if part == absorbing:
                return absorbing
            if part != neutral:
                kept[part] = None
    if not kept:
        return neutral
    return next(iter(kept)) if len(kept) == 1 else kind(tuple(kept))


def _negated(node: Node) -> Node:
    match node:
        case Everything():
            return Nothing()
        case Nothing():
            return Everything()
        case Not(inner):
            return inner
        case _:
            return Not(node)
