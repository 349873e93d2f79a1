"""FHIRPath Patch: a Parameters resource with the operations add, insert, delete, replace, move.

FHIR R4 fhirpatch.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from profiles import definitions
from profiles.fhirpath.compiler import compile
from profiles.fhirpath.nodes import Collection, Environment, Node, resource_node
from profiles.outcomes import Invalid, TeledossierError, Unprocessable
from profiles.patch.places import Marked, Place
from profiles.patch.values import Target, target, value_for
from profiles.validation import validate

Json = dict[str, Any]
MAX_OPERATIONS = 1000
_WORK = 2_000_000
"""Items that the functions of one patch's paths may visit, together; each path gets its share, and no less
than the least."""
MAX_VISITS = 10_000_000
"""Operations times elements of the resource: each path may walk through all of it. A few seconds."""
_LEAST = 2_000
_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "type": "valueCode",
        "path": "valueString",
        "name": "valueString",
        "index": "valueInteger",
        "source": "valueInteger",
        "destination": "valueInteger",
    }
)
_NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "add": ("name", "value"),
        "insert": ("index", "value"),
        "delete": (),
        "replace": ("value",),
        "move": ("source", "destination"),
    }
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `place` is its index in the patch, `value` the part that holds the value."""

    place: int
    type: str
    path: str
    name: str = ""
    value: Json | None = None
    index: int = 0
    source: int = 0
    destination: int = 0


@dataclass(frozen=True, slots=True)
class FhirPathPatch:
    """The operations in order."""

    operations: tuple[Operation, ...]

    def apply(self, document: Json) -> Json:
        """A patched copy. Raises Unprocessable at the first operation that fails."""
        work = _Work(Marked(document), max(_LEAST, _WORK // max(1, len(self.operations))))
        if work.marked.size * len(self.operations) > MAX_VISITS:
            _fail("so many operations on so large a resource take more work than is allowed; send fewer")
        for operation in self.operations:
            try:
                _DO[operation.type](work, operation)
            except TeledossierError as error:
                what = f"operation {operation.place} ({operation.type}): {error}"
                raise Unprocessable("patch-failed", what) from error
        return work.marked.result()


def of(resource: Json) -> FhirPathPatch:
    """From a Parameters resource. Raises Invalid for what is no patch."""
    issues = [issue for issue in validate(resource, "Parameters") if issue.severity in ("error", "fatal")]
    if issues:
        raise Invalid("bad-patch", issues[0].diagnostics, issues=issues)
    parameters = resource.get("parameter", [])
    if len(parameters) > MAX_OPERATIONS:
        raise Invalid("bad-patch", f"a patch has at most {MAX_OPERATIONS} operations")
    return FhirPathPatch(tuple(_operation(place, one) for place, one in enumerate(parameters)))


def _operation(place: int, parameter: Json) -> Operation:
    if parameter.get("name") != "operation":
        _malformed(place, "is not named operation")
    given: dict[str, Any] = {}
    for part in parameter.get("part", []):
        name = part.get("name", "")
        if name in given or (name != "value" and name not in _PARTS):
            _malformed(place, f"has the part {name[:64]!r} twice, or it is none of a patch's")
        given[name] = part if name == "value" else _plain(place, name, part)
    type = given.get("type", "")
    if type not in _NEEDS:
        _malformed(place, f"has no type out of {', '.join(_NEEDS)}")
    for name in ("path", *_NEEDS[type]):
        if name not in given:
            _malformed(place, f"is a {type} without {name}")
    return Operation(place, **given)


def _plain(place: int, name: str, part: Json) -> Any:
    wanted = str if _PARTS[name] != "valueInteger" else int
    for key, value in part.items():
        if key.startswith("value") and type(value) is wanted:
            return value
    return _malformed(place, f"has no {_PARTS[name]} as its {name}")


def _malformed(place: int, why: str) -> NoReturn:
    path = f"Parameters.parameter[{place}]"
    raise Invalid("bad-patch", f"{path} {why}", expression=path)


@dataclass(frozen=True, slots=True)
class _Work:
    """The resource as it is changed, and how much one path may cost."""

    marked: Marked
    cost: int

    def nodes(self, operation: Operation) -> Collection:
        """What the path leads to."""
        found = compile(operation.path)(resource_node(self.marked.root), Environment(cost_limit=self.cost))
        return list(found)

    def single(self, operation: Operation) -> Node:
        """The one element that the path leads to."""
        found = self.nodes(operation)
        if len(found) != 1:
            _fail(f"the path leads to {'nothing' if not found else 'several elements'}; expected one element")
        return found[0]

    def sequence(self, operation: Operation) -> tuple[Place, int, Target]:
        """A whole list: the place of its first item, its length, and what it is a list of."""
        places = [self.marked.find(node) for node in self.nodes(operation)]
        if not places:
            _fail("the path leads to nothing; expected a list (add makes one)")
        first = places[0]
        if first is None or not isinstance(tokens := first.tokens, list):
            _fail("the path does not lead to a list")
        if len(places) != len(tokens) or any(
            place is None or place.token is not token for place, token in zip(places, tokens, strict=True)
        ):
            _fail("the path does not lead to one whole list")
        return first, len(tokens), self.target_of(first)

    def target_of(self, place: Place) -> Target:
        """The element at a place."""
        found = target(self.marked.type_of(place.owner), place.name)
        if found is None:
            _fail("the path leads to no element of FHIR R4")
        return found


def _add(work: _Work, operation: Operation) -> None:
    node = work.single(operation)
    work.marked.find(node)
    value, type, sibling = node
    owner = value if isinstance(value, dict) else sibling
    assert owner is not None  # find has seen the token
    at = target(type if isinstance(value, dict) else "Element", operation.name)
    if at is None:
        _fail(f"{type} has no element {operation.name[:64]!r}")
    assert operation.value is not None
    given = value_for(at, operation.value)
    if at.element.repeats:
        work.marked.append(owner, given.name, given.value, given.sibling)
        return
    if any(name in owner for name in _names(at)):
        _fail(f"{at.element.name} is there already and does not repeat; replace it")
    work.marked.put(owner, given.name, given.value, given.sibling)


def _names(at: Target) -> list[str]:
    """The members that an element may have, one for each type of a choice."""
    return [
        name
        for name, (element, _) in definitions.properties(at.owner).items()
        if element.name == at.element.name
    ]


def _insert(work: _Work, operation: Operation) -> None:
    first, length, at = work.sequence(operation)
    if not 0 <= operation.index <= length:
        _fail(f"the index is not from 0 to {length}")
    assert operation.value is not None
    given = value_for(at, operation.value)
    work.marked.insert(first.owner, given.name, operation.index, given.value, given.sibling)


def _delete(work: _Work, operation: Operation) -> None:
    if not work.nodes(operation):
        return
    place = work.marked.find(work.single(operation))
    if place is None:
        _fail("the whole resource cannot be deleted by a patch")
    work.marked.remove(place)


def _replace(work: _Work, operation: Operation) -> None:
    place = work.marked.find(work.single(operation))
    if place is None:
        _fail("the whole resource cannot be replaced by a patch")
    assert operation.value is not None
    at = work.target_of(place)
    given = value_for(Target(at.owner, at.element.name, at.element), operation.value)
    if given.name == place.name:
        work.marked.replace(place, given.value, given.sibling)
        return
    work.marked.remove(place)
    work.marked.put(place.owner, given.name, given.value, given.sibling)


def _move(work: _Work, operation: Operation) -> None:
    first, length, _ = work.sequence(operation)
    for name, index in (("source", operation.source), ("destination", operation.destination)):
        if not 0 <= index < length:
            _fail(f"the {name} is not from 0 to {length - 1}")
    work.marked.move(first, operation.source, operation.destination)


def _fail(why: str) -> NoReturn:
    raise Unprocessable("patch-failed", why)


_DO: Mapping[str, Callable[[_Work, Operation], None]] = MappingProxyType(
    {"add": _add, "insert": _insert, "delete": _delete, "replace": _replace, "move": _move}
)
