"""Lines and columns for findings: where in the JSON text the element of a FHIRPath begins.

A finding names its element by an expression. The way there is looked up in the parsed resource, as far as it
goes (what is missing stands where its parent is), and one pass over the text finds the places that were asked
for. RFC 8259
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from profiles.outcomes import Issue

Way = tuple[str | int, ...]
"""Member names and list places, from the root of the text."""
MAX_TEXT = 5_000_000
"""Bytes; beyond, findings go without: a pass over a megabyte takes a quarter of a second."""
_STEP = re.compile(r"([^.\[(]+)(?:\.ofType\(([^)]*)\))?(?:\[(\d+)\])?")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def located(body: bytes, resource: Any, issues: Sequence[Issue], root: Way = ()) -> list[Issue]:
    """The same findings, with the line and column of their elements, both from 1. `resource` is what was
    parsed of the body; expressions start at `root` in it."""
    if len(body) > MAX_TEXT or not any(issue.expression for issue in issues):
        return list(issues)
    ways = [(*root, *way(_at(resource, root), issue.expression)) for issue in issues]
    text = body.decode("utf-8", "replace")
    offsets = _offsets(text, ways)
    lines = [-1, *(match.start() for match in re.finditer("\n", text))]
    found = []
    for issue, its_way in zip(issues, ways, strict=True):
        offset = offsets.get(its_way)
        if issue.expression and offset is not None:
            line = bisect_right(lines, offset - 1)
            issue = replace(issue, line=line, column=offset - lines[line - 1])
        found.append(issue)
    return found


def way(resource: Any, expression: str) -> Way:
    """The members and places of an expression, as far as they are in the resource. What stands below a
    primitive is in its `_name` member."""
    found: list[str | int] = []
    at = resource
    for name, of_type, place in _STEP.findall(expression.partition(".")[2]):
        key = name + of_type[:1].upper() + of_type[1:]
        beside = "_" + key
        if not isinstance(at, dict):
            above = found[-1] if found and isinstance(found[-1], str) else ""
            holder = _at(resource, tuple(found[:-1]))
            if not above or not isinstance(holder, dict) or not isinstance(holder.get("_" + above), dict):
                break
            found[-1], at = "_" + above, holder["_" + above]
        if key not in at and beside not in at:
            break
        key = key if key in at else beside
        found.append(key)
        at = at[key]
        if place and isinstance(at, list) and int(place) < len(at):
            found.append(int(place))
            at = at[int(place)]
    return tuple(found)


def _at(resource: Any, steps: Way) -> Any:
    for step in steps:
        resource = resource[step]
    return resource


@dataclass(slots=True)
class _Wanted:
    """A place that is asked for, or lies on the way to one."""

    way: Way
    below: dict[str | int, _Wanted] = field(default_factory=dict)


def _offsets(text: str, ways: Sequence[Way]) -> dict[Way, int]:
    """Where each way's member name, or list item, begins."""
    root = _Wanted(())
    for each in ways:
        at = root
        for step in each:
            at = at.below.setdefault(step, _Wanted((*at.way, step)))
    found: dict[Way, int] = {}
    stack: list[_Frame] = []
    here: _Wanted | None = root
    start = 0
    for token in _TOKEN.finditer(text):
        what = token.group()
        if what == ":":
            continue
        frame = stack[-1] if stack else None
        if what == ",":
            if frame is not None:
                frame.next()
            continue
        if what in "}]":
            if stack:
                stack.pop()
            continue
        if frame is not None and frame.expects_name:
            frame.named(what, token.start())
            continue
        here, start = (root, token.start()) if frame is None else frame.value(token.start())
        if here is not None:
            found.setdefault(here.way, start)
        if what in "{[":
            stack.append(_Frame(here, is_list=what == "["))
    return found


@dataclass(slots=True)
class _Frame:
    """An open object or list of the text."""

    wanted: _Wanted | None
    is_list: bool
    place: int = 0
    name: str | None = None
    start: int = 0

    @property
    def expects_name(self) -> bool:
        return not self.is_list and self.name is None

    def next(self) -> None:
        self.place += 1
        self.name = None

    def named(self, token: str, start: int) -> None:
        self.name, self.start = token[1:-1], start

    def value(self, start: int) -> tuple[_Wanted | None, int]:
        """What is wanted of the value that begins, and where it does: an object's at its name."""
        if self.wanted is None:
            return None, start
        if self.is_list:
            return self.wanted.below.get(self.place), start
        return self.wanted.below.get(self.name or ""), self.start
