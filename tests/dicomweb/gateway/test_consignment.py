"""Several instances an errand: how many go together, what is settled when, what is given again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dicomweb.images import Images
from dicomweb.peers.consignment import MOST_TOGETHER, UNDER_WAY, WORTH
from dicomweb.peers.session import Incapable, PeerError, Sendable, Sent, Unreachable
from dicomweb.peers.through import GatewaySession
from dicomweb.syntaxes import EXPLICIT_LITTLE
from tests.dicomweb.gateway.fixtures import app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import PEER, Site
from tests.dicomweb.gateway.test_errands import session

__all__ = ["app", "clock", "fhir", "region", "session", "site", "worker"]  # fixtures
CT = "1.2.840.10008.5.1.4.1.1.2"
WIDE = 1_000_000
SIZE = 100


@pytest.fixture
def given(images: Images) -> list[Sendable]:
    """Files of the platform's: 40 of 100 bytes."""
    folder = images.files.root / "given"
    folder.mkdir(parents=True)
    made = []
    for n in range(40):
        path = folder / str(n)
        path.write_bytes(bytes([n]) * SIZE)
        made.append(Sendable(f"2.25.{n}", CT, EXPLICIT_LITTLE, path))
    return made


def uids(errand: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = errand["asked"]["instances"]
    return [row[0] for row in rows]


def stored(*names: str) -> list[dict[str, str]]:
    return [{"instance": uid, "syntax": EXPLICIT_LITTLE} for uid in names]


async def test_what_gets_ready_meanwhile_goes_together(
    session: GatewaySession, site: Site, given: list[Sendable]
) -> None:
    """The first at once and alone; while UNDER_WAY errands are on the board, the rest gathers."""
    shipping = asyncio.create_task(asyncio.to_thread(lambda: list(session.ship(iter(given), WIDE))))
    sizes, hand, seen = list[int](), list[str](), list[str]()
    while not shipping.done():
        errands = await site.poll(*hand, wait=1)
        hand = [one["id"] for one in errands]
        for errand in errands:
            sizes.append(len(uids(errand)))
            content = (await site.http.get(f"/gateway/errands/{errand['id']}/instances")).content
            assert content == b"".join(bytes([int(uid[5:])]) * SIZE for uid in uids(errand))
            seen += uids(errand)
            assert await site.done(errand, *stored(*uids(errand))) == 204
        await asyncio.sleep(0.05)
    assert await shipping == [Sent(one.instance) for one in given]
    assert seen == [one.instance for one in given]
    assert sizes[:2] == [1, WORTH]
    assert max(sizes) == MOST_TOGETHER
    assert len(sizes) <= 6


async def test_each_is_settled_as_it_is_answered_and_one_that_cannot_go_holds_up_no_other(
    session: GatewaySession, site: Site, given: list[Sendable]
) -> None:
    shipping = session.ship(iter(given[:3]), SIZE * 3)
    first = asyncio.create_task(asyncio.to_thread(next, shipping))
    one, two = await both(site)
    assert await site.done(one, {"instance": "2.25.0", "fault": "not-sendable"}) == 204
    assert await first == Sent("2.25.0", "not-sendable")
    assert await site.tell(two, *stored("2.25.1")) == 204
    assert await asyncio.to_thread(next, shipping) == Sent("2.25.1")
    two["start"] = 1
    assert await site.done(two, *stored("2.25.2")) == 204
    assert await asyncio.to_thread(lambda: list(shipping)) == [Sent("2.25.2")]


async def test_no_more_is_under_way_than_the_window_has_room_for(
    session: GatewaySession, site: Site, given: list[Sendable]
) -> None:
    taken = []

    def ready() -> Iterator[Sendable]:
        for one in given:
            taken.append(one)
            yield one

    shipping = session.ship(ready(), SIZE * 3)
    first = asyncio.create_task(asyncio.to_thread(next, shipping))
    errands = await both(site)
    assert [uids(one) for one in errands] == [["2.25.0"], ["2.25.1", "2.25.2"]]
    assert len(taken) == 3
    await site.done(errands[0], *stored("2.25.0"))
    assert await first == Sent("2.25.0")
    await asyncio.to_thread(shipping.close)  # type: ignore[attr-defined]


async def test_a_gateway_that_died_is_given_the_rest_of_an_errand(
    session: GatewaySession, site: Site, given: list[Sendable]
) -> None:
    """The list stays whole, so that a place in the download means the same: `start` says where to go on."""
    shipping = asyncio.create_task(asyncio.to_thread(lambda: list(session.ship(iter(given[:8]), WIDE))))
    first, second = await both(site)
    assert [uids(first), uids(second)] == [["2.25.0"], [f"2.25.{n}" for n in range(1, 5)]]
    assert await site.tell(second, *stored("2.25.1", "2.25.2")) == 204
    one, again = await site.poll()  # a new process, with nothing in hand
    assert (one["id"], one["attempt"], one["start"]) == (first["id"], 2, 0)
    assert (again["id"], again["attempt"], again["start"], uids(again)) == (second["id"], 2, 2, uids(second))
    address = f"/gateway/errands/{again['id']}/instances"
    rest = await site.http.get(address, headers={"Range": f"bytes={2 * SIZE + 50}-"})
    assert rest.status_code == 206
    assert rest.content == b"\3" * 50 + b"\4" * SIZE
    second["start"] = 2
    assert await site.done(second, *stored("2.25.3")) == 404  # the dead one's word
    assert await site.done(one, *stored("2.25.0")) == 204
    assert await site.done(again, *stored(*uids(again)[2:])) == 204
    left = 3
    while left:
        for errand in await site.poll(wait=5):
            left -= len(uids(errand))
            await site.done(errand, *stored(*uids(errand)))
    assert await shipping == [Sent(one.instance) for one in given[:8]]


async def both(site: Site) -> list[dict[str, Any]]:
    found = await site.poll(wait=5)
    while len(found) < UNDER_WAY:
        found += await site.poll(*(one["id"] for one in found), wait=5)
    return found


async def test_what_is_overtaken_is_taken_back_and_its_gateway_learns_it_at_once(
    session: GatewaySession, site: Site, given: list[Sendable]
) -> None:
    shipping = session.ship(iter(given), WIDE)
    first = asyncio.create_task(asyncio.to_thread(next, shipping))
    one, two = await both(site)
    await site.tell(one, *stored("2.25.0"))
    await first
    hand = f"{one['id']},{two['id']}"
    polling = asyncio.create_task(site.http.get("/gateway/errands", params={"wait": "5", "hand": hand}))
    await asyncio.to_thread(shipping.close)  # type: ignore[attr-defined]
    answer = await polling
    assert (answer.json()["errands"], sorted(answer.json()["gone"])) == ([], sorted([one["id"], two["id"]]))
    urgent = asyncio.create_task(asyncio.to_thread(session.send, given[30]))
    (errand,) = await site.poll(one["id"], two["id"], wait=5)  # said once
    assert await site.done(two, *stored(*uids(two))) == 404
    await site.done(errand, {"instance": "2.25.30", "fault": "refused-by-peer"})
    with pytest.raises(Incapable) as error:
        await urgent
    assert error.value.slug == "refused-by-peer"


@pytest.mark.parametrize(
    ("answers", "over", "came"),
    [
        ([], {"ok": True}, ["bad-answer"]),
        (stored("2.25.1"), {"ok": True}, ["bad-answer"]),
        (stored("2.25.0", "2.25.1"), {"ok": True}, ["bad-answer"]),
        ([], {"error": "unreachable", "slug": "no-connection"}, ["no-connection"]),
        (stored("2.25.0"), {"error": "unreachable", "slug": "cut-off"}, ["2.25.0", "cut-off"]),
        (stored("2.25.0"), {"ok": True}, ["2.25.0"]),
    ],
)
async def test_what_breaks(
    answers: list[dict[str, str]], over: dict[str, Any], came: list[str], session: GatewaySession,
    site: Site, given: list[Sendable],
) -> None:  # fmt: skip
    """What was answered before the end is settled, whatever the end."""
    settled = list[str]()

    def ship() -> None:
        try:
            for one in session.ship(iter(given[:1]), WIDE):
                settled.append(one.instance)
        except PeerError as error:
            settled.append(error.slug)

    shipping = asyncio.create_task(asyncio.to_thread(ship))
    (errand,) = await site.poll(wait=5)
    assert await site.tell(errand, *answers, over=over) == 204
    await shipping
    assert settled == came
    assert session.board.rows("SELECT id FROM errand") == []


async def test_a_gateway_that_is_away_is_asked_for_nothing(images: Images, given: list[Sendable]) -> None:
    with pytest.raises(Unreachable) as error:
        list(GatewaySession(PEER, images.board).ship(iter(given), WIDE))
    assert error.value.slug == "gateway-silent"
