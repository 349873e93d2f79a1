"""Made-up addresses and forms, on every page that the portal has: a page in French, nothing done, no 500."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from starlette.routing import Route
from starlette.types import Message

from smart_launch.app.routes import routes
from tests.portal import directory
from tests.portal.platform import STUDY, Platform, platform

pytestmark = pytest.mark.asyncio(loop_scope="module")
IDS = [
    "%2e", "%2e%2e", "%2E.", "%2e%2e%2f%2e%2e", "..%5c..", "x%2Fy", "%00", "%0d%0aX-Evil:1", "a%3Fb=c",
    "a%23b", "%25", "%F0%9F%92%A9", "%E2%80%AE", "%ff", "a" * 300, "9" * 5000, "-1", "1e999", "*",
    "$everything", "_search", "%20", "%3Cscript%3Ealert(1)%3C/script%3E",
]  # fmt: skip
EVIL = "\0\u202e<script>alert(1)</script>"
FORM = {
    "motif": "x", "numero": "1", "garder": "new", "action": "essayer", "decision": "fetch", "examen": "../x",
    "etape": "take", "serie": "1.2", "etude": "..", "serveur": "..", "onglet": "..", "patient": "<script>",
}  # fmt: skip
REFUSED = {400, 403, 404, 405, 409, 413, 415, 422}


class Address(NamedTuple):
    method: str
    path: str


def addresses() -> list[Address]:
    found = [
        Address(method, route.path)
        for route in routes(lambda: None)  # type: ignore[arg-type,return-value]
        if isinstance(route, Route) and ":path" not in route.path and not route.path.startswith("/guide")
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]
    assert len(found) > 25
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Platform, dict[str, str]]]:
    """A sent télédossier with an exam; its author administers the region, too."""
    folder = tmp_path_factory.mktemp("portal")
    async with platform(folder / "here") as here:
        await here.system.update(
            {
                "resourceType": "PractitionerRole", "id": "reg",
                "practitioner": {"reference": "Practitioner/p08"},
                "code": [directory.coding("role", "admin-regional")],
            }
        )  # fmt: skip
        id = await here.sent()
        await here.exam(id, folder / "exam", series=1, images=1)
        yield here, {"id": id, "study": STUDY, "transfert": "x", "site": "ch-auch", "systeme": "pacs-auch"}


def check(answer: httpx.Response, what: str) -> None:
    assert answer.status_code in REFUSED | {200, 204, 303, 304}, what
    assert "x-evil" not in answer.headers
    assert "<script>alert" not in answer.text, what
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'"), what
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
        assert '<html lang="fr">' in answer.text or "suivi" in what or "liste" in what
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/"), what
        assert not answer.headers["location"].startswith("//"), what


@pytest.mark.parametrize("address", addresses(), ids=" ".join)
async def test_names_that_are_none(world: tuple[Platform, dict[str, str]], address: Address) -> None:
    here, names = world
    method, path = address
    async with here.as_("p08") as doctor:
        for odd in re.findall(r"\{(\w+)\}", path):
            for value in IDS:
                filled = path.format(**{**names, odd: value})
                answer = await doctor.request(method, filled, data=FORM if method == "POST" else None)
                check(answer, f"{method} {filled}")
                done = answer.status_code in (200, 204, 303) and method == "POST"
                assert not done, f"{method} {filled}"


BODIES = [
    ("application/x-www-form-urlencoded", b""), ("application/x-www-form-urlencoded", b"&" * 3000),
    ("application/x-www-form-urlencoded", b"=&a=%00&motif=%ff&numero=" + b"9" * 5000 + b"&garder=%E2%80%AE"),
    ("application/x-www-form-urlencoded", urlencode(dict.fromkeys(FORM, EVIL)).encode()),
    ("application/x-www-form-urlencoded", urlencode(dict.fromkeys(FORM, "9" * 100_000)).encode()),
    ("multipart/form-data", b"--B\r\n"), ("multipart/form-data; boundary=B", b"--B\r\n\r\nx\r\n--B--\r\n"),
    ("multipart/form-data; boundary=B", b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n"),
    ("multipart/form-data; boundary=B",
     b'--B\r\nContent-Disposition: form-data; name="fichier"; filename="a'),
    ("multipart/form-data; boundary=" + "B" * 5000, b"--B--"), ("application/json", b'{"action":"essayer"}'),
    ("text/plain", b"\xff\xfe"), ("\xe9;;;=", b"x"),
]  # fmt: skip


@pytest.mark.parametrize("address", [one for one in addresses() if one.method == "POST"], ids=" ".join)
async def test_forms_that_are_none(world: tuple[Platform, dict[str, str]], address: Address) -> None:
    here, names = world
    async with here.as_("p08") as doctor:
        for kind, body in BODIES:
            headers = {b"Content-Type": kind.encode("latin-1")}
            filled = address.path.format(**names)
            check(
                await doctor.post(filled, content=body, headers=headers),
                f"{filled} {kind[:40]} {body[:40]!r}",
            )


@pytest.mark.parametrize("address", [one for one in addresses() if one.method == "POST"], ids=" ".join)
async def test_forms_that_do_not_end(world: tuple[Platform, dict[str, str]], address: Address) -> None:
    """Refused as soon as they are too long, whatever they say of their length; no disk fills."""
    here, names = world
    if address.path.endswith("/documents"):
        return  # the one that takes files, as long as they are
    sent = 0

    async def endless(head: bytes, piece: bytes) -> AsyncIterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += len(piece)
            assert sent < 5_000_000
            yield piece

    fields = b"&a=" + b"x" * 100_000
    part = b'\r\n--B\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"x" * 100_000
    async with here.as_("p08") as doctor:
        for kind, head, piece in (
            ("application/x-www-form-urlencoded", b"motif=x", fields),
            ("multipart/form-data; boundary=B", b"--B\r\n\r\n", part),
        ):
            sent = 0
            path = address.path.format(**names)
            answer = await doctor.post(path, content=endless(head, piece), headers={"Content-Type": kind})
            assert answer.status_code in REFUSED | {204, 303}, path
            assert (answer.status_code == 413) is (sent > 1_900_000), path


@pytest.mark.parametrize("address", [one for one in addresses() if one.method == "POST"], ids=" ".join)
async def test_senders_that_go_away(
    world: tuple[Platform, dict[str, str]], address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a form; no page failed, as nobody reads one."""
    here, names = world
    messages: list[Message] = []
    begun = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx'
    coming: list[Message] = [{"type": "http.request", "body": begun, "more_body": True}]

    async def receive() -> Message:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)

    headers = {"host": "portail.test", "cookie": "qui=p08", "content-type": "multipart/form-data; boundary=B"}
    path = address.path.format(**names)
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "scheme": "http", "server": ("portail.test", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    with caplog.at_level(logging.WARNING):
        await here.app(scope, receive, send)
    assert messages[0]["status"] in REFUSED | {204, 303}, path
    assert caplog.records == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/dossiers/{id}/nulle-part", "/dossiers/{id}/images/{study}", "/sites"])
async def test_methods_that_no_page_takes(
    world: tuple[Platform, dict[str, str]], method: str, path: str
) -> None:
    here, names = world
    async with here.as_("p08") as doctor:
        answer = await doctor.request(method, path.format(**names))
    assert answer.status_code == 405
    assert "Action impossible" in answer.text
    check(answer, path)


HOSTS = [
    "xn--",
    "xn--a",
    "[::1",
    "a b",
    "..",
    "a..b",
    "x" * 300,
    "evil:abc",
    "evil:99999999",
    "\xe9",
    "",
    "%00",
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda one: ascii(one)[:20])
async def test_hosts_that_are_none(world: tuple[Platform, dict[str, str]], host: str) -> None:
    here, names = world
    async with here.as_("p08") as doctor:
        for path in ("/dossiers", "/sites", f"/dossiers/{names['id']}"):
            answer = await doctor.get(path, headers={"Host": host.encode("latin-1")})
            assert answer.status_code in (200, 400), path
            assert not host or host not in answer.headers.get("location", "")
