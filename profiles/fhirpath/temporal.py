"""Dates, date-times and times of any precision: comparison, arithmetic, boundaries.

A value keeps what was written: as many parts as its precision, and its offset if it has one. Two values of
different precision are compared as far as both go; where that does not decide, the answer is None.

FHIRPath N1 §6.2 (comparison), §6.6.7 (date/time arithmetic); 2.1 §5.10 (boundaries)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType

_CLOCK = (
    r"(?P<hour>[01]\d|2[0-3])(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d|60)(?:\.(?P<fraction>\d+))?)?)?"
)
_TIME = re.compile(_CLOCK, re.ASCII)
_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>0\d|1[0-2])(?:-(?P<day>[0-3]\d))?)?"
    rf"(?P<clock>T(?:{_CLOCK}(?P<zone>Z|[+-](?:0\d|1[0-4]):[0-5]\d)?)?)?",
    re.ASCII,
)
_EARLIEST, _LATEST = 14 * 3600, 12 * 3600
"""How far a moment of unknown offset can lie before and after the same clock reading in UTC, in seconds."""

_Instant = tuple[int, str]
"""Whole seconds from a fixed origin and the digits after them, without zeros at the end: compared as such."""
_LAST = "9" * 50

_SECONDS: Mapping[str, int] = MappingProxyType({
    "week": 604_800, "wk": 604_800, "day": 86_400, "d": 86_400, "hour": 3600, "h": 3600,
    "minute": 60, "min": 60, "second": 1, "s": 1,
})  # fmt: skip
_DAYS = frozenset({"week", "wk", "day", "d"})
_MILLISECONDS = frozenset({"millisecond", "ms"})
_MONTHS: Mapping[str, int] = MappingProxyType({"year": 12, "month": 1})
_LOW, _HIGH = (1, 1, 1, 0, 0, 0), (9999, 12, 31, 23, 59, 59)
_DIGITS = (4, 6, 8, 10, 12, 14, 17)
_TIME_DIGITS = (2, 4, 6, 9)


@dataclass(frozen=True, slots=True)
class Moment:
    """`parts` are year, month, day, hour, minute, second as far as known (for a Time: from hour on);
    `fraction` the digits after the second; `zone` "Z", "+01:00" or "". `kind` is a System type's name."""

    kind: str
    parts: tuple[int, ...]
    fraction: str = ""
    zone: str = ""

    def __str__(self) -> str:
        if self.kind == "Time":
            return _clock(self.parts, self.fraction)
        day = "-".join(f"{part:0{4 if i == 0 else 2}d}" for i, part in enumerate(self.parts[:3]))
        if len(self.parts) <= 3:
            return day
        return f"{day}T{_clock(self.parts[3:], self.fraction)}{self.zone}"


def parse(text: str, kind: str) -> Moment | None:
    """A value of that kind ("Date", "DateTime", "Time"), None when the text is none. The T that may end a
    DateTime literal is allowed."""
    if kind == "Time":
        match = _TIME.fullmatch(text.removeprefix("T"))
        if match is None:
            return None
        parts = tuple(int(match[name]) for name in ("hour", "minute", "second") if match[name] is not None)
        return Moment("Time", parts, match["fraction"] or "")
    match = _DATE.fullmatch(text)
    if match is None or (kind == "Date" and match["clock"] is not None):
        return None
    names = ("year", "month", "day", "hour", "minute", "second")
    parts = tuple(int(match[name]) for name in names if match[name] is not None)
    if len(parts) > 3 and match["day"] is None:
        return None
    moment = Moment(kind, parts, match["fraction"] or "", match["zone"] or "")
    return moment if _exists(parts) else None


def compare(a: Moment, b: Moment) -> int | None:
    """-1, 0 or 1; None when precision or offsets leave it open. Both are times, or neither is."""
    if len(a.parts) == len(b.parts) and bool(a.zone) == bool(b.zone):
        first, second = _start(a), _start(b)
        return (first > second) - (first < second)
    (a_low, a_high), (b_low, b_high) = _range(a, b), _range(b, a)
    if a_high < b_low:
        return -1
    return 1 if b_high < a_low else None


def key(moment: Moment) -> tuple[object, ...]:
    """Equal for moments that `compare` finds equal, and only for those."""
    time = moment.kind == "Time"
    return ("time" if time else "date", len(moment.parts), bool(moment.zone), _start(moment))


def add(moment: Moment, amount: Fraction, unit: str) -> Moment | None:
    """A moment plus a time-valued quantity.

    Fractions of a unit are cut off, but for `seconds` (HL7's suite cuts the UCUM `s`); units finer than the
    moment's precision count as whole ones of that precision. None when out of range. Raises KeyError for a
    unit that no such moment can be moved by.
    """
    if unit in _MONTHS:
        if moment.kind == "Time":
            raise KeyError(unit)
        return _add_months(moment, int(amount) * _MONTHS[unit])
    if moment.kind == "Time" and unit in _DAYS:
        raise KeyError(unit)
    if unit in _MILLISECONDS:
        seconds = Fraction(int(amount), 1000)
    elif unit == "second":
        seconds = Fraction(int(amount * 1000), 1000)
    else:
        seconds = Fraction(int(amount) * _SECONDS[unit])
    if moment.kind != "Time" and len(moment.parts) == 1:
        return _add_months(moment, int(seconds / (365 * 86_400)) * 12)
    if moment.kind != "Time" and len(moment.parts) == 2:
        return _add_months(moment, int(seconds / (30 * 86_400)))
    return _add_seconds(moment, seconds)


def precision(moment: Moment) -> int:
    """Digits that the value is written with: 4 for a year, 17 with milliseconds."""
    digits = _TIME_DIGITS if moment.kind == "Time" else _DIGITS
    return digits[len(moment.parts)] if moment.fraction else digits[len(moment.parts) - 1]


def low(moment: Moment, digits: int) -> Moment | None:
    """The earliest moment that this can stand for, written with that many digits."""
    return _boundary(moment, digits, _LOW, "000", "+14:00")


def high(moment: Moment, digits: int) -> Moment | None:
    """The latest moment that this can stand for."""
    return _boundary(moment, digits, _HIGH, "999", "-12:00")


def _boundary(moment: Moment, digits: int, fill: tuple[int, ...], fraction: str, zone: str) -> Moment | None:
    time = moment.kind == "Time"
    widths = _TIME_DIGITS if time else _DIGITS if moment.kind == "DateTime" else _DIGITS[:3]
    if digits not in widths:
        return None
    count = widths.index(digits) + 1
    filler = fill[3:] if time else fill
    parts = (*moment.parts, *filler[len(moment.parts) :])
    if not time and len(moment.parts) < 3:
        parts = (*parts[:2], min(parts[2], _last_day(parts[0], parts[1])), *parts[3:])
    full = len(filler)
    written = (moment.fraction or fraction)[:3].ljust(3, fraction[0]) if count > full else ""
    has_clock = not time and count > 3
    return Moment(moment.kind, parts[: min(count, full)], written, (moment.zone or zone) if has_clock else "")


def _clock(parts: tuple[int, ...], fraction: str) -> str:
    text = ":".join(f"{part:02d}" for part in parts)
    return f"{text}.{fraction}" if fraction else text


def _exists(parts: tuple[int, ...]) -> bool:
    if parts[0] < 1 or (len(parts) > 1 and not 1 <= parts[1] <= 12):
        return False
    return len(parts) < 3 or 1 <= parts[2] <= _last_day(parts[0], parts[1])


def _last_day(year: int, month: int) -> int:
    if month == 12:
        return 31
    return (date(year, month + 1, 1) - timedelta(days=1)).day


def _start(moment: Moment) -> _Instant:
    """The start of what the moment stands for, in UTC when it has an offset."""
    if moment.kind == "Time":
        hour, minute, second = (*moment.parts, 0, 0)[:3]
        days = 0
    else:
        year, month, day, hour, minute, second = (*moment.parts, *_LOW[len(moment.parts) :])
        days = date(year, month, day).toordinal()
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    if moment.zone not in ("", "Z"):
        offset = int(moment.zone[1:3]) * 3600 + int(moment.zone[4:6]) * 60
        seconds -= -offset if moment.zone[0] == "-" else offset
    return seconds, moment.fraction.rstrip("0")


def _range(moment: Moment, other: Moment) -> tuple[_Instant, _Instant]:
    """First and last moment it can stand for, beside another that may have an offset where this has none."""
    start, fraction = _start(moment)
    end, last = start, fraction
    if moment.kind == "Time":
        end += (3599, 59, 0)[len(moment.parts) - 1]
    elif len(moment.parts) < 6:
        if len(moment.parts) == 1:
            end += ((date(moment.parts[0], 12, 31) - date(moment.parts[0], 1, 1)).days + 1) * 86_400 - 1
        elif len(moment.parts) == 2:
            end += _last_day(moment.parts[0], moment.parts[1]) * 86_400 - 1
        else:
            end += (86_399, 3599, 59)[len(moment.parts) - 3]
    if len(moment.parts) < (3 if moment.kind == "Time" else 6):
        last = _LAST
    if other.zone and not moment.zone:
        start, end = start - _EARLIEST, end + _LATEST
    return (start, fraction), (end, last)


def _add_months(moment: Moment, months: int) -> Moment | None:
    year, month = moment.parts[0], (*moment.parts, 1)[1]
    if len(moment.parts) == 1:
        months = int(Fraction(months, 12)) * 12
    years, month0 = divmod(year * 12 + month - 1 + months, 12)
    if not 1 <= years <= 9999:
        return None
    if len(moment.parts) == 1:
        return replace(moment, parts=(years,))
    if len(moment.parts) == 2:
        return replace(moment, parts=(years, month0 + 1))
    day = min(moment.parts[2], _last_day(years, month0 + 1))
    return replace(moment, parts=(years, month0 + 1, day, *moment.parts[3:]))


def _add_seconds(moment: Moment, seconds: Fraction) -> Moment | None:
    time = moment.kind == "Time"
    known = len(moment.parts) + (3 if time else 0)
    step = {3: 86_400, 4: 3600, 5: 60}.get(known)
    if step is not None:
        seconds = Fraction(int(seconds / step) * step)
    has_fraction = bool(moment.fraction) or seconds.denominator != 1
    before = Fraction(int(moment.fraction[:9] or "0"), 10 ** len(moment.fraction[:9]))
    whole, rest = divmod(seconds + before, 1)
    start = (1, 1, 1, *moment.parts) if time else moment.parts
    try:
        clock = datetime(*(*start, *_LOW[len(start) :])[:5]) + timedelta(  # type: ignore[arg-type]
            seconds=(start[5] if len(start) > 5 else 0) + (int(whole) % 86_400 if time else int(whole))
        )
    except (OverflowError, ValueError):
        return None
    parts = (clock.year, clock.month, clock.day, clock.hour, clock.minute, clock.second)[:known]
    width = max(3, len(moment.fraction[:9]))
    fraction = f"{int(rest * 10**width):0{width}d}" if has_fraction and known == 6 else ""
    return replace(moment, parts=parts[3:] if time else parts, fraction=fraction)
