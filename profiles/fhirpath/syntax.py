"""The syntax tree of a FHIRPath expression: frozen, comparable, without meaning. FHIRPath N1 §11 (grammar)"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `type` is a System type's name, "Null" for `{}`. A Date, DateTime or Time keeps its text."""

    type: Literal["Null", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"]
    value: bool | str | int | Decimal | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class External:
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index`, `$total`; `name` without the dollar."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`of.name`; `of` None at the head of a path, where the name may be that of the context's type."""

    of: Expression | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`of.name(arguments)`; `of` None when called on the context."""

    of: Expression | None
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """`of[index]`."""

    of: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Sign:
    """`+of` or `-of`."""

    operator: str
    of: Expression


@dataclass(frozen=True, slots=True)
class Operation:
    """`left operator right`, all binary operators but `is` and `as`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`of is type` or `of as type`; `type` as written, perhaps with its namespace: "FHIR.Patient"."""

    operator: Literal["is", "as"]
    of: Expression
    type: str


def parts(tree: Expression) -> tuple[Expression, ...]:
    """The trees that a tree is made of."""
    match tree:
        case Member(of, _):
            return () if of is None else (of,)
        case Call(of, _, arguments):
            return arguments if of is None else (of, *arguments)
        case Item(of, other) | Operation(_, of, other):
            return (of, other)
        case Sign(_, of) | TypeTest(_, of, _):
            return (of,)
        case Constant() | External() | Special():
            return ()


Expression = Constant | External | Special | Member | Call | Item | Sign | Operation | TypeTest
