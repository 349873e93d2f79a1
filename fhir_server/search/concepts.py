"""`:in`, `:not-in`, `:above`, `:below` on tokens: what the terminology says becomes the codes to look for.

A value set or hierarchy that cannot be listed here is refused by name: to pass over a part of it would answer
less, or with `:not-in` more, than was asked for.

FHIR R4 search.html#modifiers
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.search.nodes import Node, Not, Token
from fhir_server.search.parse import pieces, unescaped
from profiles.codes import CodeChecker
from profiles.outcomes import Invalid

MODIFIERS = ("in", "not-in", "above", "below")
MOST = 5_000
"""Codes that one parameter may stand for."""


def asked(code: str, modifier: str, written: Sequence[str], codes: CodeChecker | None, own_base: str) -> Node:
    """Raises Invalid for what the terminology does not know, or cannot list."""
    if codes is None:
        raise Invalid("no-terminology", f"'{code}:{modifier}' needs a terminology, and none is here")
    values = [unescaped(value) if modifier in ("in", "not-in") else value for value in written]
    pairs: dict[tuple[str | None, str | None], None] = {}
    for value in values:
        if modifier in ("in", "not-in"):
            pairs.update(dict.fromkeys(_members(code, value, codes, own_base)))
        else:
            pairs.update(dict.fromkeys(_relatives(code, modifier, value, codes)))
    if len(pairs) > MOST:
        raise Invalid("too-costly", f"'{code}:{modifier}' would stand for more than {MOST} codes")
    node = Token(code, tuple(pairs))
    return Not(node) if modifier == "not-in" else node


def _members(code: str, value: str, codes: CodeChecker, own_base: str) -> list[tuple[str, str]]:
    """The codes of a value set: named by its URL, or by its place on this server."""
    name = value.removeprefix(own_base + "/")
    found = codes.expand(name, limit=MOST + 1)
    if found is None:
        missing = codes.validate_code(name, None, "", None).unknown_systems
        why = f": {', '.join(missing)} is not loaded here" if missing else ", or is not known here"
        raise Invalid("unknown-value-set", f"'{code}': the codes of the value set cannot be listed{why}")
    return [(member.system, member.code) for member in found]


def _relatives(code: str, modifier: str, value: str, codes: CodeChecker) -> list[tuple[str, str]]:
    """The code and all above or below it."""
    parts = [unescaped(part) for part in pieces(value, "|")]
    if len(parts) != 2 or not all(parts):
        raise Invalid("bad-token", f"'{code}:{modifier}' takes [system]|[code], both needed")
    system = parts[0]
    ask = codes.subsumed if modifier == "below" else codes.ancestors
    found = ask(system, parts[1])
    if found is None:
        raise Invalid(
            "unknown-code", f"'{code}:{modifier}': {system} is not loaded here, or has no such code"
        )
    return [(system, each) for each in found]
