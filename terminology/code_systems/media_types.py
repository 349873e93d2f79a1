"""Media types, `type/subtype` with parameters, of any registered top-level type; and the short names that
FHIR itself gives its formats, which stand in CapabilityStatements.

RFC 6838 §4.2; BCP 13; FHIR R4 http.html#mime-type
"""

from __future__ import annotations

import re

from terminology.code_systems.syntax import Syntax

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}"
_TYPES = (
    "application|audio|example|font|haptics|image|message|model|multipart|text|video|x-[A-Za-z0-9\\-]{1,60}"
)
_VALUE = r"(?:[^\s;\"][^;\"\x00-\x1f]*|\"[^\"\\]*\")"
_MEDIA_TYPE = re.compile(rf"(?:{_TYPES})/{_NAME}(?: ?; ?{_NAME}={_VALUE})*", re.ASCII | re.IGNORECASE)
_SHORT = frozenset({"xml", "json", "ttl", "html"})
_MOST = 255


def is_media_type(code: str) -> bool:
    return len(code) <= _MOST and (_MEDIA_TYPE.fullmatch(code) is not None or code in _SHORT)


MEDIA_TYPES = Syntax("urn:ietf:bcp:13", "Media types", is_media_type)
