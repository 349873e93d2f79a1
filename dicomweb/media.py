"""Media types: reading Accept leniently, choosing what to serve, writing multipart/related.

Clients write `multipart/related; type=application/octet-stream; transfer-syntax=*` without the quotes that
RFC 2045 asks for; both forms are read. PS3.18 §8.7 (media types, Accept), RFC 2387 (multipart/related)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from profiles.outcomes import NotAcceptable

MULTIPART = "multipart/related"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
JSON = "application/dicom+json"
CHUNK = 1 << 20  # bytes; each costs a hop between threads


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
    """Best first; entries that cannot be read are left out. Those with q=0 come last: what is not wanted
    although a wider entry takes it. An empty header accepts anything. RFC 9110 §12.4.2"""
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
            continue
        if media and quality >= 0:
            found.append(Range(media.lower(), min(quality, 1.0), parameters))
    return sorted(found, key=lambda one: -one.quality)


def fits(wanted: str, offered: str) -> bool:
    """`*/*`, `image/*` or the same type."""
    if wanted in ("*/*", "*", offered):
        return True
    return wanted.endswith("/*") and offered.startswith(wanted[:-1])


def wanted(accept: Sequence[Range]) -> list[Range]:
    """The entries with q above 0."""
    return [one for one in accept if one.quality > 0]


def possible(accept: Sequence[Range], offered: Sequence[str]) -> list[str]:
    """The offers without those that the client names with q=0."""
    refused = {one.part if one.media == MULTIPART else one.media for one in accept if one.quality == 0}
    return [offer for offer in offered if offer not in refused]


def choose(accept: Sequence[Range], offered: Sequence[str]) -> str:
    """The first offer that the best entry takes; of multipart, its parts' type counts. Raises NotAcceptable,
    which names the offers."""
    for one in wanted(accept):
        asked = one.part if one.media == MULTIPART else one.media
        for offer in possible(accept, offered):
            if fits(asked, offer):
                return offer
    raise NotAcceptable("not-acceptable", f"available here: {', '.join(offered)}")


@dataclass(frozen=True, slots=True)
class Passing:
    """A file made for one answer: gone from its folder as soon as it is opened."""

    path: Path


@dataclass(frozen=True, slots=True)
class Spans:
    """Parts of a file that are one content: (offset, length) each."""

    path: Path
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Files one after another as one content: each with its size in bytes."""

    files: tuple[tuple[Path, int], ...]


Content = bytes | Path | Passing | Spans | Joined


@dataclass(frozen=True, slots=True)
class Part:
    """One part to send: headers, and either bytes or a file. `location`: where it can be had by itself."""

    content_type: str
    content: Content
    length: int
    location: str = ""


def multipart_type(part_type: str, boundary: str) -> str:
    return f'{MULTIPART}; type="{part_type}"; boundary={boundary}'


def new_boundary() -> str:
    return f"part-{secrets.token_hex(16)}"


def multipart(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """The body, small pieces gathered up to CHUNK and large files in CHUNKs: flat memory whatever the
    study."""
    pending = bytearray()
    for part in parts:
        place = f"Content-Location: {part.location}\r\n" if part.location else ""
        pending += (
            f"--{boundary}\r\nContent-Type: {part.content_type}\r\nContent-Length: {part.length}\r\n"
            f"{place}\r\n"
        ).encode()
        for piece in pieces(part.content):
            pending += piece
            if len(pending) >= CHUNK:
                yield bytes(pending)
                pending.clear()
        pending += b"\r\n"
    pending += f"--{boundary}--\r\n".encode()
    yield bytes(pending)


def pieces(content: Content, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The content, or `length` bytes of it from `start`."""
    if isinstance(content, bytes):
        yield content[start : None if length is None else start + length]
        return
    if isinstance(content, Spans):
        yield from _spanned(content, start, length)
        return
    if isinstance(content, Joined):
        yield from _joined(content, start, length)
        return
    path = content.path if isinstance(content, Passing) else content
    with path.open("rb", buffering=0) as file:
        if isinstance(content, Passing):
            path.unlink(missing_ok=True)
        file.seek(start)
        while length is None or length > 0:
            chunk = file.read(CHUNK if length is None else min(CHUNK, length))
            if not chunk:
                return
            yield chunk
            length = None if length is None else length - len(chunk)


def _spanned(content: Spans, start: int, length: int | None) -> Iterator[bytes]:
    left = sum(size for _, size in content.ranges) - start if length is None else length
    for offset, size in content.ranges:
        if start >= size:
            start -= size
            continue
        wanted = min(size - start, left)
        if wanted <= 0:
            return
        yield from pieces(content.path, offset + start, wanted)
        left -= wanted
        start = 0


def _joined(content: Joined, start: int, length: int | None) -> Iterator[bytes]:
    """All are opened before the first byte goes: one that is removed meanwhile cuts nothing off."""
    left = sum(size for _, size in content.files) - start if length is None else length
    with ExitStack() as stack:
        files = [(stack.enter_context(path.open("rb", buffering=0)), size) for path, size in content.files]
        for file, size in files:
            file.seek(start)
            wanted = min(size - start, left)
            while wanted > 0 and (chunk := file.read(min(CHUNK, wanted))):
                yield chunk
                wanted, left = wanted - len(chunk), left - len(chunk)
            start = max(0, start - size)
