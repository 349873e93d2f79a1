"""The headers FHIR gives a meaning to: ETag, If-Match, If-None-Match, Last-Modified, Prefer. FHIR R4
http.html"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from fhir_server.interactions import entries
from fhir_server.interactions.read import not_modified
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


def demanded(headers: Mapping[str, str]) -> int | None:
    """What a write demands of the current version, or None. Raises Invalid."""
    return entries.demanded(headers.get("if-match"), headers.get("if-none-match"))


def current(headers: Mapping[str, str], version: Version) -> bool:
    """Whether the client has this version already: then the answer is 304."""
    return not_modified(version, headers.get("if-none-match"), headers.get("if-modified-since"))


def whole_number(name: str, value: str, *, most: int = 2**62) -> int:
    """A parameter that is a whole number from 0. Raises Invalid naming it."""
    if not (value.isascii() and value.isdecimal()) or len(value) > 19 or int(value) > most:
        raise Invalid("bad-number", f"{name} is a whole number from 0 to {most}")
    return int(value)
