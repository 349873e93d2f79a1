"""Amounts as an operator writes them: `500 GB`, `90d`, and a list of them by site: `ch-dreux=500GB, *=2TB`.
Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "y": 365.25 * 86_400}
OTHERS = "*"
Amount = TypeVar("Amount")


def size(text: str) -> int:
    """Bytes. Raises ValueError."""
    return int(_amount(text.upper(), _BYTES))


def duration(text: str) -> float:
    """Seconds. Raises ValueError."""
    return _amount(text, _SECONDS)


def _amount(text: str, units: Mapping[str, float]) -> float:
    found = _AMOUNT.fullmatch(text.strip())
    if not found or found[2] not in units:
        raise ValueError(f"{text!r} is no number with one of {', '.join(units)}")
    return float(found[1]) * units[found[2]]


def by_site(text: str, read: Callable[[str], Amount]) -> dict[str, Amount]:
    """Site (in lower case; `*`: every other) → amount. Raises ValueError."""
    found: dict[str, Amount] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        site, equals, amount = part.partition("=")
        if not equals or not site.strip() or site.strip().lower() in found:
            raise ValueError(f"{part!r} is no SITE=AMOUNT, or names a site twice")
        found[site.strip().lower()] = read(amount)
    return found


def of_site(amounts: Mapping[str, Amount], site: str) -> Amount | None:
    """What holds for a site; None when nothing does."""
    return amounts.get(site, amounts.get(OTHERS))
