"""A resource whose elements can be found again: what an expression selects, and where that stands.

An expression gives nodes: values without a place. In the copy made here every element has an object of its
own that a node carries along: a complex element is one by itself, and every primitive gets a `_name` member,
empty where it has none, which changes nothing for an expression. The identity of that object tells the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from profiles import definitions
from profiles.fhirpath.nodes import Node
from profiles.outcomes import Unprocessable

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands: in `owner`, as `name`; `token` is the object that identifies it."""

    owner: Json
    name: str
    token: Json

    @property
    def tokens(self) -> list[Any] | Json:
        """What stands beside `owner[name]` or is it: the tokens, a list where the element repeats."""
        value: Any = self.owner.get(self.name)
        first = value[0] if isinstance(value, list) and value else value
        found: list[Any] | Json = value if isinstance(first, dict) else self.owner["_" + self.name]
        return found

    @property
    def index(self) -> int | None:
        """The position in a list; None for what stands alone."""
        tokens = self.tokens
        if not isinstance(tokens, list):
            return None
        return next(place for place, token in enumerate(tokens) if token is self.token)


class Marked:
    """The copy, changed in place."""

    def __init__(self, resource: Json) -> None:
        self._places: dict[int, Place] = {}
        self.root: Json = self._object(resource)

    @property
    def size(self) -> int:
        """How many elements there are, or were."""
        return len(self._places)

    def find(self, node: Node) -> Place | None:
        """The place of a node; None for the resource itself. Raises Unprocessable for a value that is none of
        the resource's elements."""
        token = node[0] if isinstance(node[0], dict) else node[2]
        if token is self.root:
            return None
        place = self._places.get(id(token))
        if place is None or place.token is not token:
            raise Unprocessable("patch-failed", "a path leads to a computed value, not to an element")
        return place

    def type_of(self, token: Json) -> str:
        """The type key of an element by its token; of a primitive, "Element"."""
        if token is self.root:
            return str(token["resourceType"])
        place = self._places[id(token)]
        found = definitions.properties(self.type_of(place.owner)).get(place.name)
        if found is None or found[1] in definitions.primitives():
            return "Element"
        return str(token["resourceType"]) if found[1] in definitions.ABSTRACT else found[1]

    def append(self, owner: Json, name: str, value: Any, sibling: Json | None) -> None:
        """One item more at the end of a list, which may be new."""
        items = owner.get(name)
        siblings = owner.get("_" + name)
        length = max(len(known) if isinstance(known, list) else 0 for known in (items, siblings))
        self.insert(owner, name, length, value, sibling)

    def insert(self, owner: Json, name: str, index: int, value: Any, sibling: Json | None) -> None:
        """One item into a list."""
        token, value = self._token(owner, name, value, sibling)
        owner.setdefault(name, []).insert(index, value)
        if token is not value:
            owner.setdefault("_" + name, []).insert(index, token)

    def put(self, owner: Json, name: str, value: Any, sibling: Json | None) -> None:
        """An element that does not repeat."""
        token, value = self._token(owner, name, value, sibling)
        owner[name] = value
        if token is not value:
            owner["_" + name] = token

    def remove(self, place: Place) -> None:
        """One element; a list that becomes empty goes with its last."""
        index, names = place.index, (place.name, "_" + place.name)
        for name in names:
            known = place.owner.get(name)
            if index is None or (isinstance(known, list) and len(known) == 1):
                place.owner.pop(name, None)
            elif isinstance(known, list):
                del known[index]

    def replace(self, place: Place, value: Any, sibling: Json | None) -> None:
        """Another value at the same place."""
        index = place.index
        token, value = self._token(place.owner, place.name, value, sibling)
        if index is None:
            place.owner[place.name] = value
            if token is not value:
                place.owner["_" + place.name] = token
            return
        place.owner[place.name][index] = value
        if token is not value:
            place.owner["_" + place.name][index] = token

    def move(self, place: Place, source: int, destination: int) -> None:
        """One item of the list that the place is in."""
        for name in (place.name, "_" + place.name):
            known = place.owner.get(name)
            if isinstance(known, list):
                known.insert(destination, known.pop(source))

    def result(self) -> Json:
        """The resource without the marks."""
        return _plain(self.root)

    def _token(self, owner: Json, name: str, value: Any, sibling: Json | None) -> tuple[Json, Any]:
        """The token of an element to be, and its value, both marked."""
        if isinstance(value, dict):
            value = token = self._object(value)
        else:
            token = self._object(sibling or {})
        self._places[id(token)] = Place(owner, name, token)
        return token, value

    def _object(self, source: Json) -> Json:
        made: Json = {}
        for name in source:
            bare = name.removeprefix("_")
            if name == "resourceType":
                made[name] = source[name]
            elif bare not in made and "_" + bare not in made:
                self._member(made, bare, source.get(bare), source.get("_" + bare))
        return made

    def _member(self, made: Json, name: str, value: Any, sibling: Any) -> None:
        if not isinstance(value, list) and not isinstance(sibling, list):
            self.put(made, name, value, _sibling(sibling))
            return
        values = value if isinstance(value, list) else []
        siblings = sibling if isinstance(sibling, list) else []
        for place in range(max(len(values), len(siblings))):
            one = values[place] if place < len(values) else None
            extra = siblings[place] if place < len(siblings) else None
            if isinstance(one, list):
                _unsound()
            self.append(made, name, one, _sibling(extra))
        items = made.get(name, [])
        if any(isinstance(item, dict) for item in items) and "_" + name in made:
            _unsound()


def _sibling(value: Any) -> Json | None:
    if value is not None and not isinstance(value, dict):
        _unsound()
    return value


def _unsound() -> NoReturn:
    raise Unprocessable("patch-failed", "the stored resource is not sound FHIR; update it instead")


def _plain(node: Json) -> Json:
    """Without marks, and without what has lost all its content: FHIR has no empty elements."""
    made: Json = {}
    for name, value in node.items():
        if isinstance(value, dict):
            plain: Any = _plain(value) or None
        elif isinstance(value, list):
            plain = _plain_list(name, value)
        else:
            plain = value
        if plain is not None:
            made[name] = plain
    return made


def _plain_list(name: str, items: list[Any]) -> list[Any] | None:
    plain = [(_plain(item) or None) if isinstance(item, dict) else item for item in items]
    if name[0] != "_" and any(isinstance(item, dict) for item in items):
        plain = [item for item in plain if item is not None]
    return None if all(item is None for item in plain) else plain
