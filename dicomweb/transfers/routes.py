"""Asking a site's PACS and following transfers, for the portal and for machines. JSON; no part of DICOMweb.

    GET  /dicom-web/peers                     the PACS this reader may ask
    POST /dicom-web/peers/{peer}/search       {level, keys} → DICOM JSON; by POST, as keys name patients;
    level
                                              "order": of the site's modality worklist
    POST /dicom-web/transfers                 {peer, study, series, request} → 202
    GET  /dicom-web/transfers?request=…       those of a télédossier, newest first
    GET  /dicom-web/transfers/{transfer}      DELETE cancels it; /receipt is its signed receipt

R085–R086, R096
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.dataset import is_uid
from dicomweb.gateway.report import written
from dicomweb.images import Images
from dicomweb.peers.awaiting import SILENT
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Denied, Level, PeerError
from dicomweb.transfers import audit, sites
from dicomweb.transfers.asking import find
from dicomweb.transfers.record import URGENCIES, Order, Transfer
from dicomweb.web import BASE, PRIVATE, Endpoint, access_of, answered, json_answer, small_body
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Conflict, Invalid, NotFound, Unavailable

LEVELS: tuple[Level, ...] = ("study", "series", "instance", "order")
KEYS = frozenset(
    {
        "PatientName", "PatientBirthDate", "PatientID", "StudyDate", "ModalitiesInStudy", "AccessionNumber",
        "StudyInstanceUID", "SeriesInstanceUID",
    }
)  # fmt: skip
OF_IMAGES = frozenset({"StudyDate", "ModalitiesInStudy", "SeriesInstanceUID"})  # an order has none yet
LEAST = frozenset(
    {"PatientName", "PatientBirthDate", "PatientID", "StudyDate", "AccessionNumber", "StudyInstanceUID"}
)
SEARCHES = 4  # at once towards all PACS, in one process


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    busy = asyncio.Semaphore(SEARCHES)
    one = BASE + "/transfers/{transfer}"
    return [
        Route(BASE + "/peers", answered(_peers(images)), methods=["GET"]),
        Route(BASE + "/peers/{peer}/search", answered(_search(images, busy)), methods=["POST"]),
        Route(BASE + "/transfers", answered(_submit(images)), methods=["POST"]),
        Route(BASE + "/transfers", answered(_list(images)), methods=["GET"]),
        Route(one, answered(_show(images)), methods=["GET"]),
        Route(one, answered(_cancel(images)), methods=["DELETE"]),
        Route(one + "/receipt", answered(_receipt(images)), methods=["GET"]),
    ]


def _peers(images: Images) -> Endpoint:
    async def peers(request: Request) -> Response:
        found = await sites.peers_of(images.store, access_of(request))
        return json_answer(await asyncio.to_thread(_listed, images, found))

    return peers


def _listed(images: Images, peers: Sequence[Peer]) -> list[dict[str, Any]]:
    """`silentSince`: the gateway alone reaches it, and does not answer; null when it never did."""
    now, made = utc_microseconds(), []
    for one in peers:
        said: dict[str, Any] = {"id": one.id, "name": one.name, "active": one.active}
        seen = images.board.seen(one.via) if one.via else now
        if now - seen > SILENT * 1e6:
            said["silentSince"] = written(seen) if seen else None
        made.append(said)
    return made


def _search(images: Images, busy: asyncio.Semaphore) -> Endpoint:
    async def search(request: Request) -> Response:
        level, keys = _asked(await small_body(request))
        use = "worklist" if level == "order" else "query"
        id = str(request.path_params["peer"])
        peer = await sites.peer_for(images.store, access_of(request), id, use)
        searched = audit.Searched(access_of(request).subject, peer, level, tuple(sorted(keys)))
        async with busy:
            try:
                found = await asyncio.to_thread(find, images, peer, level, keys)
            except PeerError as error:
                await audit.keep(
                    images, audit.of_search(replace(searched, fault=error.slug), utc_microseconds())
                )
                if isinstance(error, Denied):
                    raise Conflict(error.slug, "the PACS refuses to be queried") from error
                raise Unavailable(error.slug, "the PACS cannot be reached, or does not answer") from error
        await audit.keep(images, audit.of_search(replace(searched, found=len(found)), utc_microseconds()))
        return json_answer(found)

    return search


def _asked(body: Mapping[str, Any]) -> tuple[Level, dict[str, str]]:
    """Raises Invalid; also for a search that would list a whole hospital."""
    level, keys = body.get("level", "study"), body.get("keys")
    if level not in LEVELS or not isinstance(keys, dict):
        raise Invalid("bad-search", f"level is one of {', '.join(LEVELS)}; keys is an object")
    known = KEYS - OF_IMAGES if level == "order" else KEYS
    if strange := sorted(str(name) for name in set(keys) - known):
        raise Invalid("bad-search", f"unknown key {strange[0][:40]}; known: {', '.join(sorted(known))}")
    given = {name: value.strip() for name, value in keys.items() if isinstance(value, str) and value.strip()}
    if any(len(value) > 200 or not value.isprintable() or "\\" in value for value in given.values()):
        raise Invalid("bad-search", "a key is a printable text of at most 200 characters")
    if not any(value.strip("*?^ ") for name, value in given.items() if name in LEAST):
        raise Invalid("search-too-wide", f"give at least one of {', '.join(sorted(LEAST))}")
    if level in ("series", "instance") and not is_uid(given.get("StudyInstanceUID", "")):
        raise Invalid("bad-search", "below the study, its Study Instance UID is needed")
    return level, given


def _submit(images: Images) -> Endpoint:
    async def submit(request: Request) -> Response:
        access, body = access_of(request), await small_body(request)
        peer = await sites.peer_for(images.store, access, str(body.get("peer", "")))
        study, series = body.get("study", ""), body.get("series", [])
        if not isinstance(series, list) or not all(
            isinstance(u, str) and is_uid(u) for u in [study, *series]
        ):
            raise Invalid("bad-transfer", "study is a UID, series a list of UIDs")
        wanted = str(body.get("request", ""))
        found = await sites.open_request(images.store, access, wanted) if wanted else {}
        if not wanted and not sites.is_system(access):
            raise Invalid("bad-transfer", "request names the télédossier")
        urgency = URGENCIES.get(str(found.get("priority", "routine")), 2)
        order = Order("import", peer.id, study, urgency, wanted, access.subject, tuple(series))
        now = utc_microseconds()
        if wanted:
            await asyncio.to_thread(images.queue.wish, study, wanted, access.subject, now)
        transfer = await asyncio.to_thread(images.queue.submit, order, now)
        await audit.keep(images, audit.of_transfer(transfer, "ordered", access.subject, now))
        address = {"Location": f"{images.base}/transfers/{transfer.id}"}
        return json_answer(said(transfer), 202, address)

    return submit


def _list(images: Images) -> Endpoint:
    async def listed(request: Request) -> Response:
        wanted = request.query_params.get("request", "")
        await sites.request_for(images.store, access_of(request), wanted)
        found = await asyncio.to_thread(images.queue.of_request, wanted)
        return json_answer([said(one) for one in found])

    return listed


async def _seen(images: Images, request: Request) -> Transfer:
    """Raises NotFound."""
    found = await asyncio.to_thread(images.queue.get, str(request.path_params["transfer"]))
    access = access_of(request)
    absent = NotFound("no-such-transfer", "no such transfer")
    if found is None or not (found.order.request or sites.is_system(access)):
        raise absent
    if found.order.request:
        try:
            await sites.request_for(images.store, access, found.order.request)
        except NotFound as error:  # the same words as for one that is not there
            raise absent from error
    return found


def _show(images: Images) -> Endpoint:
    async def show(request: Request) -> Response:
        return json_answer(said(await _seen(images, request)))

    return show


def _cancel(images: Images) -> Endpoint:
    async def cancel(request: Request) -> Response:
        found, access = await _seen(images, request), access_of(request)
        if found.order.request:
            await sites.open_request(images.store, access, found.order.request)
        now = utc_microseconds()
        if not await asyncio.to_thread(images.queue.cancel, found.id, now):
            raise Conflict("transfer-over", "the transfer is over")
        await audit.keep(images, audit.of_transfer(found, "cancelled", access.subject, now))
        return Response(None, 204)

    return cancel


def _receipt(images: Images) -> Endpoint:
    async def receipt(request: Request) -> Response:
        found = await _seen(images, request)
        signed = await asyncio.to_thread(images.queue.receipt, found.id)
        if not signed:
            raise NotFound("no-receipt", "there is a receipt when the transfer is over")
        return Response(signed, 200, {"Cache-Control": PRIVATE}, "application/jose")

    return receipt


def said(transfer: Transfer) -> dict[str, Any]:
    """For readers of the télédossier: how far, how fast, how long still."""
    order = transfer.order
    return {
        "id": transfer.id, "kind": order.kind, "peer": order.peer, "study": order.study,
        "request": order.request, "state": transfer.state, "reason": transfer.reason,
        "urgency": order.urgency, "total": transfer.total, "done": transfer.done, "failed": transfer.failed,
        "bytes": transfer.bytes, "bytesPerSecond": round(transfer.rate),
        "secondsLeft": None if transfer.left is None else round(transfer.left),
        "created": transfer.created, "ended": transfer.ended,
        "retryAt": transfer.not_before if transfer.state == "waiting" and transfer.attempts else 0,
    }  # fmt: skip
