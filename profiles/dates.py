"""Partial FHIR dates → half-open intervals [start, end) in UTC microseconds since 1970-01-01.

A date stands for the whole stretch of time that it leaves open: "2024" is a year, "2024-02" a month. A value
without an offset is read in the zone given (a local day can have 23 or 25 hours). An open end is ±2**62. A
leap second, which FHIR allows to be written, is the second after; there is no such thing as the 13th month or
24:00.

FHIR R4 datatypes.html#dateTime; search.html#date
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Literal

from profiles.outcomes import Invalid

OPEN_START = -(2**62)
OPEN_END = 2**62
DAY = 86_400_000_000
SECOND = 1_000_000

Precision = Literal["year", "month", "day", "minute", "second", "fraction"]

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:T(?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_FULL = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.(\d{1,6}))?(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))", re.ASCII
)
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?", re.ASCII)
_FRACTION_WIDTHS = (SECOND, 100_000, 10_000, 1000, 100, 10, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def interval(text: str, zone: tzinfo) -> tuple[int, int]:
    """The interval of a date, dateTime or instant of any precision. Raises Invalid (`bad-date`), saying
    why."""
    full = _FULL.fullmatch(text)
    if full is not None and text[11:13] != "24":
        try:
            since = datetime.fromisoformat(text) - _EPOCH
        except ValueError:
            return _any_interval(text, zone)  # it says what is wrong
        else:
            start = (since.days * 86400 + since.seconds) * SECOND + since.microseconds
            return start, start + (SECOND if full[1] is None else _FRACTION_WIDTHS[len(full[1])])
    return _any_interval(text, zone)


def _any_interval(text: str, zone: tzinfo) -> tuple[int, int]:
    """All forms, and the words for what is wrong; the commonest, with all its parts, has been dealt with."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise _bad(
            "the form is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.fff]] and then Z or ±hh:mm"
        )
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if hour is None:
        return _days(year, month, day, zone)
    start = _ordinal(year, month, day) * DAY + _time_of_day(hour, minute, second, fraction)
    start -= _local_offset(start, zone) if offset is None else _offset(offset)
    return start, start + _width(second, fraction)


def precision(text: str) -> Precision:
    """How far a date is written out. Raises Invalid on what is no date at all."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise _bad("not a FHIR date")
    for name in ("fraction", "second", "minute", "day", "month"):
        if match[name] is not None:
            return name
    return "year"


def time(text: str) -> tuple[int, int]:
    """The interval of a FHIR time, in microseconds since midnight; without zone, as FHIR has it. Raises
    Invalid."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise _bad("the form of a time is hh:mm:ss[.fff]")
    hour, minute, second, fraction = match.groups()
    start = _time_of_day(hour, minute, second, fraction)
    return start, start + _width(second, fraction)


def period(value: Mapping[str, Any], zone: tzinfo) -> tuple[int, int]:
    """A Period: from the start of its start to the end of its end, open where one is absent. Raises
    Invalid."""
    start, end = value.get("start"), value.get("end")
    return (
        OPEN_START if start is None else interval(start, zone)[0],
        OPEN_END if end is None else interval(end, zone)[1],
    )


def instant(microseconds: int) -> str:
    """A FHIR instant in UTC with milliseconds: 1732147200123456 → "2024-11-21T00:00:00.123Z"."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _days(year: str, month: str | None, day: str | None, zone: tzinfo) -> tuple[int, int]:
    first = _ordinal(year, month or "01", day or "01")
    if day is not None:
        after = first + 1
    elif month is not None:
        after = _ordinal(year, f"{int(month) + 1:02d}", "01") if month != "12" else first + 31
    else:
        after = _ordinal(year, "12", "31") + 1
    start, end = first * DAY, after * DAY
    return start - _local_offset(start, zone), end - _local_offset(end, zone)


def _ordinal(year: str, month: str, day: str) -> int:
    """Days since 1970-01-01."""
    try:
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        if not 1 <= int(month) <= 12:
            raise _bad(f"month {month} is not 01 to 12") from None
        if year == "0000":
            raise _bad("there is no year 0000") from None
        raise _bad(f"{year}-{month} has no day {day}") from None


def _time_of_day(hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    if hour > "23":
        raise _bad(f"hour {hour} is not 00 to 23")
    if minute > "59":
        raise _bad(f"minute {minute} is not 00 to 59")
    if second is not None and second > "59" and (second != "60" or minute != "59"):
        raise _bad(f"second {second} is not 00 to 59, nor a leap second")
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return seconds * SECOND + (int(fraction[:6].ljust(6, "0")) if fraction else 0)


def _width(second: str | None, fraction: str | None) -> int:
    if fraction is not None:
        return int(10 ** max(0, 6 - len(fraction)))
    return SECOND if second is not None else 60 * SECOND


def _offset(text: str) -> int:
    """±hh:mm in microseconds. FHIR R4 allows up to 14:00."""
    if text == "Z":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise _bad(f"the offset {text} is not within ±14:00")
    return (hours * 60 + minutes) * (-60 if text[0] == "-" else 60) * SECOND


@lru_cache(maxsize=16384)
def _local_offset(local: int, zone: tzinfo) -> int:
    """The zone's offset in microseconds at a local time given as if it were UTC."""
    if zone is UTC:
        return 0
    # year 9999 ends on a day that datetime cannot hold: its last moment has the same offset
    moment = _EPOCH.replace(tzinfo=None) + timedelta(microseconds=min(local, 253_402_300_799_000_000))
    offset = zone.utcoffset(moment.replace(tzinfo=zone))
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _bad(why: str) -> Invalid:
    return Invalid("bad-date", f"not a date: {why}")
