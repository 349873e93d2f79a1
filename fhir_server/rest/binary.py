"""Binary over HTTP: raw bytes streamed in and out, or the FHIR resource for who asks for FHIR.

POST [base]/Binary with a Content-Type that is not FHIR streams the body to a content file;
`X-Security-Context` names the ServiceRequest it belongs to. GET gives the bytes with Range unless Accept or
`_format` names FHIR JSON. Served bytes are never run by a browser: attachment, nosniff, sandbox. FHIR R4
binary.html#rest; RFC 9110 §14
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from starlette.types import Send

from fhir_server.interactions import content, create, prepare, read, vread
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import check_place, require
from fhir_server.rest import headers as http
from fhir_server.rest import resources
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.body import chunks, peeked
from fhir_server.rest.negotiation import FHIR_XML_TYPES, JSON_TYPES, check_format, is_fhir, is_xml
from fhir_server.store.contract import Version
from profiles import codec
from profiles.outcomes import Invalid

RAW_MOST = 1_600_000_000
"""Bytes of one raw upload; a FHIR body has its own, smaller limit."""
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(; ?[A-Za-z0-9._-]+=[A-Za-z0-9._-]+)*"
)
_ROOT_WITHIN = 8192
"""Bytes in which the root element of an XML body begins, if it is a Binary resource."""
_PROLOG = re.compile(rb"<!--.*?-->|<\?.*?\?>", re.DOTALL)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(\w+)[^>]*>")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CONTEXT = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
_SAFE = {
    "Content-Disposition": "attachment",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Accept-Ranges": "bytes",
}


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """An answer whose body is streamed; `length` in bytes."""

    status: int
    body: AsyncIterator[bytes]
    length: int
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, call: Call, send: Send) -> None:
        """Over ASGI, a piece at a time; the pieces are not even read for HEAD."""
        headers = {**self.headers, "Content-Length": str(self.length)}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if call.method != "HEAD":
            async for piece in self.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def create_binary(engine: Engine, call: Call) -> Answer:
    """POST Binary: a FHIR resource, or raw bytes. What can be refused is refused before the first byte is
    kept."""
    content_type = call.headers.get("content-type")
    if is_fhir(content_type):
        return await resources.create_type(engine, call)
    if is_xml(content_type):
        head, call = await peeked(call, _ROOT_WITHIN)
        if _is_binary(head):
            return await resources.create_type(engine, call)
    access = call.access
    require(access, "Binary", "c")
    if not content_type or not _MEDIA_TYPE.fullmatch(content_type):
        raise Invalid("content-type", "the Content-Type is no media type")
    binary: dict[str, object] = {"resourceType": "Binary", "contentType": content_type}
    context = call.headers.get("x-security-context", "").removeprefix(engine.settings.fhir_base + "/")
    if context:
        if not _CONTEXT.fullmatch(context):
            raise Invalid("security-context", "X-Security-Context is a reference such as ServiceRequest/12")
        binary["securityContext"] = {"reference": context}
    trial = await prepare.draft(engine, access, binary, "0", old=None, at=prepare.moment(engine))
    await check_place(engine, access, trial, ())
    stored = await engine.files.write(chunks(call, RAW_MOST))
    version = await create.create(engine, access, binary, stored=stored)
    answer = resources.written_out(engine, call, version, made=True)
    return Answer(201, b"", answer.headers) if not answer.body else replace(answer, body=_shown(answer.body))


def _is_binary(head: bytes) -> bool:
    """Whether XML begins as a Binary resource; any other document is the content of one. binary.html#rest"""
    root = _ROOT.search(_PROLOG.sub(b"", head))
    return root is not None and root[1] == b"Binary" and b"http://hl7.org/fhir" in root[0]


def _shown(body: bytes) -> bytes:
    """The answer to an upload shows the resource without what stands for its bytes."""
    resource = codec.parse(body)
    return codec.dump({key: value for key, value in resource.items() if key != "_data"})


async def read_binary(engine: Engine, call: Call) -> Answer | FileAnswer:
    """GET Binary/[id], or one version of it."""
    if len(call.segments) == 2:
        version = await read.read(engine, call.access, "Binary", call.segments[1])
    else:
        _, id, _, number = call.segments
        version = await vread.vread(
            engine, call.access, "Binary", id, http.whole_number("the version", number)
        )
    if wants_fhir(call):
        check_format(call)
        resource = await content.inlined(engine, codec.parse(version.body or b""))
        shown = replace(version, body=codec.dump(resource))
        return resources.version_out(call, shown)
    return _raw(engine, call, version)


def wants_fhir(call: Call) -> bool:
    """`_format`, or an Accept that names FHIR itself: `*/*`, plain XML and no Accept get the bytes."""
    if call.first("_format"):
        return True
    kinds = {part.partition(";")[0].strip().lower() for part in call.headers.get("accept", "").split(",")}
    return not kinds.isdisjoint(JSON_TYPES | FHIR_XML_TYPES)


def _raw(engine: Engine, call: Call, version: Version) -> Answer | FileAnswer:
    found = content.content_of(codec.parse(version.body or b""))
    kind = found.content_type if _MEDIA_TYPE.fullmatch(found.content_type) else "application/octet-stream"
    headers = {**http.version_headers(version), **_SAFE, "Content-Type": kind}
    if http.current(call.headers, version):
        return Answer(304, headers=headers)
    window = _window(call, found.size)
    if window is None:
        return Answer(416, b"", {"Content-Range": f"bytes */{found.size}"})
    start, end, partial = window
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    body = (
        _slice(found.data, start, end)
        if found.data is not None
        else engine.files.read(found.sha256, start, end)
    )
    return FileAnswer(206 if partial else 200, body, end - start, headers)


def _window(call: Call, size: int) -> tuple[int, int, bool] | None:
    """[start, end) and whether it is a part; the whole without a Range that is understood (one range of
    bytes); None when it lies outside. With If-Range the whole is sent: a weak ETag proves nothing about
    bytes. RFC 9110 §14.1.2"""
    asked = _RANGE.fullmatch(call.headers.get("range", ""))
    if asked is None or "if-range" in call.headers or not (asked[1] or asked[2]):
        return 0, size, False
    if not asked[1]:
        last = int(asked[2])
        return None if last == 0 or size == 0 else (max(0, size - last), size, True)
    start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else size
    if asked[2] and end <= start:
        return 0, size, False
    return None if start >= size else (start, min(end, size), True)


async def _slice(data: bytes, start: int, end: int) -> AsyncIterator[bytes]:
    yield data[start:end]
