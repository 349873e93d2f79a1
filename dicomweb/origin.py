"""What a sender says of an instance beside its bytes: the SHA-256 at the source, and where it came from.

Two header fields of a STOW-RS part:

    Content-Digest: sha-256=:…:                              of the file; what came is compared with it
    Teledossier-Source: ae=CT1; received=1732184000000000; dataset=…

`ae` (percent-encoded) is the modality's AE title, `received` when the gateway acknowledged it in UTC
microseconds, `dataset` the SHA-256 of the dataset without file meta information, hexadecimal: it stays the
same whoever writes the file. RFC 9530 §2 (Content-Digest); RFC 8941 §3.3.5 (byte sequences)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

DIGEST, SOURCE = "Content-Digest", "Teledossier-Source"
_SHA256 = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([^:]*):", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Said:
    """`sha256` "" when nothing was said; "?" when it cannot be read, which no content equals."""

    sha256: str = ""
    ae: str = ""
    received: int = 0
    dataset: str = ""


NOTHING = Said()


def said(fields: Mapping[str, str]) -> Said:
    """Of a part's header fields (names in lower case). What is malformed counts as not said, a digest as one
    that nothing equals."""
    parts = {
        name.strip(): value.strip()
        for name, _equals, value in (one.partition("=") for one in fields.get(SOURCE.lower(), "").split(";"))
    }
    ae, received, dataset = unquote(parts.get("ae", "")), parts.get("received", ""), parts.get("dataset", "")
    return Said(
        _digest(fields.get(DIGEST.lower(), "")),
        ae if len(ae) <= 16 and ae.isascii() and ae.isprintable() else "",
        int(received) if received.isascii() and received.isdigit() and len(received) <= 18 else 0,
        dataset if _HEX.fullmatch(dataset) else "",
    )


def _digest(header: str) -> str:
    found = _SHA256.search(header)
    if not found:
        return ""
    try:
        value = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return "?"
    return value.hex() if len(value) == 32 else "?"


def fields(said: Said) -> dict[str, str]:
    """The same, for a part that is sent."""
    digest = base64.b64encode(bytes.fromhex(said.sha256)).decode()
    source = f"ae={quote(said.ae, safe='')}; received={said.received}; dataset={said.dataset}"
    return {DIGEST: f"sha-256=:{digest}:", SOURCE: source}
