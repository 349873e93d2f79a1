"""What a `_filter` means: its tests as nodes, by the binder's own names, targets and access.

FHIR R4 search_filter.html#ops
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_server.search import filters, values
from fhir_server.search.filters import Filter, Joined, Misplaced, Opposite, Segment, Test, at
from fhir_server.search.nodes import (
    And,
    Bounds,
    Chain,
    Composite,
    Date,
    Differs,
    Node,
    Not,
    Number,
    Or,
    Part,
    Reference,
    String,
    Token,
)
from fhir_server.search.parse import MOST_CHAINS, MOST_WAYS, HasStep, Leaf, escaped
from fhir_server.search.parse import parse as step_of
from profiles.definitions import SearchParameter, search_parameter
from profiles.folding import fold
from profiles.outcomes import Invalid

if TYPE_CHECKING:
    from fhir_server.search.bind import Binder

_ORDERED = ("eq", "ne", "co", "gt", "lt", "ge", "le", "ap", "sa", "eb")
OFFERED: Mapping[str, tuple[str, ...]] = {
    "string": ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "pr"),
    "number": (*_ORDERED, "pr"),
    "date": (*_ORDERED, "pr", "po"),
    "quantity": tuple(each for each in (*_ORDERED, "pr") if each != "co"),
    "token": ("eq", "ne", "pr", "ss", "sb", "in", "ni"),
    "uri": ("eq", "ne", "sw", "pr", "ss", "sb"),
    "reference": ("eq", "ne", "re", "pr"),
    "composite": ("eq", "ne"),
    "special": ("eq",),
}
SYSTEMS: Mapping[str, str] = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}
_MODIFIER: Mapping[str, str] = {"ss": "below", "sb": "above", "in": "in", "ni": "not-in"}
_HOW: Mapping[str, tuple[str, ...]] = {
    "eq": ("equals",),
    "co": ("contains",),
    "sw": ("starts",),
    "ew": ("ends",),
    "gt": ("after",),
    "lt": ("before",),
    "ge": ("equals", "after"),
    "le": ("equals", "before"),
}


def filtered(binder: Binder, type: str, text: str) -> Node:
    """The node of a whole `_filter` on a type. Raises Invalid naming the character."""
    return _Filtered(binder).node(type, filters.parse(text))


class _Filtered:
    def __init__(self, binder: Binder) -> None:
        self.binder = binder
        self.ways = 0

    def node(self, type: str, filter: Filter) -> Node:
        match filter:
            case Joined(word, parts):
                nodes = tuple(self.node(type, part) for part in parts)
                return And(nodes) if word == "and" else Or(nodes)
            case Opposite(inner):
                return Not(self.node(type, inner))
            case Test():
                return self._path(type, filter.path, filter)

    def _path(self, type: str, path: Sequence[Segment], test: Test) -> Node:
        first, *rest = path
        with at(first.at):
            if first.name.startswith("_has:"):
                return self._has(type, first, rest, test)
            name, _, wanted = first.name.partition(":")
            parameter = self.binder.parameter(type, self._known(type, name))
        if not rest:
            with at(test.at):
                if wanted:
                    raise Invalid(
                        "bad-filter", "a type in a name is for the references on the way, not the end"
                    )
                return self._test(type, parameter, test)
        if parameter.type == "composite":
            with at(first.at):
                return self._composite(parameter, first, rest, test)
        return self._chain(type, parameter, path, test)

    def _known(self, type: str, name: str) -> str:
        """`id` is another word for `_id`, as in the standard's examples."""
        return "_id" if name == "id" and "id" not in self.binder.definitions(type) else name

    def _has(self, type: str, first: Segment, rest: Sequence[Segment], test: Test) -> Node:
        step = step_of(first.name, "x")
        if not isinstance(step, HasStep):
            raise Invalid("bad-filter", "the form is _has:[type]:[reference]:[parameter]")
        last = first.name.split(":", 3)[3]
        further = (replace(first, name=last), *rest)
        return self.binder.has(type, step, lambda source: self._path(source, further, test))

    def _chain(self, type: str, parameter: SearchParameter, path: Sequence[Segment], test: Test) -> Node:
        """Both the brackets and the rest hold for one and the same target, which the reader may see."""
        first, *rest = path
        wanted = first.name.partition(":")[2]
        with at(first.at):
            targets = self.binder.targets_of(type, parameter, wanted)
        nodes: list[Node] = []
        refused: Invalid | None = None
        for target in targets:
            try:
                inner = self._path(target, rest, test)
                if first.within is not None:
                    inner = And((self.node(target, first.within), inner))
            except Misplaced as error:
                refused = refused or error
                continue
            nodes.append(Chain(parameter.code, target, self.binder.access.restrict(target, inner)))
        self.ways += len(nodes)
        if not nodes:
            assert refused is not None
            raise refused
        if len(nodes) > MOST_CHAINS or self.ways > MOST_WAYS:
            with at(first.at):
                raise Invalid(
                    "ambiguous-chain",
                    f"{type}.{parameter.code} may refer to many types: say which, with :Type",
                )
        return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))

    def _composite(
        self, parameter: SearchParameter, first: Segment, rest: Sequence[Segment], test: Test
    ) -> Node:
        """`composite[component op value and …].component op value`: all of one and the same element."""
        tests = [replace(test, path=tuple(rest))]
        within = first.within
        found = within.parts if isinstance(within, Joined) and within.word == "and" else (within,)
        tests += [each for each in found if isinstance(each, Test)]
        if len(tests) != 1 + sum(each is not None for each in found) or any(len(t.path) > 1 for t in tests):
            raise Invalid(
                "bad-filter",
                f"in the brackets of {parameter.code} stand tests of its components, joined by and",
            )
        components = [search_parameter(url) for url, _ in parameter.components]
        parts: list[Part] = []
        for component in components:
            assert component is not None
            mine = [each for each in tests if self._means(each.path[0].name, component, components)]
            if len(mine) != 1:
                codes = ", ".join(each.code for each in components if each is not None)
                raise Invalid(
                    "bad-filter", f"{parameter.code} takes one test for each of its components: {codes}"
                )
            parts.append(self._part(component, mine[0]))
        if len(tests) != len(parts):
            raise Invalid("bad-filter", f"{parameter.code} has {len(parts)} components, not {len(tests)}")
        return Composite(parameter.code, tuple(parts))

    @staticmethod
    def _means(name: str, component: SearchParameter, all: Sequence[SearchParameter | None]) -> bool:
        """By its code, or by the last words of it when no other component ends so."""
        codes = [each.code for each in all if each is not None]
        ending = [code for code in codes if code.endswith(f"-{name}")]
        return component.code == name or (name not in codes and ending == [component.code])

    def _part(self, component: SearchParameter, test: Test) -> Part:
        with at(test.at):
            node = self._test("", component, test)
            if not isinstance(node, Token | Reference | Date | Number | String):
                raise Invalid("bad-filter", f"'{test.operator}' cannot be asked of a component")
            return node

    def _test(self, type: str, parameter: SearchParameter, test: Test) -> Node:
        operator, value, code = test.operator, test.value, parameter.code
        valid = ("eq", "ne") if code == "_id" else OFFERED[parameter.type]
        if operator not in valid:
            raise Invalid(
                "bad-filter", f"{code} ({parameter.type}) has no '{operator}'; it takes {', '.join(valid)}"
            )
        if operator == "pr":
            if value not in ("true", "false"):
                raise Invalid("bad-filter", "'pr' takes true (it is present) or false")
            return self._leaf(type, code, "missing", "false" if value == "true" else "true")
        if operator in _MODIFIER:
            return self._leaf(type, code, _MODIFIER[operator], self._system(value))
        match parameter.type:
            case "string":
                return self._string(code, operator, value)
            case "date" | "number" | "quantity":
                return self._ordered(parameter, operator, value)
            case "uri" if operator == "sw":
                return values.uri_starting(code, value)
            case "token" if code != "_id":
                node: Node = _any_case(values.token(code, (self._system(value),)))
            case "uri":
                node = values.uri(code, "", (escaped(value),))
            case _:
                node = self.binder.leaf(parameter, value)
        if operator != "ne":
            return node
        return Differs(_unlike(node)) if isinstance(node, Token | Reference) else Not(node)

    def _leaf(self, type: str, code: str, modifier: str, value: str) -> Node:
        return self.binder.bind_leaf(type, Leaf(code, modifier, (value,)))

    def _string(self, code: str, operator: str, value: str) -> Node:
        folded = fold(value)
        if operator == "ne":
            return Differs(String(code, "equals", (folded,)))
        nodes = tuple(String(code, how, (folded,)) for how in _HOW[operator])  # type: ignore[arg-type]
        return nodes[0] if len(nodes) == 1 else Or(nodes)

    def _ordered(self, parameter: SearchParameter, operator: str, value: str) -> Node:
        """As the prefixes; `po` overlaps, `co` of a date is a stored period around the value."""
        if value[:2].isalpha():
            raise Invalid("bad-filter", f"'{parameter.code}' takes its prefix as the operator")
        if parameter.type == "date" and operator in ("po", "co"):
            start, end = values.moment(parameter.code, value, self.binder.zone)
            around = Bounds(start_before=start + 1, end_after=end - 1)
            return Date(
                parameter.code, (around if operator == "co" else Bounds(start_before=end, end_after=start),)
            )
        prefix = "eq" if operator == "co" else operator
        if parameter.type == "quantity":
            value = value.replace("|ucum|", f"|{SYSTEMS['ucum']}|")
        return self.binder.leaf(parameter, prefix + value)

    @staticmethod
    def _system(value: str) -> str:
        system, bar, code = value.partition("|")
        return f"{SYSTEMS.get(system, system)}{bar}{code}" if bar else value


def _any_case(token: Token) -> Token:
    """A filter's codes are not case sensitive: as written, all small, all capitals."""
    found = {
        (system, form): None
        for system, code in token.values
        for form in ((code,) if code is None else (code, code.lower(), code.upper()))
    }
    return Token(token.param, tuple(found))


def _unlike(node: Token | Reference) -> Token | Reference:
    """A code with a system has a second entry without, which must not count as another value."""
    if isinstance(node, Reference):
        return node
    bare = tuple(("", code) for system, code in node.values if system and code is not None)
    return Token(node.param, (*node.values, *bare))
