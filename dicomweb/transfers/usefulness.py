"""The order in which the series of an exam go: what is read first comes first. Pure; the rules are data
(`usefulness.toml`).

R078, R080
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dicomweb.attributes import Attributes, first, integer
from dicomweb.names import fold

LAST = 2**31  # the place of a series without a number


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a series before its images come; `images` None when the PACS does not say."""

    uid: str
    modality: str = ""
    description: str = ""
    number: int | None = None
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    rank: int
    modality: frozenset[str]
    words: re.Pattern[str] | None
    most: int | None

    def fits(self, series: Described) -> bool:
        if self.modality and series.modality not in self.modality:
            return False
        if self.most is not None and (series.images is None or series.images > self.most):
            return False
        return self.words is None or self.words.search(_plain(series.description)) is not None


def rank(series: Described) -> int:
    """Of the first rule that fits."""
    rules, otherwise = _rules()
    return next((rule.rank for rule in rules if rule.fits(series)), otherwise)


def in_order(series: Iterable[Described]) -> list[str]:
    """The UIDs, the most useful first."""
    found = sorted(series, key=lambda one: (rank(one), LAST if one.number is None else one.number, one.uid))
    return [one.uid for one in found]


def described(attributes: Attributes, uid: str = "", images: int | None = None) -> Described:
    """Of a series' attributes as QIDO-RS, C-FIND or the index have them."""
    return Described(
        uid or first(attributes, "0020000E"),
        first(attributes, "00080060"),
        first(attributes, "0008103E"),
        integer(attributes, "00200011"),
        integer(attributes, "00201209") if images is None else images,
    )


def early(series: Sequence[Sequence[str]]) -> list[str]:
    """The instances of the first series, then one of each other, so that there is something to see of every
    series, then the rest, series by series."""
    if not series:
        return []
    head, *others = series
    return [*head, *(one[0] for one in others if one), *(uid for one in others for uid in one[1:])]


def _plain(text: str) -> str:
    """Folded words, each followed by one space."""
    return fold(text) + " "


@cache
def _rules() -> tuple[tuple[Rule, ...], int]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return tuple(_rule(one) for one in table["rule"]), int(table["otherwise"])


def _rule(row: dict[str, object]) -> Rule:
    words, modality, most = row.get("words", ()), row.get("modality", ()), row.get("most")
    assert isinstance(words, (list, tuple))
    assert isinstance(modality, (list, tuple))
    pattern = re.compile("|".join(rf"\b{re.escape(str(one))}" for one in words)) if words else None
    return Rule(
        int(str(row["rank"])),
        frozenset(map(str, modality)),
        pattern,
        None if most is None else int(str(most)),
    )
