"""A Bundle made around stored bytes: searchset, history and response Bundles without parsing what they carry.

FHIR R4 bundle.html, search.html#return
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from profiles import codec


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: the stored body (None: no resource), and the small parts around it as they stand in the
    Bundle."""

    body: bytes | None
    full_url: str = ""
    search: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None

    def dump(self) -> bytes:
        """The entry as JSON."""
        parts: list[bytes] = []
        if self.full_url:
            parts.append(b'"fullUrl":' + orjson.dumps(self.full_url))
        if self.body is not None:
            parts.append(b'"resource":' + self.body)
        for name, value in (("search", self.search), ("request", self.request), ("response", self.response)):
            if value is not None:
                parts.append(b'"%s":' % name.encode() + orjson.dumps(value))
        return b"{" + b",".join(parts) + b"}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A Bundle to be. `links` are (relation, absolute address); `total` None leaves it out."""

    type: str
    entries: Sequence[Entry]
    total: int | None = None
    links: Sequence[tuple[str, str]] = ()
    at: str = ""

    def dump(self) -> bytes:
        """The Bundle as JSON; an empty list is left out, as FHIR wants no empty arrays."""
        head: dict[str, Any] = {"resourceType": "Bundle", "type": self.type}
        if self.at:
            head["meta"] = {"lastUpdated": self.at}
        if self.total is not None:
            head["total"] = self.total
        if self.links:
            head["link"] = [{"relation": relation, "url": url} for relation, url in self.links]
        body = orjson.dumps(head)
        if not self.entries:
            return body
        return body[:-1] + b',"entry":[' + b",".join(entry.dump() for entry in self.entries) + b"]}"

    def parsed(self) -> dict[str, Any]:
        """The Bundle as a dict, for callers in the process."""
        return codec.parse(self.dump())
