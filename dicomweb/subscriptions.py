"""UPS-RS subscriptions: to one work item, to all, to those that fit a filter; and the WebSocket on which a
subscriber is told of them.

Events wait in the index until they are sent, so that a subscriber who was away, or whose web process died,
misses none. What the reader may not see when an event is sent is not told, and a channel ends with the token
or session that opened it; it lasts ten minutes at most. A reader has a few AE titles, so that nobody can have
each change written for thousands. PS3.18 §11.10 to §11.13, §8.10 (notifications); PS3.4 §CC.2.3
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from dicomweb import keys, ups_events, worklist
from dicomweb.images import Images
from dicomweb.index.contract import Match
from dicomweb.index.steps import Subscriber, WorkItem
from dicomweb.matching import matches
from dicomweb.web import PRIVATE, Endpoint
from fhir_server.access import Access
from profiles.outcomes import Forbidden, Invalid, NotFound, TooManyRequests

EVERY, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
LOOK_SECONDS = 0.25  # between two looks for new events, while a channel is open
IDLE_SECONDS = 1.0  # a channel without events looks whether it is still the one
LONGEST_SECONDS = 600.0
MOST_TITLES = 20
_AE_TITLE = re.compile(r"(?=.*[^ ])[ -\[\]-~]{1,16}")
_LOCK = "deletionlock"


def subscribe(images: Images) -> Endpoint:
    """POST /workitems/{uid}/subscribers/{aetitle}[?deletionlock&filter]"""

    async def subscribe(request: Request) -> Response:
        access = worklist.allowed(request, "r")
        who, uid = _who(request, access), str(request.path_params["workitem"])
        lock = _flag(request, _LOCK)
        told = images.index.subscriptions
        await _check_room(images, who)
        if uid in (EVERY, FILTERED):
            wanted = _wanted(request) if uid == FILTERED else []
            if uid == FILTERED and not wanted:
                raise Invalid("bad-parameter", "a filtered subscription needs a filter")
            every = await worklist.seen(
                images, access, await anyio.to_thread.run_sync(images.index.workitems)
            )
            here = [one for one in every if all(matches(one.attributes, match) for match in wanted)]
            taken = await anyio.to_thread.run_sync(told.subscribe_every, who, wanted, here, lock)
        else:
            item = await worklist.item_of(images, request, access)
            taken = await anyio.to_thread.run_sync(told.subscribe, who, [item], lock)
        _check(taken)
        base = re.sub("^http", "ws", images.base)
        address = f"{base}/subscribers/{quote(who.ae_title, safe='')}"
        return Response(None, 201, {"Content-Location": address, "Cache-Control": PRIVATE})

    return subscribe


def unsubscribe(images: Images) -> Endpoint:
    """DELETE /workitems/{uid}/subscribers/{aetitle}"""

    async def unsubscribe(request: Request) -> Response:
        access = worklist.allowed(request, "r")
        who, uid = _who(request, access), str(request.path_params["workitem"])
        if uid not in (EVERY, FILTERED):
            await worklist.item_of(images, request, access)
        one = "" if uid in (EVERY, FILTERED) else uid
        _check(await anyio.to_thread.run_sync(images.index.subscriptions.unsubscribe, who, one))
        return Response(None, 200)

    return unsubscribe


def suspend(images: Images) -> Endpoint:
    """POST /workitems/{uid}/subscribers/{aetitle}/suspend: no new work items; those subscribed to stay."""

    async def suspend(request: Request) -> Response:
        who = _who(request, worklist.allowed(request, "r"))
        if request.path_params["workitem"] not in (EVERY, FILTERED):
            raise Invalid("bad-workitem", "only a subscription to every work item can be suspended")
        if not await anyio.to_thread.run_sync(images.index.subscriptions.suspend, who):
            raise NotFound("no-such-subscription", "no such subscription")
        return Response(None, 200)

    return suspend


def _who(request: Request, access: Access) -> Subscriber:
    """Raises Invalid."""
    title = str(request.path_params["subscriber"])
    if not _AE_TITLE.fullmatch(title):
        raise Invalid("bad-ae-title", "an AE title has 1 to 16 characters")
    return Subscriber(title.strip(), access.subject)


async def _check_room(images: Images, who: Subscriber) -> None:
    """Raises TooManyRequests."""
    held = await anyio.to_thread.run_sync(images.index.subscriptions.titles, who.owner)
    if who.ae_title not in held and len(held) >= MOST_TITLES:
        raise TooManyRequests("too-many-subscribers", f"at most {MOST_TITLES} AE titles for one reader")


def _check(taken: bool) -> None:
    if not taken:
        raise Forbidden("not-your-ae-title", "somebody else subscribes under this AE title")


def _flag(request: Request, name: str) -> bool:
    value = request.query_params.get(name, "false").lower()
    if value not in ("true", "false"):
        raise Invalid("bad-parameter", f"{name} is true or false")
    return value == "true"


def _wanted(request: Request) -> list[Match]:
    """The conditions: `filter=00404041=READY,PatientID=1` or as the parameters of a search. Raises
    Invalid."""
    found: list[Match] = []
    for name, value in request.query_params.multi_items():
        pairs = [one.partition("=")[::2] for one in value.split(",")] if name == "filter" else [(name, value)]
        for key, wanted in pairs:
            path = None if key.lower() == _LOCK else keys.path_of(key)
            if path is None and name == "filter":
                raise Invalid("bad-parameter", "the filter names something that is no attribute")
            found += keys.plain_matches(key, *path, wanted) if path else []
    return found


class Bell:
    """Tells the channels of this process that the index has new events; looks only while one listens."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._rung = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._listeners = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        self._listeners += 1
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def next(self) -> asyncio.Event:
        """Set at the next event; to be taken before one looks."""
        return self._rung

    async def _look(self) -> None:
        known = -1
        while True:
            latest = await anyio.to_thread.run_sync(self._images.index.subscriptions.latest)
            if latest != known:
                known, rung, self._rung = latest, self._rung, asyncio.Event()
                rung.set()
            await asyncio.sleep(LOOK_SECONDS)


class Channel:
    """One subscriber's open WebSocket."""

    def __init__(self, images: Images, socket: WebSocket, access: Access) -> None:
        self._images, self._socket, self._access = images, socket, access
        self._told, self._token = images.index.subscriptions, uuid4().hex
        self._ae_title = str(socket.path_params["subscriber"]).strip()

    async def open(self) -> bool:
        """Whether it is this reader's to open. An older channel of the same subscriber ends."""
        who = Subscriber(self._ae_title, self._access.subject)
        claimed = await anyio.to_thread.run_sync(self._told.claim, who, self._token)
        if claimed:
            await self._socket.accept()
        return claimed

    async def run(self, bell: Bell) -> None:
        """Until the client leaves, another channel takes over, or its time is over."""
        until = time.monotonic() + LONGEST_SECONDS
        async with bell.listening():
            while time.monotonic() < until:
                rung = bell.next()
                if not await anyio.to_thread.run_sync(self._told.holds, self._ae_title, self._token):
                    await self._socket.close(1000, "another channel, or no subscription left")
                    return
                if not await self._is_admitted():
                    await self._socket.close(1008, "sign on again")
                    return
                if not await self._tell():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), IDLE_SECONDS)
        await self._socket.close(1001, "open it again")

    async def _is_admitted(self) -> bool:
        """Whether what opened the channel is in force; the reader's rights are those of now."""
        still = self._socket.scope.get("still")
        access = await still() if still is not None else self._access
        if access is None or not access.allows("Task", "r"):
            return False
        self._access = access
        return True

    async def _tell(self) -> bool:
        """Send what waits, as far as the reader may see it; what was sent is forgotten only then."""
        waiting = await anyio.to_thread.run_sync(self._told.waiting, self._ae_title)
        if not waiting:
            return False
        seen = await self._seen({event.workitem for _number, event in waiting})
        for number, event in waiting:
            if event.workitem in seen:
                await self._socket.send_text(orjson.dumps(ups_events.message(event, number)).decode())
        await anyio.to_thread.run_sync(self._told.delivered, self._ae_title, waiting[-1][0])
        return True

    async def _seen(self, uids: Iterable[str]) -> set[str]:
        found = await anyio.to_thread.run_sync(partial(_items, self._images, uids))
        return {item.uid for item in await worklist.seen(self._images, self._access, found)}


def _items(images: Images, uids: Iterable[str]) -> list[WorkItem]:
    return [item for uid in uids if (item := images.index.workitem(uid)) is not None]


def open_channel(images: Images) -> Any:
    """WebSocket /subscribers/{aetitle}"""
    bell = Bell(images) if images is not None else None

    async def open_channel(socket: WebSocket) -> None:
        access = socket.scope.get("access")
        if bell is None or not isinstance(access, Access) or not access.allows("Task", "r"):
            await socket.close(1008)
            return
        channel = Channel(images, socket, access)
        if not await channel.open():
            await socket.close(1008)
            return
        telling = asyncio.create_task(channel.run(bell))
        leaving = asyncio.create_task(_left(socket))
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        for task in (telling, leaving):
            task.cancel()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            for outcome in await asyncio.gather(telling, leaving, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    return open_channel


async def _left(socket: WebSocket) -> None:
    """Until the client leaves; what it says has no meaning here and ends the channel."""
    message = await socket.receive()
    if message["type"] != "websocket.disconnect":
        await socket.close(1003)
