"""Errands from who asks to who does them and back, over the routes; rights; what is lost on the way."""

from __future__ import annotations

import asyncio
import os
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import compress

import httpx
import pytest

from dicomweb.gateway.region.board import FORGOTTEN, FORGOTTEN_MOVING, Asked, Board
from dicomweb.gateway.saying import LARGEST, packed, unpacked
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.index.steps import StepMessage
from dicomweb.peers import awaiting
from dicomweb.peers.session import (
    Denied,
    Fetched,
    Incapable,
    PeerError,
    Sendable,
    StepAnswer,
    Unreachable,
    Wanted,
)
from dicomweb.peers.through import GatewaySession
from dicomweb.reasons import CUT
from fhir_server.access import SYSTEM, Access, Scope
from profiles.outcomes import Invalid
from tests.dicomweb import making
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.fixtures import app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import PEER, STORE_ONLY, Site, machine

__all__ = ["app", "clock", "fhir", "region", "site", "worker"]  # fixtures
WANTED = [Wanted("2.25.1", "2.25.2", f"2.25.3.{n}", "1.2.840.10008.5.1.4.1.1.2") for n in range(4)]
ROW = {"0020000D": {"vr": "UI", "Value": ["2.25.1"]}}
HASH = "ab" * 32


def now() -> int:
    return time.time_ns() // 1000


def asked(images: Images, gateway: str = "gw-auch", kind: Any = "echo", **more: Any) -> str:
    return images.board.ask(Asked(gateway, kind, PEER, "line", more.pop("body", {}), **more), now())


@pytest.fixture
def session(images: Images) -> GatewaySession:
    images.board.poll("gw-auch", (), now())  # it was seen a moment ago
    return GatewaySession(PEER, images.board)


async def test_a_question_and_its_pages(session: GatewaySession, site: Site) -> None:
    question = asyncio.create_task(asyncio.to_thread(session.find, "study", {"PatientID": "1"}, 3))
    (errand,) = await site.poll(wait=5)
    assert errand["asked"] == {"level": "study", "keys": {"PatientID": "1"}, "most": 3}
    assert (errand["kind"], errand["peer"]["host"], errand["peer"]["ae_title"]) == (
        "find",
        "10.0.0.9",
        "AUCH",
    )
    assert await site.tell(errand, {"rows": [ROW, ROW]}) == 204
    errand["start"] = 1
    assert await site.done(errand, {"rows": [ROW, ROW]}) == 204
    assert await question == [ROW, ROW, ROW]
    assert await site.done(errand) == 404  # over and gone
    assert await site.poll(errand["id"]) == []


async def test_a_question_waits_little(session: GatewaySession, site: Site) -> None:
    """From the question to the gateway's hands and back: the goal is 50 ms on an idle machine. Here, beside
    other tests, the quickest of ten."""
    took = []
    for _ in range(10):
        polling = asyncio.create_task(site.poll(wait=5))
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        question = asyncio.create_task(asyncio.to_thread(session.echo))
        (errand,) = await polling
        await site.done(errand)
        await question
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05, took


async def test_the_most_urgent_is_given_first(images: Images, site: Site) -> None:
    for urgency in (1, 0, 1):
        asked(images, urgency=urgency, body={"urgency": urgency})
    assert [one["asked"]["urgency"] for one in await site.poll()] == [0, 1, 1]


async def test_fetched_instances_are_settled_one_by_one(session: GatewaySession, site: Site) -> None:
    fetching = session.fetch(WANTED, lambda _path: None)
    first = asyncio.create_task(asyncio.to_thread(next, fetching))
    (errand,) = await site.poll(wait=5)
    assert [one[2] for one in errand["asked"]["wanted"]] == [one.instance for one in WANTED]
    await site.tell(errand, {"instance": "2.25.3.0", "source": HASH})
    assert await first == Fetched("2.25.3.0", source=HASH)
    errand["start"] = 1
    await site.tell(
        errand, {"instance": "2.25.3.1", "missing": "not-given"},
        {"instance": "2.25.3.2", "refused": CUT.slug},
        {"instance": "2.25.9.9", "source": HASH}, over={"ok": True},
    )  # fmt: skip
    left = await asyncio.to_thread(lambda: list(fetching))
    assert [(one.instance, one.missing, one.source) for one in left] == [
        ("2.25.3.1", "not-given", ""), ("2.25.3.2", "", ""), ("2.25.3.3", "not-given", ""),
    ]  # fmt: skip
    assert left[1].refused is not None
    assert left[1].refused.reason == CUT


async def test_a_step_is_told_through_the_gateway(session: GatewaySession, site: Site) -> None:
    said, begun = StepMessage("2.25.7", "set", "1.2.840.10008.1.2.1", b"\x08\x00" * 5000, 1), list[str]()
    asked = asyncio.create_task(asyncio.to_thread(session.perform, said, lambda: begun.append("begun")))
    (errand,) = await site.poll(wait=5)
    assert (errand["kind"], unpacked(errand["asked"], 1)) == ("step", said)
    assert await site.done(errand, {"status": 0x0110, "error": 0xA710, "again": True}) == 204
    assert (await asked, begun) == (StepAnswer(0x0110, 0xA710, True), ["begun"])
    session.board.poll("gw-auch", (), now() - 60_000_000)  # not seen any more: nothing may have been told
    with pytest.raises(Unreachable):
        session.perform(said, lambda: begun.append("begun"))
    with pytest.raises(Incapable):
        session.perform(replace(said, body=os.urandom(2_000_000)), lambda: begun.append("begun"))
    assert begun == ["begun"]


@pytest.mark.parametrize(
    "change",
    [{"uid": "a"}, {"uid": None}, {"kind": "get"}, {"kind": []}, {"syntax": 5}, {"body": ""}, {"body": "é"},
     {"body": "AAAA"}, {"body": b64encode(compress(b"x" * 100)[:-1]).decode()},
     {"body": b64encode(compress(bytes(LARGEST + 1))).decode()}],
    ids=str,
)  # fmt: skip
def test_what_is_said_of_no_step(change: dict[str, Any]) -> None:
    good = packed(StepMessage("2.25.7", "set", "1.2.840.10008.1.2.1", b"x", 1))
    assert unpacked(good, 1).body == b"x"
    with pytest.raises(Invalid):
        unpacked({**good, **change}, 1)


async def test_who_leaves_takes_the_errand_back(session: GatewaySession, site: Site) -> None:
    """What is overtaken or cancelled stops at the gateway's next word."""
    fetching = session.fetch(WANTED, lambda _path: None)
    first = asyncio.create_task(asyncio.to_thread(next, fetching))
    (errand,) = await site.poll(wait=5)
    await site.tell(errand, {"instance": "2.25.3.0", "source": HASH})
    await first
    await asyncio.to_thread(fetching.close)  # type: ignore[attr-defined]
    errand["start"] = 1
    assert await site.tell(errand, {"instance": "2.25.3.1", "source": HASH}) == 404
    assert await site.poll(errand["id"]) == []


async def test_a_gateway_that_died_is_given_the_rest(session: GatewaySession, site: Site) -> None:
    fetching = asyncio.create_task(asyncio.to_thread(lambda: list(session.fetch(WANTED, lambda _path: None))))
    (errand,) = await site.poll(wait=5)
    await site.tell(errand, {"instance": "2.25.3.0", "source": HASH})
    assert await site.poll(errand["id"]) == []  # it is in hand
    (again,) = await site.poll()  # a new process, with nothing in hand
    assert (again["id"], again["attempt"], again["start"]) == (errand["id"], 2, 1)
    assert [one[2] for one in again["asked"]["wanted"]] == ["2.25.3.1", "2.25.3.2", "2.25.3.3"]
    errand["start"] = 1
    assert await site.done(errand, {"instance": "2.25.3.1", "missing": "late"}) == 404  # the dead one's
    await site.done(again, *({"instance": one.instance, "source": HASH} for one in WANTED[1:]))
    assert [(one.instance, one.source) for one in await fetching] == [(one.instance, HASH) for one in WANTED]


async def test_a_search_that_is_given_again_begins_anew(session: GatewaySession, site: Site) -> None:
    question = asyncio.create_task(asyncio.to_thread(session.find, "study", {"PatientID": "1"}, 500))
    (errand,) = await site.poll(wait=5)
    await site.tell(errand, {"rows": [ROW, ROW]})
    (again,) = await site.poll()
    assert again["start"] == 0
    await site.done(again, {"rows": [ROW]})
    assert await question == [ROW]


async def test_said_twice_counts_once(session: GatewaySession, site: Site) -> None:
    """An answer whose acknowledgement was lost is told again."""
    question = asyncio.create_task(asyncio.to_thread(session.find, "study", {"PatientID": "1"}, 500))
    (errand,) = await site.poll(wait=5)
    for _ in range(2):
        assert await site.tell(errand, {"rows": [ROW]}) == 204
    errand["start"] = 1
    await site.done(errand)
    assert await question == [ROW]


async def test_only_the_newest_poll_takes(images: Images, site: Site) -> None:
    """A gateway that lost its connection polls again: the old poll must not take an errand into nowhere."""
    old = asyncio.create_task(site.poll(wait=1))
    await asyncio.sleep(0.05)
    new = asyncio.create_task(site.poll(wait=5))
    await asyncio.sleep(0.05)
    id = asked(images)
    assert [one["id"] for one in await new] == [id]
    assert await old == []


async def test_an_errand_that_nobody_waits_for_is_not_given(images: Images, site: Site) -> None:
    question = Asked("gw-auch", "echo", PEER, "line", {})
    moving = Asked("gw-auch", "fetch", PEER, "line", {"wanted": []})
    images.board.ask(question, now() - FORGOTTEN - 1)
    images.board.ask(moving, now() - FORGOTTEN_MOVING - 1)
    kept = {
        images.board.ask(question, now() - FORGOTTEN + 20_000_000),
        images.board.ask(moving, now() - FORGOTTEN - 20_000_000),
    }
    assert {one["id"] for one in await site.poll()} == kept


async def test_a_file_goes_down_whole_or_in_part(
    session: GatewaySession, site: Site, app: As, take: Callable[..., Outcome], images: Images, tmp_path: Path
) -> None:
    take(making.write(tmp_path / "one.dcm", making.dataset()))
    (file,) = images.index.files(making.STUDY)
    path = images.files.path(file.path)
    sent = Sendable(file.uid, "1.2.840.10008.5.1.4.1.1.2", file.transfer_syntax, path)
    sending = asyncio.create_task(asyncio.to_thread(session.send, sent))
    (errand,) = await site.poll(wait=5)
    address = f"/gateway/errands/{errand['id']}/instances"
    whole = await site.http.get(address)
    assert (whole.status_code, whole.content) == (200, path.read_bytes())
    (row,) = errand["asked"]["instances"]
    assert row == [file.uid, sent.sop_class, file.transfer_syntax, len(whole.content), file.sha256]
    rest = await site.http.get(address, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, whole.content[100:])
    app.access = machine("gw-castres")
    assert (await site.http.get(address)).status_code == 404
    app.access = machine("gw-auch")
    await site.done(errand, {"instance": file.uid, "syntax": file.transfer_syntax})
    assert await sending == file.transfer_syntax
    assert (await site.http.get(address)).status_code == 404


async def test_a_file_of_elsewhere_never_goes_down(images: Images, site: Site, tmp_path: Path) -> None:
    """Whatever a row says: only what is in the files folder."""
    outside = tmp_path / "secret"
    outside.write_text("x")
    asked(images, kind="send", files=[outside])
    (errand,) = await site.poll()
    assert (await site.http.get(f"/gateway/errands/{errand['id']}/instances")).status_code == 404


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ({"error": "unreachable", "slug": "no-connection"}, Unreachable),
        ({"error": "denied", "slug": "association-rejected"}, Denied),
        ({"error": "failed", "slug": "unreadable-answer"}, PeerError),
    ],
)
async def test_what_went_wrong_at_the_site(
    outcome: dict[str, str], kind: type[PeerError], session: GatewaySession, site: Site
) -> None:
    question = asyncio.create_task(asyncio.to_thread(session.echo))
    (errand,) = await site.poll(wait=5)
    await site.tell(errand, over=outcome)
    with pytest.raises(kind) as error:
        await question
    assert (type(error.value), error.value.slug) == (kind, outcome["slug"])


async def test_a_gateway_that_is_silent(
    images: Images, region: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = images.board
    with pytest.raises(Unreachable) as error:
        GatewaySession(PEER, board).echo()
    assert error.value.slug == "gateway-silent"
    board.poll("gw-auch", (), now())
    monkeypatch.setattr(awaiting, "UNTAKEN", 0.1)
    with pytest.raises(Unreachable) as error:  # seen a moment ago, and takes nothing
        await asyncio.to_thread(GatewaySession(PEER, board).echo)
    assert error.value.slug == "gateway-silent"
    assert board.rows("SELECT id FROM errand") == []  # it was taken back
    later = GatewaySession(PEER, board, now=lambda: now() + 41_000_000)
    with pytest.raises(Unreachable):
        later.echo()


async def test_nobody_else_sees_or_answers_an_errand(images: Images, app: As, site: Site) -> None:
    """Two gateways, other machines, persons: 404 for what is not theirs, 403 for who is no gateway."""
    id = asked(images)
    app.access = machine("gw-castres")
    assert await site.poll() == []
    (errand,) = await _as(app, site, "gw-auch")
    assert errand["id"] == id
    app.access = machine("gw-castres")
    assert await site.done(errand) == 404
    assert await site.done({**errand, "id": "nowhere"}) == 404
    others = {
        "machine": Access("Client/other", (Scope("*", "cruds"),), None),
        "system": SYSTEM,
        "person": Access("Practitioner/p1", (Scope("*", "rs"),), frozenset({"Practitioner/p1"})),
    }
    for access in others.values():
        app.access = access
        answers = [
            await site.http.get("/gateway/errands"),
            await site.http.post(f"/gateway/errands/{id}/answers", json={}),
            await site.http.get(f"/gateway/errands/{id}/instances"),
            await site.http.post("/gateway/health", json={}),
        ]
        assert [one.status_code for one in answers] == [403] * 4
    app.access = machine("gw-auch")
    assert await site.done(errand) == 204


async def _as(app: As, site: Site, gateway: str) -> list[dict[str, Any]]:
    app.access = machine(gateway)
    return await site.poll()


async def test_a_gateways_token_reads_nothing(
    app: As, site: Site, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Its scope stores images: no search, no image, no other site's PACS, no transfer."""
    assert (Scope("ImagingStudy", "c"),) == STORE_ONLY
    take(making.write(tmp_path / "one.dcm", making.dataset()))
    http: httpx.AsyncClient = site.http
    study = f"/dicom-web/studies/{making.STUDY}"
    assert (await http.get("/dicom-web/studies")).status_code == 204
    assert (await http.get("/dicom-web/peers")).json() == []
    asks = [
        await http.get(f"{study}/metadata"), await http.get(study), await http.delete(study),
        await http.post("/dicom-web/peers/pacs-auch/search", json={"keys": {"PatientID": "1"}}),
        await http.post("/dicom-web/transfers", json={"peer": "pacs-auch", "study": making.STUDY}),
        await http.get("/dicom-web/transfers/none"),
    ]  # fmt: skip
    assert {one.status_code for one in asks} <= {403, 404}, [one.status_code for one in asks]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"attempt": "1"}, {"attempt": 1, "start": -1}, {"attempt": 1, "answers": {}},
        {"attempt": 1, "answers": [{"rows": 3}]}, {"attempt": 1, "answers": [{"rows": [{"PatientID": {}}]}]},
        {"attempt": 1, "answers": [{"rows": []}] * 201}, {"attempt": 1, "over": {}},
        {"attempt": 1, "over": {"error": "SystemExit", "slug": "x"}},
        {"attempt": 1, "over": {"error": "denied", "slug": "<b>"}},
        {"attempt": 1, "over": {"error": ["denied"], "slug": "x"}}, {"attempt": 1, "over": {"error": {}}},
        {"attempt": 2**63}, {"attempt": -(2**31)}, {"attempt": True}, {"attempt": 1, "start": 2**64 - 1},
        {"attempt": 1, "over": [[]]}, {"attempt": 1, "answers": [[[]]]},
    ],
)  # fmt: skip
async def test_what_is_no_answer(body: dict[str, Any], images: Images, site: Site) -> None:
    asked(images, kind="find", body={})
    (errand,) = await site.poll()
    address = f"/gateway/errands/{errand['id']}/answers"
    assert (await site.http.post(address, json=body)).status_code == 400
    assert (await site.http.post(address, content=b"[]")).status_code == 400
    assert await site.poll(errand["id"]) == []  # still in hand


@pytest.mark.parametrize(
    "told",
    [{}, {"status": 0, "error": 0}, {"status": 65536, "error": 0, "again": False},
     {"status": -1, "error": 0, "again": False}, {"status": True, "error": 0, "again": False},
     {"status": 0, "error": "0", "again": False}, {"status": 0, "error": 0, "again": 1}],
)  # fmt: skip
async def test_what_is_no_answer_to_a_step(told: dict[str, Any], images: Images, site: Site) -> None:
    asked(images, kind="step", body={})
    (errand,) = await site.poll()
    assert await site.tell(errand, told) == 400


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=1e9", "wait=²", "hand=" + ",".join("a" * 65)])
async def test_what_is_no_poll(query: str, site: Site) -> None:
    assert (await site.http.get(f"/gateway/errands?{query}")).status_code == 400


def test_another_schema_stops_the_start(images: Images, tmp_path: Path) -> None:
    board = Board(tmp_path / "other.db")
    board.open()
    with board.writing() as connection:
        connection.execute("PRAGMA user_version=99")
    board.close()
    with pytest.raises(Exception, match="have schema 99, this program has 1"):
        board.open()


def test_peers_of_two_gateways_are_two(images: Images) -> None:
    """A peer's errands go to its own gateway alone."""
    images.board.poll("gw-castres", (), now())
    with pytest.raises(Unreachable):
        GatewaySession(PEER, images.board).echo()  # Auch's was never seen
    other = replace(PEER, via="gw-castres")
    assert GatewaySession(other, images.board).peer.via == "gw-castres"
