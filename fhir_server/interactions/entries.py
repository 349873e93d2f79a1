"""A bundle's entries, checked and taken apart before anything is done. FHIR R4 bundle.html,
http.html#transaction"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from fhir_server.interactions.engine import Resource
from fhir_server.interactions.visibility import ID
from profiles import definitions
from profiles.outcomes import Invalid

VERBS = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
_WRITES = ("DELETE", "PUT", "PATCH")
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
ABSENT, PRESENT = 0, -1
"""What a write may demand instead of a version number: that nothing is there, that something is."""
_ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')


@dataclass(frozen=True, slots=True)
class Item:
    """One entry. `segments` are the address's path, `query` its parameters, `place` its name in messages."""

    index: int
    verb: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    resource: Resource | None
    full_url: str
    if_match: int | None
    if_none_exist: tuple[tuple[str, str], ...] | None
    if_none_match: str | None = None
    if_modified_since: str | None = None

    @property
    def type(self) -> str:
        return self.segments[0] if self.segments else ""

    @property
    def id(self) -> str:
        return self.segments[1] if len(self.segments) > 1 else ""

    @property
    def condition(self) -> tuple[tuple[str, str], ...] | None:
        """What the one resource must match that is updated, patched or deleted; None when an id names it."""
        return self.query if self.verb in _WRITES and len(self.segments) == 1 else None

    @property
    def place(self) -> str:
        return f"Bundle.entry[{self.index}]"

    @property
    def order(self) -> int:
        """DELETE, POST, PUT and PATCH, GET and HEAD: the standard's order of processing."""
        return _ORDER[self.verb]


def parse_etag(value: str) -> int:
    """The version that `W/"3"` names. Raises Invalid."""
    found = _ETAG.fullmatch(value.strip())
    if not found:
        raise Invalid("bad-etag", 'an ETag of this server looks like W/"3"')
    return int(found[1])


def demanded(if_match: str | None, if_none_match: str | None) -> int | None:
    """What a write demands of the current version: its number, PRESENT for `If-Match: *`, ABSENT for
    `If-None-Match: *`. Raises Invalid. RFC 9110 §13.1"""
    if if_match:
        return PRESENT if if_match.strip() == "*" else parse_etag(if_match)
    if if_none_match:
        if if_none_match.strip() != "*":
            raise Invalid("bad-etag", "If-None-Match of a write is *: nothing may be there yet")
        return ABSENT
    return None


def parse_query(text: str) -> tuple[tuple[str, str], ...]:
    """Parameters in order, blank values kept. Raises Invalid beyond 1,000 of them."""
    try:
        return tuple(parse_qsl(text.lstrip("?"), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise Invalid("too-many-parameters", "more than 1,000 parameters") from error


def split(bundle: Resource, fhir_base: str) -> list[Item | Invalid]:
    """Every entry as an Item, or as the error that it is; a batch answers each, a transaction raises the
    first. Raises Invalid when the bundle itself is wrong."""
    raw = bundle.get("entry", [])
    if not isinstance(raw, list):
        raise Invalid("bad-bundle", "Bundle.entry is not an array", expression="Bundle.entry")
    result: list[Item | Invalid] = []
    for index, entry in enumerate(raw):
        try:
            result.append(_item(index, entry, fhir_base))
        except Invalid as error:
            result.append(error)
    return result


def _item(index: int, entry: Any, fhir_base: str) -> Item:
    place = f"Bundle.entry[{index}]"
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict):
        raise Invalid("no-request", f"{place} has no request", expression=place)
    for name in ("method", "url", "ifMatch", "ifNoneExist", "ifNoneMatch", "ifModifiedSince"):
        if name in request and not isinstance(request[name], str):
            raise Invalid(
                "bad-request", f"{place}.request.{name} is not a string", expression=f"{place}.request.{name}"
            )
    verb, url, full_url = request.get("method", ""), request.get("url", ""), entry.get("fullUrl", "")
    if verb not in VERBS:
        raise Invalid(
            "bad-method",
            f"{place}.request.method is none of {', '.join(VERBS)}",
            expression=f"{place}.request.method",
        )
    if not isinstance(full_url, str):
        raise Invalid("bad-full-url", f"{place}.fullUrl is not a string", expression=f"{place}.fullUrl")
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise Invalid("not-a-resource", f"{place}.resource is not an object", expression=f"{place}.resource")
    path, _, query = url.removeprefix(fhir_base).strip("/").partition("?")
    item = Item(
        index,
        verb,
        tuple(unquote(part) for part in path.split("/") if part),
        parse_query(query),
        resource,
        full_url,
        demanded(request.get("ifMatch"), request.get("ifNoneMatch") if verb not in ("GET", "HEAD") else None),
        parse_query(request["ifNoneExist"]) if request.get("ifNoneExist") else None,
        request.get("ifNoneMatch"),
        request.get("ifModifiedSince"),
    )
    _check(item)
    return item


def _check(item: Item) -> None:
    """The address fits the verb and the resource. Raises Invalid."""
    url = f"{item.place}.request.url"
    if not item.segments and item.query and item.verb in ("GET", "HEAD"):
        return  # a search of several types
    if not item.segments:
        raise Invalid("bad-url", f"{url} names no resource type", expression=url)
    past = item.segments == ("_history",) and item.verb in ("GET", "HEAD")
    if item.type not in definitions.resource_types() and not item.type.startswith("$") and not past:
        raise Invalid("unknown-type", f"{url} starts with no resource type of FHIR R4", expression=url)
    if item.verb in _WRITES and not (len(item.segments) == 2 or item.query) and not is_operation(item):
        raise Invalid("bad-url", f"{url} names neither an id nor a condition", expression=url)
    if item.verb in _WRITES and len(item.segments) == 2 and item.query:
        raise Invalid("bad-url", f"{url} names an id and a condition: one of them", expression=url)
    if item.verb in ("POST", "PUT", "PATCH") and item.resource is None:
        raise Invalid("no-resource", f"{item.place} has no resource", expression=item.place)
    if item.resource is None or is_operation(item):
        return
    type = item.resource.get("resourceType")
    if item.verb == "PATCH":
        if type not in ("Binary", "Parameters"):
            text = f"{item.place}: a patch is a Parameters or a Binary resource"
            raise Invalid("bad-patch", text, expression=item.place)
        return
    if type != item.type:
        raise Invalid("wrong-type", f"{url} and the type of the resource differ", expression=url)
    if item.verb == "POST" and len(item.segments) != 1:
        raise Invalid("bad-url", f"{url}: a POST that creates names the type alone", expression=url)
    if item.verb == "PUT" and len(item.segments) == 2:
        if not ID.fullmatch(item.id):
            raise Invalid(
                "bad-id", f"{url}: an id has 1 to 64 characters out of A-Z a-z 0-9 - .", expression=url
            )
        if item.resource.get("id") not in (None, item.id):
            raise Invalid("wrong-id", f"{url} and the id of the resource differ", expression=url)


def is_operation(item: Item) -> bool:
    """Whether the address ends in `$name`."""
    return bool(item.segments) and item.segments[-1].startswith("$")
