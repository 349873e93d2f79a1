"""A gateway's report: what is sent is what is read, and nothing else gets in."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dicomweb.gateway.report import Reachable, Report, of_json
from profiles.outcomes import Invalid

MINUTE = 60_000_000
REPORT = Report(
    at=28_000_000 * MINUTE, version="1.4", waiting=3, waiting_bytes=1_574_000, oldest=12.5, refused=1,
    disk_free=9 * 10**10, disk_total=25 * 10**10, delivered=27_999_999 * MINUTE,
    peers=(Reachable("pacs-auch", True), Reachable("CT1", False)),
)  # fmt: skip


@pytest.mark.parametrize("report", [REPORT, Report(at=MINUTE)])
def test_there_and_back(report: Report) -> None:
    assert of_json(orjson.loads(orjson.dumps(report.as_json()))) == report


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "2026-03-02T08:00:00"}, {"at": "yesterday"}, {"at": None}, {"at": 3}, {"version": 3},
        {"version": "x" * 65}, {"version": "a\nb"}, {"waiting": []}, {"waiting": {"instances": -1}},
        {"waiting": {"bytes": "3"}}, {"waiting": {"oldest": True}}, {"refused": 1e300}, {"disk": 3},
        {"disk": {"free": float("nan")}}, {"peers": {}}, {"peers": [{}]}, {"peers": [{"id": "a"}]},
        {"peers": [{"id": "a", "reachable": 1}]}, {"peers": [{"id": "a", "reachable": True}] * 51},
        {"delivered": "2026-02-30T00:00:00Z"}, {"at": "1970-01-01T00:00:00+14:00"},
        {"at": "9998-12-31T23:59:59-00:01"}, {"delivered": "9999-12-31T23:59:59-23:59"},
        {"delivered": "0001-01-01T00:00:00+23:59"},
    ],
)  # fmt: skip
def test_what_is_no_report(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        of_json({**REPORT.as_json(), **wrong})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(REPORT.as_json())), JSON))
def test_anything_at_all_is_a_report_or_is_invalid(body: dict[str, Any]) -> None:
    try:
        of_json({**REPORT.as_json(), **body})
    except Invalid:
        return


@settings(max_examples=200, deadline=None)
@given(st.datetimes(timezones=st.timezones(), allow_imaginary=False))
@example(datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(datetime(9998, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12))))
@example(datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-12))))
def test_any_clock_that_is_taken_can_be_read_again(at: datetime) -> None:
    try:
        report = of_json({**REPORT.as_json(), "at": at.isoformat(), "delivered": at.isoformat()})
    except Invalid:
        return
    assert of_json(report.as_json()) == report
