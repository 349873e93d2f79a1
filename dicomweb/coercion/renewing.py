"""Other UIDs in an encoded dataset, also within sequences: for an instance that is to be another one than
the rejected one. Pure.

PS3.5 §9 (unique identifiers), §B.2 (UUID derived)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256
from io import BytesIO

from dicomweb.coercion.raw import Encoding, element, elements, item, items


def renewed(data: bytes, encoding: Encoding, renew: Callable[[str], str]) -> bytes:
    """The same elements, every UID value through `renew`. Raises Unreadable."""
    file, made = BytesIO(data), []
    for one in elements(file, len(data), encoding):
        value = data[one.value : one.end]
        if one.vr == "UI":
            old = value.decode("ascii", "replace").rstrip("\0 ")
            new = "\\".join(renew(uid) for uid in old.split("\\"))
            made.append(
                data[one.start : one.end] if new == old else element(one.tag, new.encode(), encoding, "UI")
            )
        elif one.vr == "SQ":
            inner = [
                item(renewed(data[start:end], encoding, renew), encoding)
                for start, end, _ in items(BytesIO(data), one.value, one.end, encoding)
            ]
            made.append(element(one.tag, b"".join(inner), encoding, "SQ"))
        else:
            made.append(data[one.start : one.end])
    return b"".join(made)


def renewer(uids: Collection[str], salt: str) -> Callable[[str], str]:
    """Old → new for these UIDs, always the same for the same salt; every other UID stays."""
    known = frozenset(uids)

    def renew(uid: str) -> str:
        return new_uid(uid, salt) if uid in known else uid

    return renew


def new_uid(uid: str, salt: str) -> str:
    """`uid` itself without a salt."""
    if not salt:
        return uid
    number = int.from_bytes(sha256(f"{salt}|{uid}".encode()).digest()[:16], "big")
    uuid = number & ~(0xF << 76) | 8 << 76  # version 8: of our own making. RFC 9562 §5.8
    return f"2.25.{uuid & ~(3 << 62) | 2 << 62}"
