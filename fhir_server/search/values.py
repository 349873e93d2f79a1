"""The written value of one parameter type → the node that finds it: prefixes, precision, dates in a zone.

Every function raises Invalid that says what is wrong with the value, and never repeats it: a value can be a
person's. A stored date is an interval [s, e), a stored number a point (or a Range); what a prefix means is
settled here.

FHIR R4 search.html#prefix, #date, #number, #quantity, #token, #reference, #string, #uri
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal, InvalidOperation

from fhir_server.search import units
from fhir_server.search.nodes import (
    And,
    Below,
    Bounds,
    Date,
    Near,
    Node,
    Number,
    Or,
    Reference,
    String,
    Token,
)
from fhir_server.search.parse import pieces, unescaped
from profiles import dates, quantities, references
from profiles.folding import fold
from profiles.outcomes import Invalid

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]{2}(?=[\d+\-.])")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
NEAR = 50_000.0  # metres: `near` without a distance
APART = Decimal("0.1")  # `ap`: within a tenth of the value, or of the time between then and now


def token(code: str, values: Sequence[str]) -> Token:
    """`code`, `system|code`, `|code`, `system|`."""
    return Token(code, tuple(_pair(value) for value in values))


def of_type(code: str, values: Sequence[str]) -> Token:
    """`system|code|value` of `:of-type`, all three needed."""
    found = []
    for value in values:
        parts = [unescaped(part) for part in pieces(value, "|")]
        if len(parts) != 3 or not all(parts):
            raise Invalid("bad-token", f"'{code}:of-type' takes [type system]|[type code]|[identifier value]")
        found.append((parts[0], f"{parts[1]}|{parts[2]}"))
    return Token(f"{code}:of-type", tuple(found))


def uri(code: str, how: str, values: Sequence[str]) -> Node:
    """`how` is "", "below" (it, and what its path leads to) or "above" (it, and what leads to it). Only
    addresses with a path have anything above or below; FHIR R4 search.html#uri"""
    written = [unescaped(value) for value in values]
    if how == "above":
        return Token(code, tuple(("", part) for value in written for part in _above(value)))
    whole = Token(code, tuple(("", value) for value in written))
    if how != "below":
        return whole
    bases = [value.rstrip("/") for value in written]
    itself = Token(code, tuple(("", part) for base in bases for part in (base, base + "/")))
    return Or((itself, *(Below(code, base + "/") for base in bases)))


def uri_starting(code: str, value: str) -> Below:
    """An address with that beginning."""
    return Below(code, value)


def _above(value: str) -> list[str]:
    """`http://a/b/c` → it, `http://a/b`, `http://a`, each also with a final slash."""
    head, slashes, path = value.rstrip("/").partition("://")
    if not slashes:
        return [value]
    parts = path.split("/")
    found = [f"{head}://{'/'.join(parts[:n])}" for n in range(len(parts), 0, -1)]
    return [each for part in found for each in (part, part + "/")]


def string(code: str, how: str, values: Sequence[str]) -> Node:
    """`how` is "", "exact" or "contains". The exact text is asked for together with its folded beginning:
    that one an engine has an index for, and it takes nothing away."""
    written = [unescaped(value) for value in values]
    folded = [fold(value) for value in written]
    if not all(folded):
        raise Invalid("empty-value", f"'{code}' has a value without any letter or digit")
    if how == "exact":
        nodes = tuple(
            And((String(code, "starts", (f,)), String(code, "exact", (w,))))
            for f, w in zip(folded, written, strict=True)
        )
        return nodes[0] if len(nodes) == 1 else Or(nodes)
    return String(code, "contains" if how == "contains" else "starts", tuple(folded))


def reference(code: str, types: Sequence[str], values: Sequence[str], own_base: str) -> Reference:
    """`Type/id`, a bare id of one of `types`, or a URL; the server's own base is taken off."""
    targets: list[str] = []
    for value in map(unescaped, values):
        if _ID.fullmatch(value):
            targets += [f"{type}/{value}" for type in types]
            continue
        found = references.parse(value, own_base)
        if found.kind in ("local", "absolute", "urn"):
            targets.append(found.target)
        else:
            raise Invalid("bad-reference", f"'{code}' takes an id, [type]/[id] or an absolute URL")
    return Reference(code, tuple(dict.fromkeys(targets)))


def date(code: str, values: Sequence[str], zone: tzinfo, now: int) -> Date:
    """`now` is UTC microseconds, for `ap`."""
    bounds: list[Bounds] = []
    for value in map(unescaped, values):
        prefix, text = _prefix(code, value)
        start, end = moment(code, text, zone)
        bounds += _date_bounds(prefix, start, end, now)
    return Date(code, tuple(dict.fromkeys(bounds)))


def moment(code: str, text: str, zone: tzinfo) -> tuple[int, int]:
    """[start, end) of a date as written."""
    try:
        return dates.interval(text.replace(" ", "+"), zone)  # an offset's plus, decoded as a space
    except Invalid as error:
        raise Invalid("bad-date", f"'{code}': {error}") from error


def number(code: str, values: Sequence[str]) -> Number:
    return Number(
        code, tuple(bounds for value in values for bounds in _number_bounds(code, unescaped(value)))
    )


def quantity(code: str, values: Sequence[str]) -> Node:
    """`[prefix]number`, `…|system|unit`, `…||unit`."""
    nodes = []
    for value in values:
        parts = [unescaped(part) for part in pieces(value, "|")]
        if len(parts) not in (1, 3):
            raise Invalid(
                "bad-quantity", f"'{code}' takes [number], [number]|[system]|[unit] or [number]||[unit]"
            )
        system, unit = (parts[1] or None, parts[2] or None) if len(parts) == 3 else (None, None)
        canonical = units.scale_of(system, unit)
        if canonical is None or unit is None:
            nodes.append(Number(code, tuple(_number_bounds(code, parts[0])), (system, unit)))
        else:
            bounds = tuple(_number_bounds(code, parts[0], unit))
            nodes.append(Number(code + units.SUFFIX, bounds, ("", canonical)))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))


def near(code: str, values: Sequence[str]) -> Node:
    """`latitude|longitude[|distance[|unit]]`: degrees, and any UCUM length, kilometres when none is said."""
    nodes = tuple(_circle(code, value) for value in values)
    return nodes[0] if len(nodes) == 1 else Or(nodes)


def _circle(code: str, value: str) -> Near:
    parts = [unescaped(part) for part in pieces(value, "|")]
    if not 2 <= len(parts) <= 4:
        raise Invalid("bad-near", f"'{code}' takes [latitude]|[longitude]|[distance]|[unit]")
    latitude, longitude = (float(_decimal(code, part)[0]) for part in parts[:2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise Invalid("bad-near", f"'{code}': latitude is -90 to 90 degrees, longitude -180 to 180")
    distance, unit = [*parts[2:], "", ""][:2]
    if not distance:
        if unit:
            raise Invalid("bad-near", f"'{code}': the unit is without a distance")
        return Near(code, latitude, longitude, NEAR)
    _decimal(code, distance)
    metres = quantities.convert(Decimal(distance), unit or "km", "m")
    if metres is None or metres < 0:
        raise Invalid(
            "bad-near",
            f"'{code}': the distance is from 0 up, its unit a UCUM length such as km, m or [mi_us]",
        )
    return Near(code, latitude, longitude, float(metres))


def _pair(value: str) -> tuple[str | None, str | None]:
    parts = [unescaped(part) for part in pieces(value, "|")]
    if len(parts) == 1:
        return None, parts[0]
    if len(parts) > 2 or not any(parts):
        raise Invalid(
            "bad-token", r"a token is [code], [system]|[code], |[code] or [system]|; escape other bars as \|"
        )
    return parts[0], parts[1] or None


def _prefix(code: str, value: str) -> tuple[str, str]:
    match = _PREFIXED.fullmatch(value)
    assert match is not None
    if match[1] is None and _LETTERS.match(value):
        raise Invalid("bad-prefix", f"'{code}' takes the prefixes {', '.join(PREFIXES)}")
    return match[1] or "eq", match[2]


def _date_bounds(prefix: str, start: int, end: int, now: int) -> list[Bounds]:
    equal = Bounds(start_from=start, end_until=end)
    match prefix:
        case "eq":
            return [equal]
        case "ne":
            return [Bounds(start_before=start), Bounds(end_after=end)]
        case "gt":
            return [Bounds(end_after=end)]
        case "lt":
            return [Bounds(start_before=start)]
        case "ge":
            return [Bounds(end_after=end), equal]
        case "le":
            return [Bounds(start_before=start), equal]
        case "sa":
            return [Bounds(start_from=end)]
        case "eb":
            return [Bounds(end_until=start)]
        case _:
            width = int(abs(now - start) * float(APART))
            return [Bounds(start_before=end + width, end_after=start - width)]


def _number_bounds(code: str, value: str, unit: str = "") -> list[Bounds]:
    """Of the number itself; with a UCUM `unit`, in base units."""
    prefix, text = _prefix(code, value)
    written, half = _decimal(code, text)
    if prefix == "ap":
        half = abs(written) * APART
    found = [
        units.in_base_units(n, unit) if unit else float(n) for n in (written, written - half, written + half)
    ]
    exact, low, high = (_in_measure(code, n) for n in found)
    above, below = math.nextafter(exact, math.inf), math.nextafter(exact, -math.inf)
    low, high = min(low, exact), max(high, above)  # no float may lie between the value and its limits
    match prefix:
        case "eq":
            return [Bounds(start_from=low, start_before=high, end_until=high)]
        case "ne":
            return [Bounds(start_before=low), Bounds(start_from=high), Bounds(end_after=high)]
        case "gt":
            return [Bounds(end_after=exact)]
        case "lt":
            return [Bounds(start_before=exact)]
        case "ge":
            return [Bounds(end_after=below)]
        case "le":
            return [Bounds(start_before=above)]
        case "sa":
            return [Bounds(start_from=above)]
        case "eb":
            return [Bounds(end_until=below)]
        case _:
            return [
                Bounds(
                    start_before=math.nextafter(high, math.inf),
                    end_after=math.nextafter(low, -math.inf),
                )
            ]


def _in_measure(code: str, number: float | None) -> float:
    if number is None:
        raise Invalid("bad-number", f"'{code}' takes a decimal number, with a prefix if wished")
    return number


def _decimal(code: str, text: str) -> tuple[Decimal, Decimal]:
    """The value, and half of the last digit written: 100 stands for [99.5, 100.5)."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    exponent = value.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or len(text) > 50
        or (value and abs(value.adjusted()) > 300)
        or "_" in text
    ):
        raise Invalid("bad-number", f"'{code}' takes a decimal number, with a prefix if wished")
    half = Decimal(5).scaleb(exponent - 1) if abs(exponent) <= 300 else Decimal(0)
    return value, half
