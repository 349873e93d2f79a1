"""The headers FHIR gives a meaning to: ETag, If-Match, If-None-Match, Last-Modified, Prefer. FHIR R4
http.html"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from fhir_server.interactions.entries import parse_etag
from fhir_server.store.contract import Version
from profiles.outcomes import Invalid

RETURNS = ("minimal", "representation", "OperationOutcome")


@dataclass(frozen=True, slots=True)
class Prefer:
    """What the client prefers; empty where it does not say. RFC 7240"""

    returning: str = ""
    handling: str = ""


def prefer(headers: Mapping[str, str]) -> Prefer:
    """Preferences not known here are ignored, as RFC 7240 §2 demands."""
    returning = handling = ""
    for part in headers.get("prefer", "").replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        value = value.strip().strip('"')
        if name.strip() == "return" and value in RETURNS:
            returning = value
        elif name.strip() == "handling" and value in ("strict", "lenient"):
            handling = value
    return Prefer(returning, handling)


def version_headers(version: Version) -> dict[str, str]:
    """ETag and Last-Modified of a version."""
    return {"ETag": f'W/"{version.version}"', "Last-Modified": _http_date(version.at // 1_000_000)}


@lru_cache(maxsize=4096)
def _http_date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)


def if_match(headers: Mapping[str, str]) -> int | None:
    """The version that a write demands, or None. Raises Invalid."""
    value = headers.get("if-match")
    return None if value is None else parse_etag(value)


def not_modified(headers: Mapping[str, str], version: Version) -> bool:
    """Whether the client has this version already. If-None-Match goes before If-Modified-Since. RFC 9110
    §13.2.2"""
    tags = headers.get("if-none-match")
    if tags is not None:
        return any(tag.strip().removeprefix("W/") in (f'"{version.version}"', "*") for tag in tags.split(","))
    since = headers.get("if-modified-since")
    if since is None:
        return False
    try:
        moment = parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return version.at // 1_000_000 <= moment.timestamp()


def whole_number(name: str, value: str, *, most: int = 2**62) -> int:
    """A parameter that is a whole number from 0. Raises Invalid naming it."""
    if not (value.isascii() and value.isdecimal()) or len(value) > 19 or int(value) > most:
        raise Invalid("bad-number", f"{name} is a whole number from 0 to {most}")
    return int(value)
