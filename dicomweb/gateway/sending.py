"""One STOW-RS request of several instances: the body made piece by piece, and what the answer says of each.

    entries → multipart, one part a file, with its SHA-256 and source → zstd or gzip → chunks
    answer → Referenced SOP Sequence, Failed SOP Sequence → a Verdict for each entry

Memory is one piece and the compressor's window, however large the instances are. PS3.18 §10.5; RFC 9110 §8.4
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import zstandard

from dicomweb import origin, reasons
from dicomweb.gateway.outgoing import Entry
from dicomweb.media import DICOM, JSON
from dicomweb.origin import Said
from dicomweb.reasons import Reason

PIECE = 1 << 18  # bytes read, and about the bytes written, at once
LEVEL_ZSTD, LEVEL_GZIP = 1, 1  # on CT and MR more effort gains 2 % and costs several times as much
REFERENCED, FAILED_SOP, OTHERS = "00081199", "00081198", "0008119A"
UID, REASON = "00081155", "00081197"
NO_ROOM = reasons.OUT_OF_RESOURCES.slug
Sort = Literal["delivered", "later", "apart"]
_KNOWN = {one.status: one.slug for one in vars(reasons).values() if isinstance(one, Reason)}


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the platform said of one entry. `reason`: slug or hexadecimal status, "" for plain success."""

    entry: Entry
    sort: Sort
    reason: str = ""


class Unreadable(Exception):
    """A file of ours cannot be read, which is no fault of the line's."""

    def __init__(self, entry: Entry) -> None:
        super().__init__("a file of the outbox cannot be read")
        self.entry = entry


def headers(boundary: str, coding: str) -> dict[str, str]:
    made = {"Content-Type": f'multipart/related; type="{DICOM}"; boundary={boundary}', "Accept": JSON}
    return {**made, "Content-Encoding": coding} if coding else made


def body(
    entries: Sequence[Entry], where: Callable[[Entry], Path], boundary: str, coding: str
) -> Generator[bytes, None, None]:
    """Raises Unreadable."""
    plain = _plain(entries, where, boundary)
    if not coding:
        yield from plain
        return
    packing = compressor(coding)
    gathered = bytearray()
    for piece in plain:
        gathered += packing.compress(piece)
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered + packing.flush())


def compressor(coding: str) -> Compressor:
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=LEVEL_ZSTD).compressobj()
    return zlib.compressobj(LEVEL_GZIP, wbits=31)


def _plain(entries: Sequence[Entry], where: Callable[[Entry], Path], boundary: str) -> Iterator[bytes]:
    for entry in entries:
        said = origin.fields(Said(entry.sha256, entry.ae_title, entry.received, entry.dataset))
        lines = [
            f"--{boundary}",
            f"Content-Type: {DICOM}",
            *(f"{name}: {text}" for name, text in said.items()),
        ]
        yield "\r\n".join([*lines, "", ""]).encode("ascii")
        yield from _content(entry, where(entry))
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def _content(entry: Entry, path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise Unreadable(entry) from error
    with file:
        while True:
            try:
                piece = file.read(PIECE)
            except OSError as error:
                raise Unreadable(entry) from error
            if not piece:
                return
            yield piece


def verdicts(entries: Sequence[Entry], answer: Any, status: int) -> list[Verdict]:
    """One for each entry, in order. What the answer does not name was not said to be stored: it is sent
    again, alone, so that the answer can only be about it."""
    found = answer[0] if isinstance(answer, list) and answer else answer
    found = found if isinstance(found, Mapping) else {}
    stored = {_text(one, UID) for one in _items(found, REFERENCED)}
    failed = {_text(one, UID): _number(one, REASON) for one in _items(found, FAILED_SOP)}
    others = [_number(one, REASON) for one in _items(found, OTHERS)]
    made = []
    for entry in entries:
        if entry.uid in failed:
            made.append(_failed(entry, failed[entry.uid]))
        elif entry.uid in stored:
            made.append(Verdict(entry, "delivered"))
        elif len(entries) == 1 and others:
            made.append(_failed(entry, others[0]))
        elif len(entries) == 1 and 400 <= status < 500:
            made.append(Verdict(entry, "apart", f"http-{status}"))
        else:
            made.append(Verdict(entry, "later", "not-answered"))
    return made


def _failed(entry: Entry, code: int | None) -> Verdict:
    """0x0111: the platform keeps the changed content for a person, so it has it. A700 and errors of its own
    pass; an altered instance is sent again; whatever else it says it will say again."""
    if code is None:
        return Verdict(entry, "later", "no-reason")
    if code & 0xFF00 == 0xA700:  # whichever room it is that there is none of
        return Verdict(entry, "later", NO_ROOM)
    reason = _KNOWN.get(code, f"0x{code:04X}")
    if code == reasons.DUPLICATE.status:
        return Verdict(entry, "delivered", reason)
    passing = code in (0x0110, reasons.FAILED.status, reasons.ALTERED.status)
    return Verdict(entry, "later" if passing else "apart", reason)


def _items(found: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    element = found.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return [one for one in values if isinstance(one, Mapping)] if isinstance(values, list) else []


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else []


def _text(item: Mapping[str, Any], tag: str) -> str:
    return next((one for one in _values(item, tag) if isinstance(one, str)), "")


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    return next((one for one in _values(item, tag) if isinstance(one, int)), None)
