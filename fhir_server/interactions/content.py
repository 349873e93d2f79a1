"""A Binary's bytes: small ones stay in the resource, large ones go to a content file.

A Binary whose bytes are in a file carries no `data`; an extension on it names the file by SHA-256 and its
size. That extension is the server's alone: what a client sends under its URL is refused, else any file could
be read by whoever guesses a hash. FHIR R4 binary.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fhir_server.interactions.engine import Engine, Resource
from fhir_server.store.files import Stored
from profiles.outcomes import Invalid, NotAcceptable

EXTENSION = "https://teledossier.example/fhir/StructureDefinition/content"
INLINE_MOST = 256_000
"""Bytes that may be inlined as base64; more are only served raw."""


@dataclass(frozen=True, slots=True)
class Content:
    """A Binary's bytes: `data` when they are inline, else the file `sha256`; `size` in bytes."""

    content_type: str
    size: int
    data: bytes | None = None
    sha256: str = ""


def pointer(stored: Stored) -> Resource:
    """The `_data` element that stands for bytes in a file."""
    return {
        "extension": [
            {
                "url": EXTENSION,
                "extension": [
                    {"url": "sha256", "valueString": stored.sha256},
                    {"url": "size", "valueUnsignedInt": stored.size},
                ],
            }
        ]
    }


async def filed(engine: Engine, binary: Resource) -> Resource:
    """The Binary as it is to be stored: large data moved to a file. Raises Invalid."""
    shadow = binary.get("_data")
    if shadow is not None and EXTENSION in repr(shadow):
        raise Invalid(
            "reserved-extension", "the content extension is the server's alone", expression="Binary.data"
        )
    data = binary.get("data")
    if not isinstance(data, str) or len(data) * 3 // 4 <= INLINE_MOST:
        return binary
    stored = await engine.files.write(_once(decoded(data)))
    rest = {key: value for key, value in binary.items() if key not in ("data", "_data")}
    return {**rest, "_data": pointer(stored)}


def decoded(data: str) -> bytes:
    """Base64 to bytes; FHIR allows white space in it. Raises Invalid."""
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("bad-base64", "data is not valid base64", expression="Binary.data") from error


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def content_of(binary: Resource) -> Content:
    """Where the bytes of a stored Binary are."""
    content_type = str(binary.get("contentType") or "application/octet-stream")
    for extension in (binary.get("_data") or {}).get("extension", ()):
        if extension.get("url") == EXTENSION:
            parts = {part["url"]: part for part in extension["extension"]}
            return Content(
                content_type, int(parts["size"]["valueUnsignedInt"]), sha256=parts["sha256"]["valueString"]
            )
    data = decoded(binary.get("data") or "")
    return Content(content_type, len(data), data)


async def inlined(engine: Engine, binary: Resource) -> Resource:
    """The Binary with its data, as FHIR JSON shows it. Raises NotAcceptable above INLINE_MOST."""
    content = content_of(binary)
    if content.data is not None:
        return binary
    if content.size > INLINE_MOST:
        raise NotAcceptable(
            "too-large-to-inline",
            f"{content.size} bytes are not inlined in JSON; ask with another Accept, such as */*;q=0.1, "
            "application/octet-stream, to get them raw, with Range if wished",
        )
    data = b"".join([piece async for piece in engine.files.read(content.sha256)])
    rest = {key: value for key, value in binary.items() if key != "_data"}
    return {**rest, "data": base64.b64encode(data).decode("ascii")}
