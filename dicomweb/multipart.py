"""Reading multipart/related as it arrives: bytes in, heads, data and ends of parts out. Pure, memory flat.

    reader = Reader(boundary); reader.feed(chunk) → [Head, Data, Data, End, Head, …]; reader.finish()

Only what could be the beginning of a delimiter is held back between two chunks. RFC 2046 §5.1.1, RFC 2387
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicomweb.media import MULTIPART, parse_accept
from profiles.outcomes import Invalid

MAX_HEAD = 16_384  # bytes of one part's header fields


@dataclass(frozen=True, slots=True)
class Head:
    """A part begins; field names in lower case."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    content: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part is complete: its closing delimiter was seen."""


Event = Head | Data | End


def content_type(header: str) -> tuple[str, Mapping[str, str]]:
    """Media type in lower case and its parameters; quoted and unquoted parameters alike."""
    found = parse_accept(header)
    return (found[0].media, found[0].parameters) if found and header.strip() else ("", {})


def boundary_of(parameters: Mapping[str, str]) -> str:
    """Raises Invalid."""
    boundary = parameters.get("boundary", "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii() or any(ord(c) < 32 for c in boundary):
        raise Invalid("bad-multipart", f"{MULTIPART} needs a boundary parameter")
    return boundary


class Reader:
    """One body. Raises Invalid from `feed` for heads that are none, from `finish` for a body that stops
    early."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._buffer = bytearray(b"\r\n")  # so that a delimiter on the first line is one like the others
        self._state = "preamble"

    @property
    def complete(self) -> bool:
        """Whether the closing delimiter was seen."""
        return self._state == "epilogue"

    def feed(self, chunk: bytes) -> list[Event]:
        """What this chunk settles."""
        if self._state == "epilogue":
            return []
        self._buffer += chunk
        return list(self._events())

    def finish(self) -> None:
        """Raises Invalid unless the closing delimiter was seen."""
        if not self.complete:
            raise Invalid("bad-multipart", "the body ends before its closing boundary")

    def _events(self) -> Iterator[Event]:
        while True:
            match self._state:
                case "delimited":
                    if not self._after_delimiter():
                        return
                case "head":
                    head = self._head()
                    if head is None:
                        return
                    self._state = "part"
                    yield head
                case "preamble" | "part":
                    inside = self._state == "part"
                    content, found = self._until_delimiter()
                    if inside and content:
                        yield Data(content)
                    if not found:
                        return
                    if inside:
                        yield End()
                    self._state = "delimited"
                case _:
                    return

    def _until_delimiter(self) -> tuple[bytes, bool]:
        """What stands before the next delimiter, as far as it is certain to be content; whether one was
        found."""
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            content = bytes(memoryview(self._buffer)[:at])
            del self._buffer[: at + len(self._delimiter)]
            return content, True
        keep = len(self._delimiter) - 1
        certain = max(0, len(self._buffer) - keep)
        content = bytes(memoryview(self._buffer)[:certain])
        del self._buffer[:certain]
        return content, False

    def _after_delimiter(self) -> bool:
        """Past the rest of the delimiter's line: another part, or the end. False: more bytes are needed."""
        if self._buffer.startswith(b"--"):
            self._buffer.clear()
            self._state = "epilogue"
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > 1000:
                raise Invalid("bad-multipart", "a boundary is followed by more than its line")
            return False
        if self._buffer[:end].strip(b" \t"):
            raise Invalid("bad-multipart", "a boundary is followed by more than its line")
        del self._buffer[:end]  # the line's end stays: a part without header fields begins with an empty line
        self._state = "head"
        return True

    def _head(self) -> Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD or (end < 0 and len(self._buffer) > MAX_HEAD):
            raise Invalid("bad-multipart", "a part's header fields are too long")
        if end < 0:
            return None
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        fields = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if line and not colon:
                raise Invalid("bad-multipart", "a part's header field cannot be read")
            fields[name.strip().lower()] = value.strip()
        fields.pop("", None)
        return Head(fields)
