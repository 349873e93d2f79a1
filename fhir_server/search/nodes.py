"""The search tree: what a search means, settled before any engine sees it.

`bind` turns parameters into these frozen nodes; `Access` wraps them; `rewrite` simplifies; an engine only
compares neutral values (folded strings, half-open UTC intervals in microseconds, exact tokens). A `param` is
an *index entry name*: a search parameter's code, or a derived name of it when a modifier looks at another
face of the same element (`code:text` string entries, `subject:identifier` and `identifier:of-type` token
entries). So an engine knows no modifier at all. Every node prints as an s-expression; tests compare those.

FHIR R4 search.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

EntryKind = Literal["token", "reference", "date", "string", "number"]
EARTH = 6_371_008.8  # metres: the mean radius, IUGG


@dataclass(frozen=True, slots=True)
class Everything:
    """Matches every current resource of the type."""

    def __str__(self) -> str:
        return "(all)"


@dataclass(frozen=True, slots=True)
class Nothing:
    """Matches no resource; what an Access without any right becomes."""

    def __str__(self) -> str:
        return "(none)"


@dataclass(frozen=True, slots=True)
class Ids:
    """The logical id is one of these."""

    ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"(id {' '.join(self.ids)})"


@dataclass(frozen=True, slots=True)
class Token:
    """One of the `values` is present. A pair is (system, code): system None = any system, system "" = no
    system (FHIR `|code`), code None = any code of that system (FHIR `system|`)."""

    param: str
    values: tuple[tuple[str | None, str | None], ...]

    def __str__(self) -> str:
        pairs = " ".join(f"{'*' if s is None else s}|{'*' if c is None else c}" for s, c in self.values)
        return f"(token {self.param} {pairs})"


@dataclass(frozen=True, slots=True)
class Below:
    """A token entry of `param` without a system has a code that starts with `prefix`, as it is written (no
    folding). FHIR R4 search.html#uri, `:below`"""

    param: str
    prefix: str

    def __str__(self) -> str:
        return f"(below {self.param} {self.prefix})"


@dataclass(frozen=True, slots=True)
class Reference:
    """Refers to one of the `targets`: "Type/id" for resources of this server, else the absolute URL as
    written."""

    param: str
    targets: tuple[str, ...]

    def __str__(self) -> str:
        return f"(ref {self.param} {' '.join(self.targets)})"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Conditions on a stored interval [start, end): each one that is not None must hold.

    start >= start_from · start < start_before · end > end_after · end <= end_until
    Dates: UTC microseconds, an open end is ±2**62. Numbers: a point has start == end; a Range its two ends.
    """

    start_from: float | None = None
    start_before: float | None = None
    end_after: float | None = None
    end_until: float | None = None

    def __str__(self) -> str:
        parts = (
            ("s>=", self.start_from),
            ("s<", self.start_before),
            ("e>", self.end_after),
            ("e<=", self.end_until),
        )
        return "[" + " ".join(f"{name}{value}" for name, value in parts if value is not None) + "]"


@dataclass(frozen=True, slots=True)
class Date:
    """A date entry of `param` lies within one of the bounds. FHIR R4 search.html#date, prefixes settled by
    bind."""

    param: str
    any_of: tuple[Bounds, ...]

    def __str__(self) -> str:
        return f"(date {self.param} {' '.join(map(str, self.any_of))})"


@dataclass(frozen=True, slots=True)
class Number:
    """A number or canonical quantity entry lies within one of the bounds; `unit` is (system, code), as in
    Token."""

    param: str
    any_of: tuple[Bounds, ...]
    unit: tuple[str | None, str | None] = (None, None)

    def __str__(self) -> str:
        return f"(number {self.param} {' '.join(map(str, self.any_of))} {self.unit[0]}|{self.unit[1]})"


@dataclass(frozen=True, slots=True)
class String:
    """`starts`, `contains`, `ends` and `equals` compare folded text (case, accents, spaces), `exact` the text
    as written; `before` and `after` are true of a folded text that comes before or after the value, by code
    points."""

    param: str
    how: Literal["starts", "contains", "ends", "equals", "before", "after", "exact"]
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"(string {self.param} {self.how} {' '.join(repr(v) for v in self.values)})"


@dataclass(frozen=True, slots=True)
class Differs:
    """An entry of the part's `param` and kind is there for which the part does not hold; other entries may.
    (A Not of the part says that it holds for none.) FHIR R4 search_filter.html, `ne`"""

    part: Part

    def __str__(self) -> str:
        return f"(differs {self.part})"


@dataclass(frozen=True, slots=True)
class Composite:
    """One composite entry of `param` fulfils every part: the first part holds for its first value, the second
    for its second, and so on. A part's own `param` names the component for the reader and is not looked at;
    its class says the kind of the value. The point is the pairing: two conditions on two elements of one
    resource are an And.
    FHIR R4 search.html#composite"""

    param: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return f"(composite {self.param} {' '.join(map(str, self.parts))})"


@dataclass(frozen=True, slots=True)
class Near:
    """A position entry of `param` lies within `radius` metres of a point (degrees), along the great circle of
    a sphere of `EARTH` metres radius, the edge included. Every engine asks `reaches`, and may narrow first
    by `band`. FHIR R4 location.html#search"""

    param: str
    latitude: float
    longitude: float
    radius: float

    def reaches(self, latitude: float, longitude: float) -> bool:
        """Whether that point lies within the circle (haversine, exact to a millimetre)."""
        here, there = math.radians(self.latitude), math.radians(latitude)
        north = math.sin((there - here) / 2) ** 2
        east = math.sin(math.radians(longitude - self.longitude) / 2) ** 2
        angle = 2 * math.asin(math.sqrt(min(1.0, north + math.cos(here) * math.cos(there) * east)))
        return angle * EARTH <= self.radius

    @property
    def band(self) -> tuple[float, float]:
        """The latitudes between which all of the circle lies, a little wider."""
        reach = math.degrees(self.radius / EARTH) + 1e-9
        return self.latitude - reach, self.latitude + reach

    def __str__(self) -> str:
        return f"(near {self.param} {self.latitude} {self.longitude} {self.radius})"


@dataclass(frozen=True, slots=True)
class Text:
    """The text entry `param` ("_text": the narrative, "_content": all else) has these words one after the
    other. `words` are folded and joined by single spaces, as the entry is: with a space put around both, the
    one is found in the other; `starts` leaves out the last space, so the last word may go on.
    FHIR R4 search.html#content"""

    param: str
    words: str
    starts: bool = False

    @property
    def sought(self) -> str:
        """What must stand in " " + entry + " "."""
        return f" {self.words}" if self.starts else f" {self.words} "

    def __str__(self) -> str:
        return f"(text {self.param} {self.words!r}{'*' if self.starts else ''})"


@dataclass(frozen=True, slots=True)
class Missing:
    """The resource has no entry of this name (FHIR `:missing=true`; false is Not of it)."""

    param: str
    kind: EntryKind

    def __str__(self) -> str:
        return f"(missing {self.param})"


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference entry `param` leads to a current resource of `type` that matches `where`."""

    param: str
    type: str
    where: Node

    def __str__(self) -> str:
        return f"(chain {self.param} {self.type} {self.where})"


@dataclass(frozen=True, slots=True)
class Has:
    """Some current resource of `type` that matches `where` refers to this one by `param` (FHIR `_has`)."""

    type: str
    param: str
    where: Node

    def __str__(self) -> str:
        return f"(has {self.type} {self.param} {self.where})"


@dataclass(frozen=True, slots=True)
class And:
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return f"(and {' '.join(map(str, self.nodes))})"


@dataclass(frozen=True, slots=True)
class Or:
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return f"(or {' '.join(map(str, self.nodes))})"


@dataclass(frozen=True, slots=True)
class Not:
    node: Node

    def __str__(self) -> str:
        return f"(not {self.node})"


Part = Token | Reference | Date | Number | String
"""What a component of a composite can be asked."""

Node = (
    Everything
    | Nothing
    | Ids
    | Token
    | Below
    | Reference
    | Date
    | Number
    | String
    | Differs
    | Composite
    | Near
    | Text
    | Missing
    | Chain
    | Has
    | And
    | Or
    | Not
)


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key: an entry name of a sortable kind, or `_lastUpdated` (the order of writing) / `_id`.

    A resource with several entries stands at its lowest value, or its highest when descending: a date's
    start, a string's folded text, a number's low end, a token's code, a reference as in its entry. Without
    any it comes last.
    """

    param: str
    kind: EntryKind
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """One page of a search: type, condition, order, size; `after` is the opaque position of an earlier page's
    last row, as the engine itself gave it. Without a sort newest first; ties by seq, in the direction of the
    first key. `backwards`: the rows just before `after` (the first row of a later page), still in the order
    above. `beside`: further (type, condition) pairs, no type twice; what they find is in the same one order
    with the rest, so a position is good for all of them, and `param` of a sort key is looked up type by
    type."""

    type: str
    where: Node
    sort: tuple[Sort, ...] = ()
    count: int = 20
    after: tuple[object, ...] | None = None
    backwards: bool = False
    beside: tuple[tuple[str, Node], ...] = ()

    @property
    def searched(self) -> tuple[tuple[str, Node], ...]:
        """Every (type, condition) pair."""
        return ((self.type, self.where), *self.beside)
