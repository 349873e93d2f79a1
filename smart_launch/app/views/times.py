"""FHIR dates and instants as French readers write them, in the platform's zone. Pure: the present is an
argument.
"""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import Any

from smart_launch.app import words


def moment(text: Any, zone: tzinfo) -> datetime | None:
    """A FHIR dateTime or instant with a time part, in `zone`; None when it is only a date, or not
    readable.
    """
    if not isinstance(text, str) or "T" not in text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found.replace(tzinfo=zone) if found.tzinfo is None else found.astimezone(zone)


def day(text: Any) -> str:
    """`1953-05-17` → `17/05/1953`; a partial date keeps its precision: `1953-05` → `05/1953`."""
    if not isinstance(text, str):
        return ""
    return "/".join(reversed(text.split("T")[0].split("-")))


def date_of(at: datetime) -> str:
    return at.strftime("%d/%m/%Y")


def time_of(at: datetime) -> str:
    """The French form of the requirement R104: `05h34`."""
    return at.strftime("%Hh%M")


def date_at_time(at: datetime) -> str:
    """`08/08/2024 à 05h34`."""
    return words.DATE_AT_TIME.format(date=date_of(at), time=time_of(at))


def ago(at: datetime, now: datetime) -> str:
    """`il y a 12 min`. A moment of the future (clocks differ) is just now."""
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 1:
        return words.JUST_NOW
    if minutes < 60:
        return words.AGO_MINUTES.format(n=minutes)
    if minutes < 48 * 60:
        return words.AGO_HOURS.format(n=minutes // 60)
    return words.AGO_DAYS.format(n=minutes // 1440)


def age(birth: Any, today: date) -> str:
    """`71 ans`; months under two years; empty when only the year, or nothing readable, is known."""
    try:
        born = date.fromisoformat(str(birth))
    except ValueError:
        return ""
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    if months < 0:
        return ""
    if months < 24:
        return words.MONTHS.format(n=months)
    return words.YEARS.format(n=months // 12)
