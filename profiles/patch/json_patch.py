"""JSON Patch: add, remove, replace, move, copy, test, on the JSON form of a resource; all or nothing.

RFC 6902; RFC 6901 (JSON Pointer); FHIR R4 http.html#patch
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NoReturn

from profiles import codec
from profiles.outcomes import Invalid, Unprocessable

MAX_OPERATIONS = 10_000
MAX_COPIED = 10_000_000
"""Characters and values that all `copy` of one patch may make: copying copies would double without end."""
MAX_SHIFTED = 500_000_000
"""Array items that all insertions and removals of one patch may shift: about a second."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
_NOTHING = object()

Pointer = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `place` is its index in the patch. `source` is `from`."""

    place: int
    op: str
    path: Pointer
    source: Pointer = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """The operations in order."""

    operations: tuple[Operation, ...]

    def apply(self, document: Any) -> Any:
        """A patched copy of any JSON document. Raises Unprocessable at the first operation that fails; the
        document is as it was then."""
        work = _Work(_copied(document))
        for operation in self.operations:
            _DO[operation.op](work, operation)
        codec.check_depth([work.document])
        return work.document


def read(body: bytes) -> JsonPatch:
    """From the body of a request. Raises Invalid, with line and column where JSON is wrong."""
    return of(codec.parse_array(body))


def of(items: list[Any]) -> JsonPatch:
    """From parsed JSON. Raises Invalid for what is no patch; members that are not known are ignored, as
    RFC 6902 §4 demands."""
    if len(items) > MAX_OPERATIONS:
        raise Invalid("bad-patch", f"a patch has at most {MAX_OPERATIONS} operations")
    return JsonPatch(tuple(_operation(place, item) for place, item in enumerate(items)))


def _operation(place: int, item: Any) -> Operation:
    if not isinstance(item, dict):
        _malformed(place, "is not an object")
    op = item.get("op")
    if not isinstance(op, str) or op not in _DO:
        _malformed(place, f"has no op out of {', '.join(_DO)}")
    if op in ("add", "replace", "test") and "value" not in item:
        _malformed(place, f"is a {op} without value")
    path = _pointer(place, "path", item.get("path"))
    source = _pointer(place, "from", item.get("from")) if op in ("move", "copy") else ()
    if op == "move" and len(path) > len(source) and path[: len(source)] == source:
        _malformed(place, "moves a value into itself")
    return Operation(place, op, path, source, item.get("value"))


def _pointer(place: int, name: str, text: Any) -> Pointer:
    if not isinstance(text, str) or (text and text[0] != "/") or _BAD_ESCAPE.search(text):
        _malformed(place, f"has no JSON Pointer as its {name}")
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])
    if len(steps) > codec.MAX_DEPTH:
        _malformed(place, f"has a {name} deeper than {codec.MAX_DEPTH} steps")
    return steps


def _malformed(place: int, why: str) -> NoReturn:
    raise Invalid("bad-patch", f"operation {place} of the JSON Patch {why}")


class _Work:
    """The document as it is changed, and what is left of the room for copies and the shifts in arrays."""

    __slots__ = ("document", "room", "shifts")

    def __init__(self, document: Any) -> None:
        self.document = document
        self.room = MAX_COPIED
        self.shifts = MAX_SHIFTED

    def get(self, operation: Operation, path: Pointer) -> Any:
        """The value at a place. Raises Unprocessable when there is none."""
        node = self.document
        for depth, step in enumerate(path):
            node = _child(node, step)
            if node is _NOTHING:
                _fail(operation, f"there is nothing at {_shown(path[: depth + 1])}")
        return node

    def add(self, operation: Operation, value: Any) -> None:
        path = operation.path
        if not path:
            self.document = value
            return
        parent, step = self.get(operation, path[:-1]), path[-1]
        if isinstance(parent, dict):
            parent[step] = value
        elif isinstance(parent, list):
            at = len(parent) if step == "-" else _index(step)
            if at is None or at > len(parent):
                _fail(operation, f"{_shown(path)} is no index from 0 to {len(parent)}")
            self.shift(operation, parent, at)
            parent.insert(at, value)
        else:
            _fail(operation, f"{_shown(path[:-1])} is neither an object nor an array")

    def remove(self, operation: Operation, path: Pointer) -> Any:
        if not path:
            _fail(operation, "the whole resource cannot be removed")
        parent = self.get(operation, path[:-1])
        self.get(operation, path)
        if isinstance(parent, dict):
            return parent.pop(path[-1])
        self.shift(operation, parent, int(path[-1]))
        return parent.pop(int(path[-1]))

    def shift(self, operation: Operation, items: list[Any], at: int) -> None:
        """Accounts for the items behind an index."""
        self.shifts -= len(items) - at
        if self.shifts < 0:
            _fail(operation, "this patch takes more work than is allowed")

    def replace(self, operation: Operation) -> None:
        self.get(operation, operation.path)
        if operation.path:
            parent, step = self.get(operation, operation.path[:-1]), operation.path[-1]
            parent[step if isinstance(parent, dict) else int(step)] = _copied(operation.value)
        else:
            self.document = _copied(operation.value)

    def copied(self, operation: Operation) -> Any:
        value = self.get(operation, operation.source)
        self.room -= _weight(operation, value, len(operation.path))
        if self.room < 0:
            _fail(operation, "the copies of this patch grow beyond what is allowed")
        return _copied(value)


def _copied(node: Any) -> Any:
    """A deep copy of JSON; numbers and texts are shared, as nothing changes them."""
    if isinstance(node, dict):
        return {name: _copied(value) for name, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _child(node: Any, step: str) -> Any:
    if isinstance(node, dict):
        return node.get(step, _NOTHING)
    if isinstance(node, list) and (at := _index(step)) is not None and at < len(node):
        return node[at]
    return _NOTHING


def _index(step: str) -> int | None:
    return int(step) if _INDEX.fullmatch(step) else None


def _weight(operation: Operation, value: Any, depth: int) -> int:
    if depth > codec.MAX_DEPTH:
        _fail(operation, f"what it makes is deeper than {codec.MAX_DEPTH} levels")
    if isinstance(value, dict):
        return sum(len(name) + _weight(operation, item, depth + 1) for name, item in value.items()) + 1
    if isinstance(value, list):
        return sum(_weight(operation, item, depth + 1) for item in value) + 1
    return len(value) + 1 if isinstance(value, str) else 1


def equal(one: Any, other: Any) -> bool:
    """Equality as RFC 6902 §4.6 has it: numbers by value, and no number equals a boolean."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(equal(value, other[name]) for name, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float | Decimal):
        return isinstance(other, int | float | Decimal) and one == other
    return type(one) is type(other) and bool(one == other)


def _test(work: _Work, operation: Operation) -> None:
    if not equal(operation.value, work.get(operation, operation.path)):
        _fail(operation, f"the value at {_shown(operation.path)} is another one")


_DO: Mapping[str, Callable[[_Work, Operation], object]] = MappingProxyType(
    {
        "add": lambda work, operation: work.add(operation, _copied(operation.value)),
        "remove": lambda work, operation: work.remove(operation, operation.path),
        "replace": _Work.replace,
        "move": lambda work, operation: work.add(operation, work.remove(operation, operation.source)),
        "copy": lambda work, operation: work.add(operation, work.copied(operation)),
        "test": _test,
    }
)


def _shown(path: Pointer) -> str:
    """The pointer, shortened."""
    text = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
    return repr(text if len(text) < 100 else text[:97] + "...")


def _fail(operation: Operation, why: str) -> NoReturn:
    raise Unprocessable("patch-failed", f"operation {operation.place} ({operation.op}): {why}")
