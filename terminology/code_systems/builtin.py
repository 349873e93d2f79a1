"""The code systems that come without a CodeSystem resource, by their URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from zoneinfo import available_timezones

from terminology.code_systems.concept import System
from terminology.code_systems.iso import countries, currencies
from terminology.code_systems.languages import LANGUAGES
from terminology.code_systems.media_types import MEDIA_TYPES
from terminology.code_systems.syntax import Syntax
from terminology.code_systems.ucum import UCUM

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+", re.ASCII)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


URIS = Syntax("urn:ietf:rfc:3986", "URIs", lambda code: _URI.fullmatch(code) is not None)
TIME_ZONES = Syntax("https://www.iana.org/time-zones", "Time zones", lambda code: code in _zones())

_GRAMMARS: Mapping[str, System] = MappingProxyType(
    {system.url: system for system in (UCUM, MEDIA_TYPES, LANGUAGES, URIS, TIME_ZONES)}
)
_LISTS: Mapping[str, Callable[[], System]] = MappingProxyType(
    {"urn:iso:std:iso:3166": countries, "urn:iso:std:iso:4217": currencies}
)


def builtin(url: str) -> System | None:
    """None for any other."""
    listed = _LISTS.get(url)
    return _GRAMMARS.get(url) if listed is None else listed()
