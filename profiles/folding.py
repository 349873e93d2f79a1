"""Folding text for search: what differs only in case, accents, ligatures or spaces becomes equal.

FHIR R4 search.html#string
"""

from __future__ import annotations

import unicodedata

_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "’": "'"})


def fold(text: str) -> str:
    """ "  LŒTITIA  Désirée " → "loetitia desiree". Folding folded text changes nothing."""
    if not text.isascii():
        text = unicodedata.normalize(
            "NFKD", unicodedata.normalize("NFKD", text).casefold().translate(_LIGATURES)
        )
        text = "".join(character for character in text if not unicodedata.combining(character))
    return " ".join(text.lower().split())
