"""The exams that the worklists of a person's sites have for the patient of a télédossier, so that one of
them can be announced in it.

    GET  /dicom-web/worklists                       the worklists this reader may ask
    POST /dicom-web/requests/{request}/orders       [{peer, name, fault?, orders: [{how, row}]}]

Nobody searches here: the patient is the télédossier's, and an order of anybody else is never told. `how` is
by what an order is this patient's (`priors.likely`): a number is certain, traits are for a person to judge.
PS3.4 §K (Modality Worklist)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.attributes import first, values
from dicomweb.identity import issuer_key
from dicomweb.images import Images
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Attributes, PeerError
from dicomweb.priors.likely import Person, Site, how, person_of, questions
from dicomweb.transfers import audit, sites
from dicomweb.transfers.asking import find
from dicomweb.web import BASE, Endpoint, access_of, answered, json_answer
from fhir_server.access import Access
from fhir_server.store.contract import Store

USE = "worklist"
SEARCHES = 4  # at once towards all worklists, in one process
MOST = 50  # orders of one answer
PAST = timedelta(days=2)  # an exam that was due may still be under way; older ones are leftovers
KEPT = (  # what of an order is told
    "00080050", "0020000D", "00100010", "00100020", "00100021", "00100030", "00100040", "00321060",
    "00400100",
)  # fmt: skip


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    busy = asyncio.Semaphore(SEARCHES)
    return [
        Route(BASE + "/worklists", answered(_worklists(images)), methods=["GET"]),
        Route(BASE + "/requests/{request}/orders", answered(_orders(images, busy)), methods=["POST"]),
    ]


def _worklists(images: Images) -> Endpoint:
    async def worklists(request: Request) -> Response:
        found = await sites.peers_of(images.store, access_of(request), USE)
        return json_answer([{"id": one.id, "name": one.name} for one in found if one.active])

    return worklists


def _orders(images: Images, busy: asyncio.Semaphore) -> Endpoint:
    async def orders(request: Request) -> Response:
        access = access_of(request)
        opened = await sites.open_request(images.store, access, str(request.path_params["request"]))
        person = person_of(await sites.patient_of(images.store, opened))
        peers = [one for one in await sites.peers_of(images.store, access, USE) if one.active]

        async def ask(peer: Peer) -> dict[str, Any]:
            async with busy:
                return await _asked(images, peer, person, access)

        return json_answer(await asyncio.gather(*(ask(peer) for peer in peers)))

    return orders


async def _asked(images: Images, peer: Peer, person: Person, access: Access) -> dict[str, Any]:
    """What one worklist has. Audited as any search is."""
    said: dict[str, Any] = {"peer": peer.id, "name": peer.name, "orders": []}
    site, rows = await _site(images.store, peer), list[Attributes]()
    for keys in questions(person, site.id):
        told = audit.Searched(access.subject, peer, "order", tuple(sorted(keys)))
        try:
            found = await asyncio.to_thread(find, images, peer, "order", keys, MOST)
        except PeerError as error:
            await audit.keep(images, audit.of_search(replace(told, fault=error.slug), _now()))
            return {**said, "fault": error.slug}
        await audit.keep(images, audit.of_search(replace(told, found=len(found)), _now()))
        rows += found
    local = datetime.now(UTC).astimezone(images.settings.zone)
    return {**said, "orders": of_person(person, site, rows, f"{local - PAST:%Y%m%d}")}


def of_person(person: Person, site: Site, rows: Iterable[Attributes], since: str) -> list[dict[str, Any]]:
    """Those that are this person's and not of before `since` (YYYYMMDD), each once, the earliest first."""
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for row in rows:
        by, accession, at = how(person, site, row), first(row, "00080050"), moment(row)
        if by is not None and accession and (not at or at[:8] >= since):
            kept = {tag: row[tag] for tag in KEPT if tag in row}
            found.setdefault((accession, first(row, "0020000D")), (at, {"how": by, "row": kept}))
    return [order for _at, order in sorted(found.values(), key=lambda one: one[0])]


def moment(row: Attributes) -> str:
    """When the exam is due, YYYYMMDDHHMM as far as it is said."""
    for step in values(row, "00400100"):
        day = first(step, "00400002") if isinstance(step, dict) else ""
        return day and day + first(step, "00400003")[:4]
    return ""


async def _site(store: Store, peer: Peer) -> Site:
    """The site and how numbers may name it as their issuer."""
    found = await store.read_many([("Organization", peer.site)])
    issuers = {peer.site, issuer_key(peer.issuer)} - {""}
    for version in found.values():
        issuers |= {
            issuer_key(str(one.get("value", ""))) for one in sites.body_of(version).get("identifier", ())
        }
    return Site(peer.site, frozenset(issuers))


def _now() -> int:
    return time.time_ns() // 1000
