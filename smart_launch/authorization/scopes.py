"""Scopes: the grammar of SMART 2.2 and its first version's spelling, and what a granted scope lets an Access
do.

    (patient|user|system)/(ResourceType|*).[c][r][u][d][s]     version 2, letters in that order
    (patient|user|system)/(ResourceType|*).(read|write|*)      version 1 = rs, cud, cruds

A finer constraint (`?category=…`) is refused: an Access cannot hold one yet, and granting more than was
asked is worse than refusing. SMART App Launch 2.2 scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fhir_server.access import Scope

ORDER = "cruds"
_FIRST_VERSION = {"read": "rs", "write": "cud", "*": "cruds"}
_GRAMMAR = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<rights>read|write|\*|c?r?u?d?s?)\Z"
)


class BadScope(ValueError):
    """The text is no scope, or one that is not granted here; plain ASCII, for the error_description."""


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """One resource scope; `letters` in the order of cruds. `text` is the spelling it was asked in."""

    context: str
    type: str
    letters: str
    text: str = ""

    def __str__(self) -> str:
        return self.text or f"{self.context}/{self.type}.{self.letters}"

    def within(self, other: ResourceScope) -> ResourceScope | None:
        """What both grant; None when nothing. The spelling is kept as long as nothing is taken away."""
        if self.context != other.context or not (self.type == other.type or "*" in (self.type, other.type)):
            return None
        letters = "".join(letter for letter in ORDER if letter in self.letters and letter in other.letters)
        type = other.type if self.type == "*" else self.type
        if not letters:
            return None
        if (type, letters) == (self.type, self.letters):
            return self
        return ResourceScope(self.context, type, letters)


def parse(text: str) -> ResourceScope:
    """One scope of either version. Raises BadScope."""
    if "?" in text:
        raise BadScope("scopes with search parameters are not granted here")
    match = _GRAMMAR.match(text)
    if match is None or not match["rights"]:
        raise BadScope("not a scope of this server: expected system/Type.cruds, letters in that order")
    rights = match["rights"]
    return ResourceScope(match["context"], match["type"], _FIRST_VERSION.get(rights, rights), text)


def parse_all(text: str) -> tuple[ResourceScope, ...]:
    """A space separated list, duplicates dropped. Raises BadScope. RFC 6749 §3.3"""
    return tuple(parse(word) for word in dict.fromkeys(text.split()))


def grant(asked: str, allowed: str) -> str:
    """The scopes to grant to a machine: what it asks within what it was registered for; all of that if it
    asks nothing. Raises BadScope when a scope is malformed or nothing remains."""
    registered = parse_all(allowed)
    wanted = parse_all(asked) if asked.strip() else registered
    if any(scope.context != "system" for scope in wanted):
        raise BadScope("a client without a user gets system scopes only")
    granted = [both for scope in wanted for limit in registered if (both := scope.within(limit))]
    if not granted:
        raise BadScope("none of these scopes was registered for this client")
    return " ".join(dict.fromkeys(str(scope) for scope in granted))


def rights(granted: str) -> tuple[Scope, ...]:
    """The Access scopes of a granted list; launch and identity scopes give no right on resources. Raises
    BadScope."""
    return tuple(
        Scope(scope.type, scope.letters) for scope in parse_all(granted) if scope.context == "system"
    )
