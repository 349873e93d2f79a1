"""Media types: reading Accept leniently, choosing what to serve, writing multipart/related.

Clients write `multipart/related; type=application/octet-stream; transfer-syntax=*` without the quotes that
RFC 2045 asks for; both forms are read. PS3.18 §8.7 (media types, Accept), RFC 2387 (multipart/related)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from profiles.outcomes import NotAcceptable

MULTIPART = "multipart/related"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
JSON = "application/dicom+json"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
CHUNK = 1 << 18

# transfer syntax → media type of its frames
FRAME_MEDIA = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


@dataclass(frozen=True, slots=True)
class Range:
    """One entry of an Accept header: for multipart the `type` parameter is the part's media type."""

    media: str
    quality: float = 1.0
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def part(self) -> str:
        return self.parameters.get("type", "*/*").lower()

    @property
    def transfer_syntax(self) -> str:
        return self.parameters.get("transfer-syntax", "")


def _split(text: str, separator: str) -> Iterator[str]:
    """Split outside double quotes."""
    piece, quoted = "", False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == separator and not quoted:
            yield piece.strip()
            piece = ""
        else:
            piece += character
    yield piece.strip()


def parse_accept(header: str) -> list[Range]:
    """Best first; entries that cannot be read or have q=0 are left out. An empty header accepts anything."""
    found = []
    for entry in _split(header[:4000] or "*/*", ","):
        media, *rest = _split(entry, ";")
        parameters = {}
        for parameter in rest:
            name, _, value = parameter.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        if media and quality > 0:
            found.append(Range(media.lower(), min(quality, 1.0), parameters))
    return sorted(found, key=lambda one: -one.quality)


def fits(wanted: str, offered: str) -> bool:
    """`*/*`, `image/*` or the same type."""
    if wanted in ("*/*", "*", offered):
        return True
    return wanted.endswith("/*") and offered.startswith(wanted[:-1])


def choose(accept: Sequence[Range], offered: Sequence[str]) -> str:
    """The first offer that the best entry takes; of multipart, its parts' type counts. Raises NotAcceptable,
    which names the offers."""
    for one in accept:
        wanted = one.part if one.media == MULTIPART else one.media
        for offer in offered:
            if fits(wanted, offer):
                return offer
    raise NotAcceptable("not-acceptable", f"available here: {', '.join(offered)}")


@dataclass(frozen=True, slots=True)
class Part:
    """One part to send: headers, and either bytes or a file."""

    content_type: str
    content: bytes | Path
    length: int


def multipart_type(part_type: str, boundary: str) -> str:
    return f'{MULTIPART}; type="{part_type}"; boundary={boundary}'


def new_boundary() -> str:
    return f"part-{secrets.token_hex(16)}"


def multipart(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """The body, small pieces gathered up to CHUNK and large files in CHUNKs: flat memory whatever the
    study."""
    pending = bytearray()
    for part in parts:
        pending += (
            f"--{boundary}\r\nContent-Type: {part.content_type}\r\nContent-Length: {part.length}\r\n\r\n"
        ).encode()
        for piece in pieces(part.content):
            pending += piece
            if len(pending) >= CHUNK:
                yield bytes(pending)
                pending.clear()
        pending += b"\r\n"
    pending += f"--{boundary}--\r\n".encode()
    yield bytes(pending)


def pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk
