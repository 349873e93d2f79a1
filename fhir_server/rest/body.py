"""Reading a body within a limit: nothing beyond it is ever held."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.types import Message

from fhir_server.rest.answer import Call
from profiles.outcomes import Invalid, TooLarge, UnsupportedMedia


async def chunks(call: Call, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, at most `limit` bytes. Raises TooLarge, and Invalid when the client goes away."""
    announced = call.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise TooLarge("body-too-large", f"the body is over the limit of {limit} bytes")
    seen, more = 0, True
    while more:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise Invalid("incomplete-body", "the body ended before it was complete")
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        seen += len(chunk)
        if seen > limit:
            raise TooLarge("body-too-large", f"the body is over the limit of {limit} bytes")
        if chunk:
            yield chunk


async def peeked(call: Call, size: int) -> tuple[bytes, Call]:
    """The first `size` bytes or a little more, and the call with its body still whole."""
    seen: list[Message] = []
    head = b""
    while len(head) < size and (not seen or seen[-1].get("more_body", False)):
        seen.append(await call.receive())
        head += seen[-1].get("body", b"")

    async def receive() -> Message:
        return seen.pop(0) if seen else await call.receive()

    return head, replace(call, receive=receive)


async def whole(call: Call, limit: int) -> bytes:
    """The whole body, unpacked if it came gzipped; the limit holds for both. Raises TooLarge,
    UnsupportedMedia."""
    body = b"".join([chunk async for chunk in chunks(call, limit)])
    coding = call.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding != "gzip":
        raise UnsupportedMedia("content-encoding", "a body comes plain or as gzip")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid("bad-gzip", "the body is no valid gzip") from error
    if len(plain) > limit:
        raise TooLarge("body-too-large", f"the body is over the limit of {limit} bytes")
    if not unpacker.eof:
        raise Invalid("bad-gzip", "the gzip body is cut off")
    return plain
