"""Partial dates and their intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import dates
from profiles.outcomes import Invalid

PARIS = ZoneInfo("Europe/Paris")


def at(*parts: int) -> int:
    return (datetime(*parts, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "zone", "start", "end"),
    [
        ("2024", UTC, at(2024, 1, 1), at(2025, 1, 1)),
        ("2024-02", UTC, at(2024, 2, 1), at(2024, 3, 1)),
        ("2024-12", UTC, at(2024, 12, 1), at(2025, 1, 1)),
        ("2024-02-29", UTC, at(2024, 2, 29), at(2024, 3, 1)),
        ("2024-07-01", PARIS, at(2024, 6, 30, 22), at(2024, 7, 1, 22)),
        ("2024-03-31", PARIS, at(2024, 3, 30, 23), at(2024, 3, 31, 22)),  # 23 hours
        ("2024-10-27", PARIS, at(2024, 10, 26, 22), at(2024, 10, 27, 23)),  # 25 hours
        ("2024", PARIS, at(2023, 12, 31, 23), at(2024, 12, 31, 23)),
        ("2024-05-06T07:08", PARIS, at(2024, 5, 6, 5, 8), at(2024, 5, 6, 5, 9)),
        ("2024-05-06T07:08:09", PARIS, at(2024, 5, 6, 5, 8, 9), at(2024, 5, 6, 5, 8, 10)),
        ("2024-05-06T07:08:09Z", PARIS, at(2024, 5, 6, 7, 8, 9), at(2024, 5, 6, 7, 8, 10)),
        ("2024-05-06T07:08:09-05:30", PARIS, at(2024, 5, 6, 12, 38, 9), at(2024, 5, 6, 12, 38, 10)),
        (
            "2024-05-06T07:08:09.5+14:00",
            UTC,
            at(2024, 5, 5, 17, 8, 9, 500000),
            at(2024, 5, 5, 17, 8, 9, 600000),
        ),
        (
            "2024-05-06T07:08:09.123456789Z",
            UTC,
            at(2024, 5, 6, 7, 8, 9, 123456),
            at(2024, 5, 6, 7, 8, 9, 123457),
        ),
        ("2016-12-31T23:59:60Z", UTC, at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1)),
        ("1969-12-31T23:59:59.999Z", UTC, -1000, 0),
        ("9999", UTC, at(9999, 1, 1), at(9999, 12, 31) + dates.DAY),
        ("9999-12-31", PARIS, at(9999, 12, 30, 23), at(9999, 12, 31, 23)),
        (
            "0001-01-01T00:00:00+14:00",
            UTC,
            at(1, 1, 1) - 14 * 3600 * dates.SECOND,
            at(1, 1, 1) - (14 * 3600 - 1) * dates.SECOND,
        ),
    ],
)
def test_interval(text: str, zone: timezone | ZoneInfo, start: int, end: int) -> None:
    assert dates.interval(text, zone) == (start, end)


def test_the_first_year_in_a_zone_east_of_utc_starts_before_the_first_utc_year() -> None:
    start, end = dates.interval("0001", PARIS)
    assert start < at(1, 1, 1) < end


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2024-13", "month 13"),
        ("2024-00", "month 00"),
        ("2024-02-30", "2024-02 has no day 30"),
        ("2023-02-29", "no day 29"),
        ("2024-01-00", "no day 00"),
        ("0000", "no year 0000"),
        ("2024-01-01T24:00:00Z", "hour 24"),
        ("2024-01-01T10:60:00Z", "minute 60"),
        ("2024-01-01T10:00:61Z", "second 61"),
        ("2024-01-01T10:00:60Z", "second 60"),
        ("2024-01-01T10:00:00+15:00", "±14:00"),
        ("2024-01-01T10:00:00+14:01", "±14:00"),
        ("2024-01-01T10:00:00+01:60", "±14:00"),
        ("", "form"),
        ("24", "form"),
        ("2024-1-1", "form"),
        ("2024-01-01T10", "form"),
        ("2024-01-01 10:00:00Z", "form"),
        ("2024-01-01T10:00:00.Z", "form"),
        ("2024-01-01Z", "form"),
        ("٢٠٢٤", "form"),
        ("2024-01-01T10:00:00Z\n", "form"),
        ("20240101", "form"),
        ("-2024", "form"),
        ("now", "form"),
    ],
)
def test_nonsense_is_refused_saying_why(text: str, why: str) -> None:
    with pytest.raises(Invalid, match="not a date") as caught:
        dates.interval(text, UTC)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("2024", "year"),
        ("2024-01", "month"),
        ("2024-01-01", "day"),
        ("2024-01-01T00:00", "minute"),
        ("2024-01-01T00:00:00Z", "second"),
        ("2024-01-01T00:00:00.0Z", "fraction"),
    ],
)
def test_precision(text: str, precision: str) -> None:
    assert dates.precision(text) == precision


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("00:00:00", (0, 1_000_000)),
        ("23:59", (86_340_000_000, 86_400_000_000)),
        ("12:00:00.25", (43_200_250_000, 43_200_260_000)),
    ],
)
def test_time(text: str, interval: tuple[int, int]) -> None:
    assert dates.time(text) == interval


@pytest.mark.parametrize("text", ["24:00:00", "12", "12:60:00", "1:00:00", ""])
def test_a_wrong_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        dates.time(text)


@pytest.mark.parametrize(
    ("period", "interval"),
    [
        ({"start": "2024", "end": "2024-06"}, (at(2024, 1, 1), at(2024, 7, 1))),
        ({"start": "2024"}, (at(2024, 1, 1), dates.OPEN_END)),
        ({"end": "2024"}, (dates.OPEN_START, at(2025, 1, 1))),
        ({}, (dates.OPEN_START, dates.OPEN_END)),
    ],
)
def test_period(period: dict[str, str], interval: tuple[int, int]) -> None:
    assert dates.period(period, UTC) == interval


@given(st.datetimes(timezones=st.timezones()))
def test_a_moment_written_with_its_offset_is_found_again(moment: datetime) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    if offset % timedelta(minutes=1) or abs(offset) > timedelta(hours=14):
        return  # an offset with seconds, as of 1890, has no FHIR form
    start, end = dates.interval(moment.isoformat(timespec="microseconds"), UTC)
    expected = (moment.replace(tzinfo=None) - datetime(1970, 1, 1)) // timedelta(
        microseconds=1
    ) - offset // timedelta(microseconds=1)
    assert (start, end) == (expected, expected + 1)


@given(st.integers(at(1, 1, 2), at(9999, 12, 30)))
def test_an_instant_reads_back_to_the_millisecond(microseconds: int) -> None:
    assert dates.interval(dates.instant(microseconds), UTC)[0] == microseconds - microseconds % 1000


@given(st.text(alphabet="0123456789-T:.+Z", max_size=30))
def test_any_text_gives_an_interval_or_a_clear_error(text: str) -> None:
    try:
        start, end = dates.interval(text, PARIS)
    except Invalid:
        return
    assert start < end
