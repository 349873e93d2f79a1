"""Links inside a bundle: from what its author wrote to what the store will hold.

Three kinds are rewritten: another entry's fullUrl (urn:uuid, urn:oid or absolute), a relative reference
whose entry came from the same other server, and a conditional reference (`Patient?identifier=…`).
FHIR R4 http.html#trules, bundle.html#references
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fhir_server.interactions.engine import Resource
from profiles import references

_HOME = re.compile(r"(?P<base>https?://.+)/[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}(/_history/.+)?")


def conditional(resource: Resource) -> Iterator[tuple[str, str, str]]:
    """Each conditional reference: (as written, the type it asks for, where it stands)."""
    for place, holder in references.walk(resource):
        if "?" in holder["reference"]:
            link = references.parse(holder["reference"])
            if link.kind == "conditional":
                yield link.target, link.type, references.told(place)


def relinked(resource: Resource, resolve: Callable[[str], str | None]) -> tuple[Resource, list[str]]:
    """A copy with every link replaced that `resolve` knows, and the places of urns it does not: a link that
    leads nowhere must not be stored."""
    copy: Resource = _copied(resource)
    references.rewrite(copy, resolve)
    lost = [
        references.told(place)
        for place, holder in references.walk(copy)
        if holder["reference"].startswith("urn:")
    ]
    return copy, lost


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_copied(value) for value in node]
    return node


def resolver(known: Mapping[str, str], full_url: str) -> Callable[[str], str | None]:
    """The look-up for one entry's resource. `known`: fullUrl or conditional reference → "Type/id". A version
    behind another entry's address is dropped: the new resource starts its own history."""
    home = _HOME.fullmatch(full_url)
    base = home["base"] + "/" if home else ""

    def resolve(text: str) -> str | None:
        if text in known:
            return known[text]
        link = references.parse(text)
        if link.kind == "local" and base:
            return known.get(f"{base}{link.type}/{link.id}")
        if link.kind == "absolute" and link.id:
            return known.get(text[: text.index(f"/{link.type}/{link.id}") + len(f"/{link.type}/{link.id}")])
        return None

    return resolve
