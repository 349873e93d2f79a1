"""Steps → nodes: every name, modifier and value is given its meaning here, or refused by name.

A reader's Access goes along: each hop of a chain or `_has` is narrowed to what this reader may see of the
type it leads to, before anything is limited or counted.

FHIR R4 search.html#modifiers, #chaining, #has
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from fhir_server.access import Access
from fhir_server.search import composites, concepts, hierarchies, values, words
from fhir_server.search.entries import KIND_OF
from fhir_server.search.filtered import filtered
from fhir_server.search.nodes import (
    And,
    Chain,
    Everything,
    Has,
    Ids,
    Missing,
    Node,
    Not,
    Nothing,
    Or,
    Reference,
    Sort,
    Token,
)
from fhir_server.search.parse import MOST_CHAINS, MOST_WAYS, ChainStep, HasStep, Leaf, Step, parse, unescaped
from profiles.codes import CodeChecker
from profiles.definitions import SearchParameter, resource_types, search_parameters
from profiles.outcomes import Invalid

Definitions = Callable[[str], Mapping[str, SearchParameter]]

MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("missing", "not", "text", "of-type", *concepts.MODIFIERS),
    "uri": ("missing", "above", "below"),
    "reference": ("missing", "identifier", "above", "below", "[type]"),
    "date": ("missing",),
    "string": ("missing", "exact", "contains"),
    "number": ("missing",),
    "quantity": ("missing",),
    "composite": (),
    "special": (),
}
SPECIAL = frozenset({"near", "_text", "_content", "_filter"})  # of type special, those that are offered


class Unknown(Invalid):
    """A parameter that is not one of the type's: what `Prefer: handling=lenient` forgives."""


def offered(parameter: SearchParameter) -> bool:
    """Whether a search by it is answered."""
    if parameter.type == "special":
        return parameter.code in SPECIAL
    return parameter.type in KIND_OF or parameter.type == "composite"


def _none_pending(_type: str) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class Binder:
    """What binding needs to know. `now` is UTC microseconds; `fhir_base` has no final slash; `codes` is the
    terminology that value sets and code hierarchies are asked of; `pending` gives a type's parameters by
    which not all that is stored is indexed yet."""

    access: Access
    fhir_base: str
    zone: tzinfo
    now: int
    definitions: Definitions = search_parameters
    codes: CodeChecker | None = None
    pending: Callable[[str], frozenset[str]] = _none_pending

    def bind(self, type: str, name: str, value: str) -> Node:
        """One parameter of a search on `type`. Raises Unknown, Invalid."""
        return self._step(type, parse(name, value), MOST_WAYS)

    def parameter(self, type: str, code: str) -> SearchParameter:
        """Raises Unknown, naming what there is."""
        found = self.definitions(type).get(code)
        if found is None and code in self.pending(type):
            told = f"{type}: '{code}' is being indexed; it can be searched by when that is done"
            raise Unknown("parameter-not-ready", told)
        if found is None or not offered(found):
            raise Unknown("unknown-parameter", self._unknown(type, code, found is not None))
        return found

    def sort(self, type: str, text: str) -> tuple[Sort, ...]:
        """The value of `_sort`: codes, a minus for descending. FHIR R4 search.html#sort"""
        keys = []
        for part in text.split(","):
            code = part.strip().removeprefix("-")
            parameter = self.parameter(type, code)
            if parameter.type not in KIND_OF:
                raise Invalid("bad-sort", f"'_sort': {type}.{code} ({parameter.type}) has no order")
            keys.append(Sort(code, KIND_OF[parameter.type], part.strip().startswith("-")))
        return tuple(keys)

    def _step(self, type: str, step: Step, ways: int) -> Node:
        """`ways` is how often this step may still fan out."""
        match step:
            case Leaf("_list"):
                return self._list(step)
            case Leaf("_filter", ""):
                return filtered(self, type, step.values[0])
            case Leaf():
                return self.bind_leaf(type, step)
            case ChainStep():
                return self._chain(type, step, ways)
            case HasStep():
                return self.has(type, step, lambda source: self._step(source, step.next, ways))

    def _list(self, leaf: Leaf) -> Node:
        """What a List that this reader may see has as an item. FHIR R4 search.html#list"""
        if leaf.modifier:
            raise Invalid("unknown-modifier", "'_list' takes no modifier")
        ids = tuple(unescaped(value).removeprefix("List/") for value in leaf.values)
        if any(id.startswith("$") for id in ids):
            raise Invalid(
                "no-functional-lists", "'_list' takes the id of a List; none like $current-… is kept"
            )
        return Has("List", "item", self.access.restrict("List", Ids(ids)))

    def bind_leaf(self, type: str, leaf: Leaf) -> Node:
        """A parameter with its modifier and values, without any hop. Raises Unknown, Invalid."""
        parameter = self.parameter(type, leaf.code)
        code, modifier = leaf.code, leaf.modifier
        self._check_modifier(type, parameter, modifier)
        if modifier == "missing":
            return self._missing(parameter, leaf.values)
        if code == "_id":
            ids = Ids(tuple(map(unescaped, leaf.values)))
            return Not(ids) if modifier == "not" else ids
        if parameter.type == "reference" and modifier in ("above", "below"):
            return self._hierarchy(type, parameter, modifier, leaf.values)
        return self._value(parameter, modifier, leaf.values)

    def leaf(self, parameter: SearchParameter, value: str) -> Node:
        """One value of a parameter, without any modifier; `_id` too."""
        if parameter.code == "_id":
            return Ids((unescaped(value),))
        return self._value(parameter, "", (value,))

    def _value(self, parameter: SearchParameter, modifier: str, written: Sequence[str]) -> Node:
        """What is written for a parameter, by the parameter's type."""
        code = parameter.code
        match parameter.type:
            case "token":
                return self._token(code, modifier, written)
            case "reference":
                if modifier == "identifier":
                    return values.token(f"{code}:identifier", written)
                types = (modifier,) if modifier else self._targets(parameter)
                return values.reference(code, types, _typed(modifier, written), self.fhir_base)
            case "date":
                return values.date(code, written, self.zone, self.now)
            case "string":
                return values.string(code, modifier, written)
            case "number":
                return values.number(code, written)
            case "quantity":
                return values.quantity(code, written)
            case "composite":
                return composites.asked(
                    parameter, written, lambda part, value: self._value(part, "", (value,))
                )
            case "special":
                if code == "near":
                    return values.near(code, written)
                nodes = tuple(words.asked(code, unescaped(value)) for value in written)
                return nodes[0] if len(nodes) == 1 else Or(nodes)
            case _:
                return values.uri(code, modifier, written)

    def _hierarchy(
        self, type: str, parameter: SearchParameter, modifier: str, written: Sequence[str]
    ) -> Node:
        def resolve(types: Sequence[str], values_: Sequence[str]) -> Reference:
            return values.reference(parameter.code, types, values_, self.fhir_base)

        targets = self._targets(parameter)
        return hierarchies.asked(type, parameter.code, modifier, written, targets, self.access, resolve)

    def _token(self, code: str, modifier: str, written: Sequence[str]) -> Node:
        if modifier in concepts.MODIFIERS:
            return concepts.asked(code, modifier, written, self.codes, self.fhir_base)
        if modifier == "text":
            return values.string(f"{code}:text", "", written)
        if modifier == "of-type":
            return values.of_type(code, written)
        node: Token = values.token(code, written)
        return Not(node) if modifier == "not" else node

    def _check_modifier(self, type: str, parameter: SearchParameter, modifier: str) -> None:
        valid = ("missing", "not") if parameter.code == "_id" else MODIFIERS[parameter.type]
        if parameter.code != "identifier":
            valid = tuple(each for each in valid if each != "of-type")
        if not modifier or modifier in valid:
            return
        if "[type]" in valid and modifier in self._targets(parameter):
            return
        names = [
            *(each for each in valid if each != "[type]"),
            *(self._targets(parameter)[:MOST_CHAINS] if "[type]" in valid else ()),
        ]
        told = f"it takes {', '.join(f':{each}' for each in names)}" if names else "it takes none"
        raise Invalid(
            "unknown-modifier",
            f"{type}.{parameter.code} ({parameter.type}) has no modifier ':{modifier}' here; {told}",
        )

    def _missing(self, parameter: SearchParameter, written: Sequence[str]) -> Node:
        """An element with only a text, or only an identifier, is not missing."""
        if list(written) not in (["true"], ["false"]):
            raise Invalid("bad-missing", f"'{parameter.code}:missing' takes true or false")
        if parameter.code == "_id":
            return Nothing() if written[0] == "true" else Everything()
        nodes: list[Node] = [Missing(parameter.code, KIND_OF[parameter.type])]
        if parameter.type in ("token", "reference"):
            nodes.append(Missing(f"{parameter.code}:text", "string"))
        if parameter.type == "reference":
            nodes.append(Missing(f"{parameter.code}:identifier", "token"))
        node = nodes[0] if len(nodes) == 1 else And(tuple(nodes))
        return node if written[0] == "true" else Not(node)

    def _chain(self, type: str, step: ChainStep, ways: int) -> Node:
        targets = self.targets_of(type, self.parameter(type, step.code), step.type)
        if step.type:
            return self._hop(step, step.type, ways)
        fitting = [target for target in targets if self._starts(target, step.next)]
        if not fitting:
            raise Unknown(
                "unknown-parameter",
                f"nothing that {type}.{step.code} refers to has the parameter '{_head(step.next)}'",
            )
        if len(fitting) > min(MOST_CHAINS, ways):
            raise Invalid(
                "ambiguous-chain",
                f"{type}.{step.code} may refer to many types: say which, "
                f"as {step.code}:Patient.{_head(step.next)}",
            )
        nodes = tuple(self._hop(step, target, ways // len(fitting)) for target in fitting)
        return nodes[0] if len(nodes) == 1 else Or(nodes)

    def targets_of(self, type: str, parameter: SearchParameter, wanted: str) -> tuple[str, ...]:
        """The types that a reference may lead to; `wanted` alone, when it is given and one of them."""
        if parameter.type != "reference":
            raise Invalid("bad-chain", f"{type}.{parameter.code} is no reference, so nothing can follow it")
        targets = self._targets(parameter)
        if wanted and wanted not in targets:
            raise Invalid(
                "bad-chain",
                f"{type}.{parameter.code} does not refer to '{wanted}', but to "
                f"{', '.join(targets[:MOST_CHAINS])}",
            )
        return (wanted,) if wanted else targets

    def _hop(self, step: ChainStep, target: str, ways: int) -> Chain:
        return Chain(step.code, target, self.access.restrict(target, self._step(target, step.next, ways)))

    def has(self, type: str, step: HasStep, inner: Callable[[str], Node]) -> Has:
        """`inner` gives what must hold for the resources that refer here."""
        if step.type not in resource_types():
            raise Invalid(
                "unknown-type", f"'{step.type}' is not a resource type{_meant(step.type, resource_types())}"
            )
        parameter = self.parameter(step.type, step.code)
        if parameter.type != "reference" or type not in self._targets(parameter):
            raise Invalid("bad-has", f"{step.type}.{step.code} does not refer to {type}")
        return Has(step.type, step.code, self.access.restrict(step.type, inner(step.type)))

    def _starts(self, type: str, step: Step) -> bool:
        """Whether `step` can begin on that type."""
        if isinstance(step, HasStep):
            found = self.definitions(step.type).get(step.code) if step.type in resource_types() else None
            return found is not None and found.type == "reference" and type in self._targets(found)
        if step.code == "_list":
            return True
        found = self.definitions(type).get(step.code)
        if found is None or not offered(found):
            return False
        return isinstance(step, Leaf) or found.type == "reference"

    @staticmethod
    def _targets(parameter: SearchParameter) -> tuple[str, ...]:
        return parameter.targets or tuple(sorted(resource_types()))

    def _unknown(self, type: str, code: str, defined: bool) -> str:
        valid = sorted(["_list", *(name for name, each in self.definitions(type).items() if offered(each))])
        why = "is not offered here" if defined else "is not a search parameter of this type"
        meant = "" if defined else _meant(code, valid)
        return f"{type}: '{code}' {why}{meant or '.'} Valid: {', '.join(valid)}"


def _typed(modifier: str, written: Sequence[str]) -> Sequence[str]:
    """With `:Type`, a value that names another type is a mistake."""
    for value in written if modifier else ():
        before, slash, _ = value.partition("/")
        if slash and ":" not in value and before != modifier:
            raise Invalid("bad-reference", f"the modifier says :{modifier}, the value another type")
    return written


def _head(step: Step) -> str:
    return f"_has:{step.type}" if isinstance(step, HasStep) else step.code


def _meant(word: str, valid: Sequence[str] | frozenset[str]) -> str:
    close = difflib.get_close_matches(word, valid, 1)
    return f"; did you mean '{close[0]}'?" if close else ""
