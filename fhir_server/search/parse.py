"""The grammar of search parameters: a decoded (name, value) pair → a Step. Knows no resource type and no
definitions.

    name:exact=Du%5C,pont,Martin        Leaf("name", "exact", ("Du\\,pont", "Martin"))
    subject:Patient.name=x              ChainStep("subject", "Patient", Leaf("name", …))
    _has:Task:focus:owner=x             HasStep("Task", "focus", Leaf("owner", …))

Values are split at the commas that are not escaped, and keep their escapes until `bind` has split them
further (`pieces`) and reads them (`unescaped`).

FHIR R4 search.html#escaping, #chaining, #has
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from profiles.outcomes import Invalid

DEEPEST = 8  # hops of a chain or `_has`
MOST_CHAINS = 12  # types that an untyped chain may fan out to
MOST_WAYS = 64  # … all of its hops taken together
MOST_VALUES = 2_000  # alternatives of one parameter
_CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter with its modifier ("" for none) and its alternatives, still escaped."""

    code: str
    modifier: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainStep:
    """`code.next`, or `code:Type.next`; `type` is "" when not said."""

    code: str
    type: str
    next: Step


@dataclass(frozen=True, slots=True)
class HasStep:
    """`_has:type:code:next`: some resource of `type` refers here by `code`, and matches `next`."""

    type: str
    code: str
    next: Step


Step = Leaf | ChainStep | HasStep


def parse(name: str, value: str) -> Step:
    """Raises Invalid: a malformed name, an empty value, too deep."""
    return _step(name, name, value, DEEPEST)


def pieces(text: str, separator: str) -> list[str]:
    """Split at every separator without a backslash before it; the escapes stay."""
    found, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            found.append(text[start:at])
            start = at + 1
        at += 1
    return [*found, text[start:]]


def unescaped(text: str) -> str:
    r"""`\,` `\|` `\$` `\\` as the character itself; any other backslash stays."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def escaped(text: str) -> str:
    r"""The opposite of `unescaped`: what is written so that it means `text`."""
    return re.sub(r"([\\,|$])", r"\\\1", text)


def _step(whole: str, name: str, value: str, left: int) -> Step:
    if left < 0:
        raise Invalid("chain-too-deep", f"'{_short(whole)}' goes through more than {DEEPEST} references")
    if name.startswith("_has:"):
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(_CODE.fullmatch(part) for part in parts[1:3]):
            raise Invalid(
                "bad-parameter-name", f"'{_short(whole)}': the form is _has:[type]:[reference]:[parameter]"
            )
        return HasStep(parts[1], parts[2], _step(whole, parts[3], value, left - 1))
    head, dot, rest = name.partition(".")
    code, _, qualifier = head.partition(":")
    if not _CODE.fullmatch(code) or (qualifier and not _CODE.fullmatch(qualifier)) or head.endswith(":"):
        raise Invalid("bad-parameter-name", f"'{_short(whole)}' is not the name of a search parameter")
    if dot:
        return ChainStep(code, qualifier, _step(whole, rest, value, left - 1))
    return Leaf(code, qualifier, (value,) if code == "_filter" else _values(whole, value))


def _values(whole: str, value: str) -> tuple[str, ...]:
    values = tuple(pieces(value, ","))
    if not all(each.strip() for each in values):
        raise Invalid(
            "empty-value",
            f"'{_short(whole)}' has an empty value; leave the parameter out, or escape "
            r"a comma that is part of the value as \,",
        )
    if len(values) > MOST_VALUES:
        raise Invalid("too-many-values", f"'{_short(whole)}' has more than {MOST_VALUES} values")
    return values


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:80] + "…"
