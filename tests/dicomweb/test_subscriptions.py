"""UPS-RS subscriptions and their event channel, over real WebSockets. PS3.18 §11.10 to §11.13, PS3.4
§CC.2.3, §CC.2.4"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect

from dicomweb import subscriptions
from dicomweb.images import Images
from dicomweb.routes import routes
from dicomweb.subscriptions import EVERY, FILTERED
from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.store.contract import Store
from tests.dicomweb.conftest import As
from tests.dicomweb.serving import serving
from tests.dicomweb.test_access import ME, request, study
from tests.dicomweb.test_worklist import JSON, STEP, state

BLIND = Access("Client/blind", (Scope("ImagingStudy", "rs"),), None)
OTHER = Access("Client/other", (Scope("*", "cruds"),), None)
QUIET = 0.6  # seconds without an event that say that none comes


@dataclass
class Listener:
    """A channel of one subscriber."""

    socket: ClientConnection

    async def next(self) -> tuple[str, int, dict[str, Any]]:
        """Work item, event type, attributes without those of the command."""
        told = orjson.loads(await asyncio.wait_for(self.socket.recv(), 10))
        assert told.pop("00000002")["Value"] == ["1.2.840.10008.5.1.4.34.6.4"]
        assert told.pop("00000110")["vr"] == "US"
        return told.pop("00001000")["Value"][0], told.pop("00001002")["Value"][0], told

    async def states(self, count: int) -> list[tuple[str, str]]:
        """(work item, state) of the next state reports."""
        found = [await self.next() for _one in range(count)]
        assert [kind for _uid, kind, _told in found] == [1] * count
        return [(uid, told["00741000"]["Value"][0]) for uid, _kind, told in found]

    async def silent(self) -> bool:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.socket.recv(), QUIET)
        return True


class Desk(httpx.AsyncClient):
    """HTTP and WebSockets to one served application, as `app.access`."""

    def __init__(self, base: str, app: As | None = None) -> None:
        super().__init__(base_url=base, timeout=20)
        self.base, self.app = base, app

    async def made(self, uid: str, **changes: Any) -> None:
        answer = await self.post(f"workitems?{uid}", json=[{**STEP, **changes}], headers=JSON)
        assert answer.status_code == 201, answer.text

    async def put_state(self, uid: str, name: str) -> None:
        answer = await self.put(f"workitems/{uid}/state", json=state(name), headers=JSON)
        assert answer.status_code == 200, answer.text

    async def subscribed(self, uid: str, title: str = "WATCH", **params: str) -> str:
        """Returns the channel's address."""
        answer = await self.post(f"workitems/{uid}/subscribers/{title}", params=params)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["content-location"])

    @asynccontextmanager
    async def listening(self, title: str = "WATCH") -> AsyncIterator[Listener]:
        url = self.base.replace("http", "ws", 1) + f"/subscribers/{title}"
        async with connect(url) as opened:
            yield Listener(opened)


@pytest.fixture
async def desk(images: Images) -> AsyncIterator[Desk]:
    """The routes on a real server in this process, the reader's Access as the test says."""
    app = As(Starlette(routes=routes(images)))
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = asyncio.create_task(server.serve([listener]))
        async with Desk(f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web", app) as opened:
            yield opened
        server.should_exit = True
        await running


async def test_one_work_item_from_its_state_to_its_end(desk: Desk) -> None:
    """Event types 1, 3, 5 and the initial state report. PS3.4 Table CC.2.4-1"""
    await desk.made("2.25.1")
    await desk.made("2.25.2")
    assert await desk.subscribed("2.25.1") == "ws://test/dicom-web/subscribers/WATCH"
    async with desk.listening() as channel:
        uid, kind, told = await channel.next()
        assert (uid, kind, told["00741000"]["Value"], told["00404041"]["Value"]) == (
            "2.25.1", 1, ["SCHEDULED"], ["READY"],
        )  # fmt: skip
        performers = {"vr": "SQ", "Value": [{"00404037": {"vr": "PN", "Value": [{"Alphabetic": "VIDAL"}]}}]}
        await desk.post("workitems/2.25.1", json=[{"00404034": performers}], headers=JSON)
        assert await channel.next() == ("2.25.1", 5, {"00404034": performers})
        await desk.put_state("2.25.2", "IN PROGRESS")
        await desk.put_state("2.25.1", "IN PROGRESS")
        assert await channel.states(1) == [("2.25.1", "IN PROGRESS")]
        progress = {"vr": "SQ", "Value": [{"00741004": {"vr": "DS", "Value": [40]}}]}
        body = [{"00741002": progress, "00741204": {"vr": "LO", "Value": ["Lecture"]}}]
        await desk.post("workitems/2.25.1?transaction-uid=2.25.900", json=body, headers=JSON)
        assert await channel.next() == ("2.25.1", 3, {"00741002": progress})
        await desk.put_state("2.25.1", "COMPLETED")
        assert await channel.states(1) == [("2.25.1", "COMPLETED")]
        assert await channel.silent()


async def test_cancellation_reaches_the_performer(desk: Desk) -> None:
    """Event type 2. Nobody listens: 409, as the performer cannot be contacted. PS3.4 §CC.2.2"""
    reason = {"00741238": {"vr": "LT", "Value": ["Doublon"]}}
    for uid in ("2.25.1", "2.25.2"):
        await desk.made(uid)
    answer = await desk.post("workitems/2.25.2/cancelrequest", json=[reason], headers=JSON)
    assert answer.status_code == 202
    await desk.put_state("2.25.1", "IN PROGRESS")
    answer = await desk.post("workitems/2.25.1/cancelrequest", json=[reason], headers=JSON)
    assert answer.status_code == 409
    await desk.subscribed("2.25.1")
    await desk.subscribed("2.25.2")
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "IN PROGRESS")]
        uid, kind, told = await channel.next()
        assert (uid, kind, told["00741000"]["Value"], told["00741238"]) == (
            "2.25.2", 1, ["CANCELED"], reason["00741238"],
        )  # fmt: skip
        answer = await desk.post("workitems/2.25.1/cancelrequest", json=[reason], headers=JSON)
        assert answer.status_code == 202
        uid, kind, told = await channel.next()
        assert (uid, kind, told["00741238"]) == ("2.25.1", 2, reason["00741238"])
        assert (await desk.get("workitems/2.25.1")).json()[0]["00741000"]["Value"] == ["IN PROGRESS"]


async def test_every_work_item_those_to_come_too_until_suspended(desk: Desk) -> None:
    """PS3.4 §CC.2.3: global subscription, suspension, unsubscription."""
    await desk.made("2.25.1")
    await desk.subscribed(EVERY, deletionlock="true")
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "SCHEDULED")]
        await desk.made("2.25.2")
        assert await channel.states(1) == [("2.25.2", "SCHEDULED")]
        assert (await desk.post(f"workitems/{EVERY}/subscribers/WATCH/suspend")).status_code == 200
        assert (await desk.post(f"workitems/{EVERY}/subscribers/WATCH/suspend")).status_code == 404
        await desk.made("2.25.3")
        await desk.put_state("2.25.3", "IN PROGRESS")
        await desk.put_state("2.25.2", "IN PROGRESS")
        assert await channel.states(1) == [("2.25.2", "IN PROGRESS")]
        assert (await desk.delete("workitems/2.25.2/subscribers/WATCH")).status_code == 200
        await desk.put_state("2.25.2", "COMPLETED")
        await desk.put_state("2.25.1", "IN PROGRESS")
        assert await channel.states(1) == [("2.25.1", "IN PROGRESS")]
        assert (await desk.delete(f"workitems/{EVERY}/subscribers/WATCH")).status_code == 200
        await desk.put_state("2.25.1", "COMPLETED")
        with pytest.raises(websockets.ConnectionClosedOK):
            await asyncio.wait_for(channel.socket.recv(), 20)


@pytest.mark.parametrize(
    "params", [{"filter": "00741204=Lecture*,00100010=LAB*"}, {"ProcedureStepLabel": "Lecture*"}]
)  # fmt: skip
async def test_a_filter(desk: Desk, params: dict[str, str]) -> None:
    other = {"00741204": {"vr": "LO", "Value": ["Contrôle"]}}
    await desk.made("2.25.1")
    await desk.made("2.25.2", **other)
    await desk.subscribed(FILTERED, **params)
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "SCHEDULED")]
        await desk.made("2.25.3", **other)
        await desk.made("2.25.4")
        assert await channel.states(1) == [("2.25.4", "SCHEDULED")]
        await desk.put_state("2.25.3", "IN PROGRESS")
        assert await channel.silent()


async def test_events_wait_for_their_subscriber(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from one channel to the next, when the first has been open for long enough; each is told once."""
    await desk.made("2.25.1")
    await desk.subscribed("2.25.1")
    await desk.put_state("2.25.1", "IN PROGRESS")
    monkeypatch.setattr(subscriptions, "LONGEST_SECONDS", 0.3)
    async with desk.listening() as channel:
        assert await channel.states(2) == [("2.25.1", "SCHEDULED"), ("2.25.1", "IN PROGRESS")]
        with pytest.raises(websockets.ConnectionClosedOK) as ended:
            await asyncio.wait_for(channel.socket.recv(), 20)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001
    await desk.put_state("2.25.1", "COMPLETED")
    monkeypatch.undo()
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "COMPLETED")]
        async with desk.listening() as newer:
            with pytest.raises(websockets.ConnectionClosedOK):
                await asyncio.wait_for(channel.socket.recv(), 20)
            await desk.made("2.25.2")
            await desk.subscribed("2.25.2")
            assert await newer.states(1) == [("2.25.2", "SCHEDULED")]


async def test_nobody_is_told_of_exams_they_may_not_see(desk: Desk, store: Store) -> None:
    """Exact sets, a system as control; also for what comes later, and what is no longer visible."""
    assert desk.app is not None
    puts = [request("r-mine", "Organization/mine"), request("r-other", "Organization/other"),
            study("2.25.1001", "r-mine"), study("2.25.1003", "r-other")]  # fmt: skip
    await store.commit(puts)
    theirs = {"00404021": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": ["2.25.1003"]}}]}}
    await desk.made("2.25.1")
    await desk.made("2.25.3", **theirs)
    await desk.subscribed(EVERY, "ALL")
    desk.app.access = ME
    await desk.subscribed(EVERY, "MINE")
    answer = await desk.post("workitems/2.25.3/subscribers/MINE")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-workitem")
    assert (await desk.delete("workitems/2.25.3/subscribers/MINE")).status_code == 404
    async with AsyncExitStack() as stack:
        mine = await stack.enter_async_context(desk.listening("MINE"))
        desk.app.access = SYSTEM
        every = await stack.enter_async_context(desk.listening("ALL"))
        assert await mine.states(1) == [("2.25.1", "SCHEDULED")]
        assert await every.states(2) == [("2.25.1", "SCHEDULED"), ("2.25.3", "SCHEDULED")]
        await desk.made("2.25.4", **theirs)
        await desk.made("2.25.5")
        assert await mine.states(1) == [("2.25.5", "SCHEDULED")]
        assert await every.states(2) == [("2.25.4", "SCHEDULED"), ("2.25.5", "SCHEDULED")]
        moved = study("2.25.1001", "r-other")
        await store.commit([replace(moved, expect=1)])
        await desk.put_state("2.25.5", "IN PROGRESS")
        assert await every.states(1) == [("2.25.5", "IN PROGRESS")]
        assert await mine.silent()
    for access, title, status in (
        (OTHER, "ALL", 403),
        (OTHER, "THEIRS", 201),
        (BLIND, "X", 403),
        (SYSTEM, "a\\b", 400),
    ):
        desk.app.access = access
        assert (await desk.post(f"workitems/2.25.1/subscribers/{title}")).status_code == status, title
    for access, title in ((OTHER, "ALL"), (BLIND, "ALL"), (SYSTEM, "NONE")):
        desk.app.access = access
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with desk.listening(title):
                pass
        assert refused.value.response.status_code == 403


async def test_what_is_no_subscription(desk: Desk) -> None:
    await desk.made("2.25.1")
    for path, status in (
        ("workitems/2.25.9/subscribers/W", 404), ("workitems/2.25.1/subscribers/12345678901234567", 400),
        ("workitems/2.25.1/subscribers/W?deletionlock=maybe", 400), (f"workitems/{FILTERED}/subscribers/W",
        400), (f"workitems/{FILTERED}/subscribers/W?filter=nonesuch=1", 400),
        (f"workitems/{FILTERED}/subscribers/W?filter=00404005=tomorrow", 400),
        ("workitems/2.25.1/subscribers/W/suspend", 400), (f"workitems/{EVERY}/subscribers/W/suspend", 404),
    ):  # fmt: skip
        assert (await desk.post(path)).status_code == status, path


async def test_who_speaks_on_the_channel_ends_it(desk: Desk) -> None:
    await desk.made("2.25.1")
    await desk.subscribed("2.25.1")
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "SCHEDULED")]
        await channel.socket.send("hello")
        with pytest.raises(websockets.ConnectionClosedError) as ended:
            await asyncio.wait_for(channel.socket.recv(), 10)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1003


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_events_cross_processes(tmp_path: Path) -> None:
    """Two web tiers on one store: what is changed by one is told by the other, with the real guard before
    it."""
    shared = {"STORE": f"sqlite:///{tmp_path / 'var' / 'store.db'}", "FILES": str(tmp_path / "files")}
    for name in ("one", "two"):
        os.makedirs(tmp_path / name)
    with serving(tmp_path / "one", **shared) as one, serving(tmp_path / "two", **shared) as two:
        async with Desk(one.base) as here, Desk(two.base) as there:
            await here.made("2.25.1")
            assert (await here.subscribed("2.25.1")).startswith("ws://127.0.0.1:")
            async with there.listening() as channel:
                assert await channel.states(1) == [("2.25.1", "SCHEDULED")]
                await here.put_state("2.25.1", "IN PROGRESS")
                assert await channel.states(1) == [("2.25.1", "IN PROGRESS")]
            url = there.base.replace("http", "ws", 1) + "/subscribers/WATCH"
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(url, origin="https://evil.example"):  # type: ignore[arg-type]
                    pass
            assert refused.value.response.status_code == 401


async def test_a_channel_ends_with_what_opened_it(desk: Desk, images: Images, store: Store) -> None:
    """Signed out, or the token over: nothing more is told, also nothing that waits."""
    assert desk.app is not None
    now: list[Access | None] = [SYSTEM]

    async def still() -> Access | None:
        return now[0]

    desk.app.still = still
    await desk.made("2.25.1")
    await desk.subscribed("2.25.1")
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "SCHEDULED")]
        now[0] = None
        await desk.put_state("2.25.1", "IN PROGRESS")
        with pytest.raises(websockets.ConnectionClosedError) as ended:
            await asyncio.wait_for(channel.socket.recv(), 10)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1008
    assert len(images.index.subscriptions.waiting("WATCH")) == 1
    now[0] = BLIND
    async with desk.listening() as channel:
        with pytest.raises(websockets.ConnectionClosedError):
            await asyncio.wait_for(channel.socket.recv(), 10)
    now[0] = SYSTEM
    async with desk.listening() as channel:
        assert await channel.states(1) == [("2.25.1", "IN PROGRESS")]


async def test_ae_titles_of_one_reader_are_few(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.app is not None
    monkeypatch.setattr(subscriptions, "MOST_TITLES", 2)
    await desk.made("2.25.1")
    for title, status in (("A", 201), ("<b>&?#", 201), ("C", 429), ("A", 201)):
        address = f"workitems/{EVERY}/subscribers/{quote(title, safe='')}"
        answer = await desk.post(address)
        assert answer.status_code == status, title
        if status == 201:
            assert answer.headers["content-location"].endswith(f"/subscribers/{quote(title, safe='')}")
    assert (await desk.delete(f"workitems/{EVERY}/subscribers/A")).status_code == 200
    await desk.subscribed(EVERY, "C")
    desk.app.access = OTHER
    await desk.subscribed(EVERY, "D")
