"""Answers to what is not offered, each naming what is."""

from __future__ import annotations

import difflib

from profiles import definitions
from profiles.outcomes import NotAllowed, NotFound


class _NotAllowed(NotAllowed):
    """405 with its Allow header."""

    allow = ""


def not_allowed(allow: str) -> NotAllowed:
    """The address exists, the method does not. `allow` is the header's value."""
    error = _NotAllowed("method", f"this address takes {allow or 'no method'}")
    error.allow = allow
    return error


def unknown_type(name: str) -> NotFound:
    """No such type, and the types whose names are near."""
    near = difflib.get_close_matches(name[:64], sorted(definitions.resource_types()), 3, 0.6)
    tail = f"; did you mean {' or '.join(near)}?" if near else ""
    return NotFound("unknown-type", f"{name[:64]!r} is not a resource type of FHIR R4{tail}")


def unknown_address() -> NotFound:
    """No such place below the base."""
    return NotFound("unknown-address", "no such address; GET metadata tells what is offered")
