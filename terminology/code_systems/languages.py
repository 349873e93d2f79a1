"""Language tags: those that are well-formed, in any case of letters.

BCP 47 (RFC 5646 §2.1)
"""

from __future__ import annotations

import re

from terminology.code_systems.syntax import Syntax

_TAG = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"  # language, extended
    r"(?:-[a-z]{4})?"  # script
    r"(?:-(?:[a-z]{2}|[0-9]{3}))?"  # region
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"  # variants
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*"  # extensions
    r"(?:-x(?:-[a-z0-9]{1,8})+)?"  # private use
    r"|x(?:-[a-z0-9]{1,8})+",
    re.ASCII | re.IGNORECASE,
)
_IRREGULAR = frozenset(
    {
        "en-gb-oed", "i-ami", "i-bnn", "i-default", "i-enochian", "i-hak", "i-klingon", "i-lux", "i-mingo",
        "i-navajo", "i-pwn", "i-tao", "i-tay", "i-tsu", "sgn-be-fr", "sgn-be-nl", "sgn-ch-de",
    }
)  # fmt: skip
_MOST = 100


def is_language(code: str) -> bool:
    return len(code) <= _MOST and (_TAG.fullmatch(code) is not None or code.lower() in _IRREGULAR)


LANGUAGES = Syntax("urn:ietf:bcp:47", "Language tags", is_language)
