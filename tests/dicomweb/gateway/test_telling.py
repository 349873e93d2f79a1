"""The site's way to the platform: what is told again or given up; downloads that go on where they broke."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dicomweb.gateway import telling
from dicomweb.gateway.errand import Errand
from dicomweb.gateway.platform import Answer, Platform
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.gateway.telling import Gone, Telling, Untold, persist
from dicomweb.peers.session import Denied, Unreachable
from tests.dicomweb.gateway.region import PEER

ERRAND = Errand("e1", 3, "find", PEER, "line", {}, start=7)
CONTENT = bytes(range(256)) * 4000


class Scripted:
    """Answers a platform would give, in order; an error is raised."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers, self.sent = list(answers), list[dict[str, Any]]()

    def request(self, _method: str, _path: str, *, content: bytes, **_more: Any) -> Answer:
        self.sent.append(json.loads(content))
        following = self.answers.pop(0)
        if isinstance(following, Exception):
            raise following
        return Answer(following, b"", {})


def made(*answers: int | Exception) -> tuple[Telling, Scripted]:
    platform = Scripted(*answers)
    return Telling(platform, ERRAND, threading.Event()), platform  # type: ignore[arg-type]


def test_what_was_not_acknowledged_is_told_again_under_its_number() -> None:
    said, platform = made(204, Unreachable("cut-off"), 204, 204)
    said.tell([{"rows": []}])
    said.tell([{"rows": []}, {"rows": []}])
    said.hold([{"rows": []}])
    said.end({"ok": True})
    assert [(one["attempt"], one["start"], len(one["answers"])) for one in platform.sent] == [
        (3, 7, 1), (3, 8, 2), (3, 8, 2), (3, 10, 1),
    ]  # fmt: skip
    assert [one.get("over") for one in platform.sent] == [None, None, None, {"ok": True}]


def test_an_answer_that_is_refused_ends_the_errand() -> None:
    """The platform would refuse it for ever, and give the errand for ever."""
    said, platform = made(400, 204)
    said.hold([{"rows": [{"bad": 1}]}])
    said.end({"ok": True})
    assert platform.sent[1]["over"] == {"error": "failed", "slug": "answer-refused"}
    assert platform.sent[1]["answers"] == []


def test_what_the_platform_took_back_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Gone):
        made(404)[0].tell([])
    with pytest.raises(Untold):
        made(Denied("not-allowed"))[0].tell([])
    monkeypatch.setattr(telling, "SECONDS", 0.0)
    with pytest.raises(Untold):
        made(Unreachable("no-connection"))[0].tell([])


class Breaking(BaseHTTPRequestHandler):
    """Gives half of what is left and hangs up, twice; then the rest."""

    ranges: list[str] = []  # noqa: RUF012 - one list for all requests of the test

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._give(200, b'{"access_token": "t", "expires_in": 300}')

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        left = CONTENT[start:]
        self._give(206 if asked else 200, left, len(left) if len(self.ranges) > 2 else len(left) // 2)

    def _give(self, status: int, content: bytes, given: int = 1 << 30) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:given])

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Breaking.ranges.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_download_goes_on_where_it_broke(address: str, tmp_path: Path) -> None:
    secret, came = tmp_path / "secret", bytearray()
    secret.write_text("s")
    platform = Platform(GatewaySettings(platform=address, client="c", secret_file=str(secret)))
    answer = persist(lambda: platform.download("/file", len(came), came.extend), threading.Event())
    platform.close()
    half, more = len(CONTENT) // 2, len(CONTENT) // 4
    assert Breaking.ranges == ["", f"bytes={half}-", f"bytes={half + more}-"]
    assert (answer.status, bytes(came)) == (206, CONTENT)
