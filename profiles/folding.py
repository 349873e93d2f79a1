"""Folding text for search: what differs only in case, accents, ligatures or spaces becomes equal.

FHIR R4 search.html#string
"""

from __future__ import annotations

import re
import unicodedata

_MARKS = re.compile("[\u0300-\u036f]+")  # nearly all there are in Latin script
_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "’": "'"})


def fold(text: str) -> str:
    """ "  LŒTITIA  Désirée " → "loetitia desiree". Folding folded text changes nothing."""
    if not text.isascii():
        text = unicodedata.normalize(
            "NFKD", unicodedata.normalize("NFKD", text).casefold().translate(_LIGATURES)
        )
        text = _MARKS.sub("", text)
        if not text.isascii():
            text = "".join(character for character in text if not unicodedata.combining(character))
    return " ".join(text.lower().split())
