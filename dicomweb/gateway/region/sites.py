"""The sites as their administration sees them: gateways with their health, systems with their switch.

    GET  /gateway/sites                  every site that this reader administers
    GET  /gateway/sites/{site}           one, with each gateway's hours of the last two weeks
    POST /gateway/peers/{peer}/echo      whether a system answers now

For people of the roles `admin-regional` and `admin-site`, and for systems' tokens with Endpoint.s; anybody
else is refused. Switching is `Endpoint/{id}/$activate`. DOMAIN screen 20; R086
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.gateway.region.health import Health, Hour, healths, history
from dicomweb.gateway.region.registry import Gateway, endpoints, of_resource
from dicomweb.gateway.report import written
from dicomweb.images import Images
from dicomweb.index.steps import Backlog
from dicomweb.peers.peer import BASE as CANONICAL
from dicomweb.peers.peer import Credentials, Peer, of_endpoint
from dicomweb.peers.session import PeerError
from dicomweb.web import Endpoint, access_of, answered
from fhir_server.access import Access
from fhir_server.administration import administered, may
from fhir_server.clock import utc_microseconds
from fhir_server.search.nodes import Everything, Select, Token
from fhir_server.store.contract import Store
from profiles.outcomes import Forbidden, Invalid, NotFound

ESTABLISHMENT = (f"{CANONICAL}/CodeSystem/organization-type", "etablissement")
MOST_SITES = 500
ECHOES = 4  # at once, in one process
Json = dict[str, Any]


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    busy = asyncio.Semaphore(ECHOES)
    return [
        Route("/gateway/sites", answered(_list(images)), methods=["GET"]),
        Route("/gateway/sites/{site}", answered(_show(images)), methods=["GET"]),
        Route("/gateway/peers/{peer}/echo", answered(_echo(images, busy)), methods=["POST"]),
    ]


def _list(images: Images) -> Endpoint:
    async def listed(request: Request) -> Response:
        return _answer(await _sites(images, access_of(request)))

    return listed


def _show(images: Images) -> Endpoint:
    async def show(request: Request) -> Response:
        wanted = request.path_params["site"]
        for site in await _sites(images, access_of(request)):
            if site["id"] == wanted:
                for gateway in site["gateways"]:
                    hours = await asyncio.to_thread(history, images.board, gateway["id"])
                    gateway["hours"] = [_hour(one) for one in hours]
                return _answer(site)
        raise NotFound("no-such-site", "no such site")

    return show


def _echo(images: Images, busy: asyncio.Semaphore) -> Endpoint:
    async def echo(request: Request) -> Response:
        sites = await _administered(images.store, access_of(request))
        wanted = request.path_params["peer"]
        for resource in await endpoints(images.store, Everything()):
            with suppress(Invalid):
                peer = of_endpoint(resource) if resource.get("id") == wanted else None
                if peer is not None and may(sites, peer.organization):
                    async with busy:
                        return _answer(await asyncio.to_thread(_tried, images, peer))
        raise NotFound("no-such-peer", "no such system, or its Endpoint is wrong")

    return echo


def _tried(images: Images, peer: Peer) -> Json:
    """Blocking. What speaks DIMSE is imported when it is first needed."""
    from dicomweb.peers.dimse import Ours
    from dicomweb.peers.opening import open_session

    ours = Ours(images.ae_title, Credentials(images.peer_keys), board=images.board)
    session, began = open_session(peer, ours, images.files.spool), time.perf_counter()
    try:
        session.echo()
    except PeerError as error:
        return {"reachable": False, "code": error.slug}
    finally:
        session.close()
    return {"reachable": True, "milliseconds": round((time.perf_counter() - began) * 1000)}


async def _administered(store: Store, access: Access) -> frozenset[str] | None:
    """Raises Forbidden."""
    found = await administered(store, access, "s")
    if found is not None and not found:
        raise Forbidden("not-an-administrator", "this reader administers no site")
    return found


async def _sites(images: Images, access: Access) -> list[Json]:
    """By name. Raises Forbidden."""
    allowed, now = await _administered(images.store, access), utc_microseconds()
    known = await asyncio.to_thread(healths, images.board)
    untold = await asyncio.to_thread(images.index.tellings.backlogs)
    resources = [
        one
        for one in await endpoints(images.store, Everything())
        if may(allowed, _organization(one)) and _organization(one)
    ]
    names = await _names(images.store, allowed, {_organization(one) for one in resources})
    reachable = {peer.id: peer.reachable for one in known.values() if one.report for peer in one.report.peers}
    sites = []
    for reference, name in sorted(names.items(), key=lambda one: (one[1], one[0])):
        mine = [one for one in resources if _organization(one) == reference]
        gateways = [found for one in mine if (found := of_resource(one)) is not None]
        site: Json = {"id": reference.removeprefix("Organization/"), "name": name}
        site["gateways"] = [_gateway(one, known.get(one.id, Health()), now) for one in gateways]
        site["peers"] = list(_peers(mine, reachable, untold))
        sites.append(site)
    return sites


async def _names(store: Store, allowed: frozenset[str] | None, named: set[str]) -> dict[str, str]:
    """Establishments of the directory, and whatever else has a system of its own."""
    rows = await store.search(Select("Organization", Token("type", (ESTABLISHMENT,)), count=MOST_SITES))
    found = {f"Organization/{row.version.id}": orjson.loads(row.version.body or b"{}") for row in rows}
    missing = [("Organization", one.removeprefix("Organization/")) for one in named if one not in found]
    for (_type, id), version in (await store.read_many(missing)).items():
        found[f"Organization/{id}"] = orjson.loads(version.body or b"{}")
    return {
        reference: str(one.get("name") or reference)
        for reference, one in found.items()
        if may(allowed, reference)
    }


def _organization(resource: Mapping[str, Any]) -> str:
    return str((resource.get("managingOrganization") or {}).get("reference", ""))


def _gateway(gateway: Gateway, health: Health, now: int) -> Json:
    report = health.report
    made: Json = {
        "id": gateway.id, "name": gateway.name, "active": gateway.active, "client": gateway.client,
        "seen": written(health.seen) if health.seen else None,
        "reported": written(health.reported) if health.reported else None,
        "alarms": health.alarms(now) if gateway.active else [],
    }  # fmt: skip
    if report is not None:
        made["report"] = report.as_json()
        made["clockOff"] = round((report.at - health.reported) / 1e6, 1)
    return made


def _peers(
    resources: Iterable[Mapping[str, Any]], reachable: Mapping[str, bool], untold: Mapping[str, Backlog]
) -> Iterable[Json]:
    for resource in resources:
        try:
            peer = of_endpoint(resource)
        except Invalid:
            yield {"id": resource.get("id"), "name": resource.get("name"), "fault": True, "active": False}
            continue
        if peer is not None:
            yield {
                "id": peer.id, "name": peer.name, "kind": peer.kind, "active": peer.active,
                "address": str(resource.get("address", "")), "uses": sorted(peer.uses), "via": peer.via,
                "reachable": reachable.get(peer.id) if peer.via else None, "fault": False,
                "steps": _steps(untold.get(peer.id, Backlog(0, 0, 0))),
            }  # fmt: skip


def _steps(found: Backlog) -> Json:
    """Messages of performed procedure steps that it was not told: those that wait, and those it does not
    take."""
    oldest = written(found.oldest) if found.oldest else None
    return {"waiting": found.waiting, "oldest": oldest, "refused": found.refused}


def _hour(hour: Hour) -> Json:
    return {**asdict(hour), "start": written(hour.start)}


def _answer(value: object) -> Response:
    return Response(orjson.dumps(value), 200, {"Cache-Control": "no-store"}, "application/json")
