"""Whether an attribute of a dataset fits a Match: for what the index has no column for. Pure.

A sequence matches when one of its items does; an attribute with several values when one of them does. A range
compares as text, which for DA, TM and DT is their order. PS3.4 §C.2.2.2 (attribute matching)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dicomweb.attributes import Attributes, values
from dicomweb.index.contract import How, Match
from dicomweb.names import fold

LONGEST_TEXT = 10_240  # characters that are compared with a pattern: an LT has no more
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def matches(attributes: Attributes, match: Match) -> bool:
    """`match.path` names the attribute."""
    return fits(texts(attributes, match.path, match.vr), match.how, match.values)


def fits(found: Iterator[str], how: How, wanted: Sequence[str]) -> bool:
    """Whether one of the values found does what is wanted."""
    if how == "exact":
        return any(text in wanted for text in found)
    if how == "like":
        return any(glob(wanted[0], text) for text in found)
    if how == "words":
        return any(all(word in text for word in wanted) for text in found)
    if how == "empty":
        return not any(found)
    low, high = wanted
    return any(text and (not low or text >= low) and (not high or text <= high) for text in found)


def texts(attributes: Attributes, path: Sequence[str], vr: str = "") -> Iterator[str]:
    """The values at the end of a path, as text; of names every group, folded."""
    tag, *rest = path
    for value in values(attributes, tag):
        if rest:
            if isinstance(value, Mapping):
                yield from texts(value, rest, vr)
        elif vr == "PN":
            yield from (fold(group) for group in name_groups(value) if group)
        elif value is not None and not isinstance(value, Mapping):
            yield _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def name_groups(value: Any) -> Sequence[str]:
    """The alphabetic, ideographic and phonetic groups that a name has."""
    if isinstance(value, Mapping):
        return [str(value[group]) for group in _GROUPS if value.get(group)]
    return [str(value)] if value else []


def glob(pattern: str, text: str) -> bool:
    """`*` any characters, `?` one, everything else itself; time at most pattern × text, so of a text that is
    very long the beginning is looked at."""
    text = text[:LONGEST_TEXT]
    p = t = 0
    star, mark = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p, t = p + 1, t + 1
        elif star >= 0:
            mark += 1
            p, t = star + 1, mark
        else:
            return False
    return not pattern[p:].strip("*")
