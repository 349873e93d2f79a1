"""Folding of names for comparison, and the tolerance that makes two names near. Pure."""

from __future__ import annotations

import re
import unicodedata

_PUNCTUATION = re.compile(r"[\W_]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")


def fold(text: str) -> str:
    """Lower case, no accents, punctuation and runs of spaces as one space: `LE-GOFF^Yann` → `le goff
    yann`. Letters of every script are kept; only the accents of the European ones go."""
    return _fold_inner(text).strip()


def fold_wildcards(pattern: str) -> str:
    """The same for a QIDO pattern: `*` and `?` stay, each other character folds as it would in a name."""
    pieces = re.split(r"([*?]+)", pattern)
    folded = "".join(piece if piece[:1] in "*?" and piece else _fold_inner(piece) for piece in pieces)
    return folded.strip()


def _fold_inner(piece: str) -> str:
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", piece))
    return _PUNCTUATION.sub(" ", unicodedata.normalize("NFC", plain).casefold())


def near(a: str, b: str) -> bool:
    """Whether two names could be one person's: the same words in any order, or one letter wrong per word.

    Only ever a reason to ask a person, never to attach.
    """
    left, right = sorted(fold(a).split()), sorted(fold(b).split())
    if not left or not right:
        return False
    if left == right or "".join(left) == "".join(right):
        return True
    shorter, longer = sorted((left, right), key=len)
    return len(shorter) >= 2 and all(any(_one_edit(word, other) for other in longer) for word in shorter)


def _one_edit(a: str, b: str) -> bool:
    """Equal, or one insertion, deletion, substitution apart (words of three letters or more)."""
    if a == b:
        return True
    if min(len(a), len(b)) < 3 or abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[start + 1 :] == b[start + 1 :] or a[start + 1 :] == b[start:] or a[start:] == b[start + 1 :]
