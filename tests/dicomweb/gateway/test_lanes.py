"""A lane against a platform that a test plays: each way of refusing has its own consequence, none loses
anything."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import zstandard

from dicomweb.gateway import forwarding
from dicomweb.gateway.outgoing import Received
from dicomweb.gateway.pace import Line, Waits
from dicomweb.gateway.parts import Parts, opened
from dicomweb.gateway.settings import GatewaySettings
from tests.dicomweb.gateway.test_sending import answer

Reply = tuple[int, Any]


@dataclass
class Asked:
    """One STOW-RS request as it came: the UIDs that its parts stand for, how it was encoded."""

    uids: list[str]
    coding: str
    token: str


@dataclass
class Stub:
    """Answers STOW-RS as `reply` says; each token is another."""

    reply: Callable[[Asked], Reply]
    asked: list[Asked] = field(default_factory=list)
    tokens: int = 0
    lifetime: float = 300  # seconds
    grant: Callable[[dict[str, list[str]]], Reply] | None = None  # how the token endpoint answers, if not so
    ahead: float = 0  # seconds that its clock is ahead of ours
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_address[1]}"


def handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = b"".join(self._chunks())
            if self.path == "/oauth/token":
                stub.tokens += 1
                told = 200, {"access_token": f"token-{stub.tokens}", "expires_in": stub.lifetime}
                self._answer(*(stub.grant(parse_qs(body.decode())) if stub.grant else told))
                return
            coding = self.headers.get("Content-Encoding", "")
            whole = zstandard.ZstdDecompressor().decompressobj().decompress(body) if coding else body
            uids = [found.decode() for found in re.findall(rb"\r\n\r\nuid=([0-9.]+)", whole)]
            asked = Asked(uids, coding, self.headers["Authorization"].removeprefix("Bearer "))
            stub.asked.append(asked)
            self._answer(*stub.reply(asked))

        def _chunks(self) -> Iterator[bytes]:
            if self.headers.get("Transfer-Encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _answer(self, status: int, told: Any) -> None:
            content = b"" if status == 204 else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + stub.ahead)

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub(lambda asked: (200, answer(asked.uids)))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(made)) as server:
        made.server = server
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def parts(stub: Stub, tmp_path: Path) -> Iterator[Parts]:
    secret = tmp_path / "secret"
    secret.write_text("s")
    with opened(
        GatewaySettings(
            platform=stub.url, client="c", secret_file=str(secret), folder=str(tmp_path / "var"),
            retry_seconds=0.1,
        )
    ) as made:  # fmt: skip
        yield made


def put(parts: Parts, *numbers: int, urgent: bool = False) -> None:
    for n in numbers:
        path = parts.files.root / f"dicom/{n}"
        path.write_bytes(f"uid=1.{n}".encode())
        digest = f"{n:064x}"
        parts.outbox.add(
            Received(f"1.{n}", "1", "1.1", "1.2", digest, digest, 7, f"dicom/{n}", "CT1", n, urgent)
        )


def run(parts: Parts, until: Callable[[], bool]) -> forwarding.Lane:
    """The routine lane, until a condition holds. It is told of every settling by the bell."""
    lane, stop = forwarding.Lane(parts, parts.line, is_urgent=False), threading.Event()
    thread = threading.Thread(target=lane.run, args=(stop,))
    thread.start()
    heard, tries = -1, 0
    while not until() and tries < 400:
        heard, tries = parts.bell.wait(heard, 0.05), tries + 1
    stop.set()
    parts.bell.ring()
    thread.join(10)
    assert until()
    return lane


def empty(parts: Parts) -> bool:
    return parts.outbox.summary().waiting == 0


def states(parts: Parts, *numbers: int) -> dict[str, str]:
    return {uid: fate.state for uid, fate in parts.outbox.fates([f"1.{n}" for n in numbers]).items()}


def test_several_go_in_one_request(stub: Stub, parts: Parts) -> None:
    put(parts, *range(1, 71))
    run(parts, lambda: empty(parts))
    assert [len(one.uids) for one in stub.asked] == [64, 6]
    assert {one.coding for one in stub.asked} == {"zstd"}
    assert parts.outbox.summary().delivered_count == 70


@pytest.mark.parametrize(
    ("status", "told"),
    [
        *((status, {"code": "x"}) for status in (500, 502, 503, 429, 408, 403, 404, 302, 204)),
        (200, {"code": "x"}), (200, []), (200, "We'll be back"), (202, None),
    ],
)  # fmt: skip
def test_no_answer_about_instances_is_tried_again_until_there_is_one(
    stub: Stub, parts: Parts, status: int, told: Any
) -> None:
    """A page of a proxy's that says 200 is none either."""
    stub.reply = lambda asked: (status, told) if len(stub.asked) < 4 else (200, answer(asked.uids))
    put(parts, 1, 2)
    run(parts, lambda: empty(parts))
    assert [one.uids for one in stub.asked] == [["1.1", "1.2"]] * 4
    assert states(parts, 1, 2) == {"1.1": "delivered", "1.2": "delivered"}


def test_a_refused_token_is_replaced(stub: Stub, parts: Parts) -> None:
    stub.reply = lambda asked: (
        (401, {"code": "login"}) if asked.token == "token-1" else (200, answer(asked.uids))
    )
    put(parts, 1)
    run(parts, lambda: empty(parts))
    assert [one.token for one in stub.asked] == ["token-1", "token-2"]


def test_a_token_is_renewed_before_it_ends(stub: Stub, parts: Parts) -> None:
    stub.lifetime = 0.02
    put(parts, 1)
    run(parts, lambda: empty(parts))
    time.sleep(0.02)
    put(parts, 2)
    run(parts, lambda: empty(parts))
    stub.lifetime = 300
    time.sleep(0.02)
    for n in (3, 4):
        put(parts, n)
        run(parts, lambda: empty(parts))
    assert [one.token for one in stub.asked] == ["token-1", "token-2", "token-3", "token-3"]


def test_a_request_refused_as_such_is_sent_plain_then_one_by_one(stub: Stub, parts: Parts) -> None:
    """A proxy in between refuses; only the instance that it refuses alone stands apart."""
    stub.reply = lambda asked: (
        (413, {"code": "too-long"}) if "1.2" in asked.uids else (200, answer(asked.uids))
    )
    put(parts, 1, 2, 3)
    run(parts, lambda: empty(parts))
    assert [(one.uids, one.coding) for one in stub.asked[:2]] == [
        (["1.1", "1.2", "1.3"], "zstd"), (["1.1", "1.2", "1.3"], ""),
    ]  # fmt: skip
    assert all(len(one.uids) == 1 for one in stub.asked[2:])
    assert states(parts, 1, 2, 3) == {"1.1": "delivered", "1.2": "apart", "1.3": "delivered"}
    assert [one.reason for one in parts.outbox.apart()] == ["http-413"]


def test_a_platform_that_knows_no_codings_gets_plain_bodies(stub: Stub, parts: Parts) -> None:
    stub.reply = lambda asked: (415, {}) if asked.coding else (200, answer(asked.uids))
    put(parts, 1)
    run(parts, lambda: empty(parts))
    assert [one.coding for one in stub.asked] == ["zstd", ""]


def test_what_the_platform_will_refuse_again_is_not_asked_again(stub: Stub, parts: Parts) -> None:
    stub.reply = lambda asked: (202, answer([one for one in asked.uids if one != "1.2"], {"1.2": 0x0122}))
    put(parts, 1, 2, 3)
    run(parts, lambda: empty(parts))
    assert [one.uids for one in stub.asked] == [["1.1", "1.2", "1.3"]]
    assert [(one.uid, one.reason) for one in parts.outbox.apart()] == [("1.2", "unsupported-sop-class")]


def test_what_the_answer_does_not_name_is_sent_alone(stub: Stub, parts: Parts) -> None:
    def reply(asked: Asked) -> Reply:
        if asked.uids == ["1.2"]:
            return 400, answer([], {}, [0xC210])
        return 202, answer([one for one in asked.uids if one != "1.2"], {}, [0xC210])

    stub.reply = reply
    put(parts, 1, 2, 3)
    run(parts, lambda: empty(parts))
    assert [one.uids for one in stub.asked] == [["1.1", "1.2", "1.3"], ["1.2"]]
    assert states(parts, 1, 2, 3) == {"1.1": "delivered", "1.2": "apart", "1.3": "delivered"}


def test_a_file_that_cannot_be_read_holds_nothing_up(stub: Stub, parts: Parts) -> None:
    put(parts, 1, 2, 3)
    broken = parts.files.root / "dicom/2"
    broken.unlink()
    broken.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read
    run(parts, lambda: empty(parts))
    assert states(parts, 1, 2, 3) == {"1.1": "delivered", "1.2": "apart", "1.3": "delivered"}
    assert [one.reason for one in parts.outbox.apart()] == ["file-unreadable"]


def test_why_the_platform_does_not_let_it_is_shown(stub: Stub, parts: Parts) -> None:
    stub.reply = lambda _asked: (403, {"code": "gateway-switched-off"})
    put(parts, 1)
    run(parts, lambda: parts.state.said() == {"routine": "gateway-switched-off"})
    assert states(parts, 1) == {"1.1": "waiting"}


def test_no_room_on_the_platform_passes(stub: Stub, parts: Parts) -> None:
    stub.reply = lambda asked: (
        (503, answer([], dict.fromkeys(asked.uids, 0xA700))) if len(stub.asked) < 3
        else (200, answer(asked.uids))
    )  # fmt: skip
    put(parts, 1, 2)
    run(parts, lambda: empty(parts))
    assert states(parts, 1, 2) == {"1.1": "delivered", "1.2": "delivered"}
    assert parts.outbox.apart() == []


def test_an_instance_that_the_platform_fails_on_again_and_again_stands_apart(
    stub: Stub, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(forwarding, "LONGEST_INSTANCE_WAIT", 0.002)
    stub.reply = lambda asked: (409, answer([], dict.fromkeys(asked.uids, 0xC211)))
    put(parts, 1)
    run(parts, lambda: empty(parts))
    assert len(stub.asked) == forwarding.TRIES
    assert [one.reason for one in parts.outbox.apart()] == ["failed"]


def test_outside_its_hours_only_what_is_urgent_goes(stub: Stub, parts: Parts) -> None:
    now = parts.settings.now()
    closed = f"{(now.hour + 2) % 24:02d}:00", f"{(now.hour + 3) % 24:02d}:00"
    settings = GatewaySettings(start=closed[0], until=closed[1])
    assert settings.window is not None
    assert not settings.window.holds(now)
    put(parts, 1)
    put(parts, 2, urgent=True)
    closed_parts = Parts(
        settings, parts.outbox, parts.files, parts.room, parts.platform, parts.line, parts.bell, parts.state
    )
    assert forwarding.Lane(closed_parts, parts.line, is_urgent=False)._batch() == []
    assert [one.uid for one in forwarding.Lane(closed_parts, parts.line, is_urgent=True)._batch()] == ["1.2"]
    assert [one.uid for one in forwarding.Lane(parts, parts.line, is_urgent=False)._batch()] == ["1.1"]


def test_waits_grow_to_the_longest_with_jitter() -> None:
    waits = Waits(1.0, 60.0, spread=lambda low, _high: low)
    assert [waits.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert all(30 <= Waits(1.0, 60.0, failures=n).next() <= 60 for n in (6, 100, 10**6))


def test_a_routine_request_stands_back_for_an_urgent_one() -> None:
    line, order = Line(0), []
    first, done = threading.Event(), threading.Event()

    def routine() -> None:
        for _chunk in line.routine([b"r"] * 5):
            order.append("r")
        done.set()

    urgent = line.urgent([b"u"] * 3)
    next(urgent)
    thread = threading.Thread(target=lambda: (first.set(), routine()))
    thread.start()
    first.wait(5)
    order += ["u" for _chunk in urgent]
    thread.join(10)
    assert done.is_set()
    assert order == ["u"] * 2 + ["r"] * 5


def test_the_rate_is_kept_by_what_is_routine_alone() -> None:
    line = Line(100_000)
    seconds = []
    for chunks in (line.routine([bytes(10_000)] * 4), line.urgent([bytes(10_000)] * 4)):
        began = time.monotonic()
        assert sum(map(len, chunks)) == 40_000
        seconds.append(time.monotonic() - began)
    assert 0.35 <= seconds[0] < 2
    assert seconds[1] < 0.2
