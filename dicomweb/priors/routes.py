"""Earlier exams that were found for a télédossier, and what a person decides of them. Plain JSON.

    GET  /dicom-web/requests/{request}/priors           sites asked, exams found
    POST /dicom-web/requests/{request}/priors           asks every site again → 202
    POST /dicom-web/requests/{request}/priors/{study}   {decision: fetch | set-aside} → 204

Whoever sees the télédossier sees them and may decide while it is open: the expert needs the prior as much
as the requester. R097
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.images import Images
from dicomweb.priors.ledger import Prior, State
from dicomweb.priors.seeking import URGENCY, is_denied, order
from dicomweb.transfers import audit, sites
from dicomweb.transfers.record import URGENCIES
from dicomweb.web import Endpoint, access_of, answered, json_answer, small_body
from dicomweb.wishes import REQUEST
from fhir_server.access import Access
from fhir_server.clock import utc_microseconds
from fhir_server.search.nodes import Reference, Select
from profiles.outcomes import Invalid, NotFound

PRIORS = REQUEST + "/priors"


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [
        Route(PRIORS, answered(_list(images)), methods=["GET"]),
        Route(PRIORS, answered(_again(images)), methods=["POST"]),
        Route(PRIORS + "/{study}", answered(_decide(images)), methods=["POST"]),
    ]


def _list(images: Images) -> Endpoint:
    async def listed(request: Request) -> Response:
        access = access_of(request)
        found = await sites.request_for(images.store, access, str(request.path_params["request"]))
        if await _refused(images, found):
            return json_answer({"refused": True, "searches": [], "priors": []})
        id = str(found["id"])
        searches = await asyncio.to_thread(images.priors.searches, id)
        priors = await asyncio.to_thread(images.priors.priors, id)
        return json_answer(
            {
                "refused": False,
                "searches": [
                    {"peer": one.peer, "state": one.state, "reason": one.reason, "attempts": one.attempts}
                    for one in searches
                ],
                "priors": [said(one) for one in priors],
            }
        )

    return listed


def said(prior: Prior) -> dict[str, Any]:
    return {
        "study": prior.study, "peer": prior.peer, "how": prior.how, "state": prior.state, "row": prior.row,
    }  # fmt: skip


def _again(images: Images) -> Endpoint:
    async def again(request: Request) -> Response:
        found = await _open(images, access_of(request), request)
        count = await asyncio.to_thread(images.priors.again, str(found["id"]), utc_microseconds())
        return json_answer({"searches": count}, 202)

    return again


def _decide(images: Images) -> Endpoint:
    async def decide(request: Request) -> Response:
        access, body = access_of(request), await small_body(request)
        found = await _open(images, access, request)
        id, study = str(found["id"]), str(request.path_params["study"])
        decision = body.get("decision")
        if decision not in ("fetch", "set-aside"):
            raise Invalid("bad-decision", "decision is fetch or set-aside")
        ledger = images.priors
        state: State = "wanted" if decision == "fetch" else "set-aside"
        prior = next((one for one in await asyncio.to_thread(ledger.priors, id) if one.study == study), None)
        if prior is None:
            raise NotFound("no-such-prior", "no such exam was found for this télédossier")
        await asyncio.to_thread(ledger.decide, id, study, state, access.subject)
        if state == "wanted":  # somebody waits for it now, but never before what is vital
            urgency = min(URGENCY, max(1, URGENCIES.get(str(found.get("priority")), 2)))
            now = utc_microseconds()
            transfer = await asyncio.to_thread(order, images.queue, prior, access.subject, now, urgency)
            if transfer:
                await audit.keep(images, audit.of_transfer(transfer, "ordered", access.subject, now))
        return Response(None, 204)

    return decide


async def _open(images: Images, access: Access, request: Request) -> dict[str, Any]:
    """The télédossier, open, of a patient who did not refuse. Raises NotFound, Forbidden, Conflict."""
    found = await sites.open_request(images.store, access, str(request.path_params["request"]))
    if await _refused(images, found):
        raise NotFound("no-such-prior", "the patient refused that earlier exams be looked for")
    return found


async def _refused(images: Images, request: dict[str, Any]) -> bool:
    """Whether the patient's consent was denied: then nothing that was found shows."""
    query = Select("Consent", Reference("data", (f"ServiceRequest/{request['id']}",)), count=50)
    rows = await images.store.search(query)
    return any(is_denied(orjson.loads(row.version.body or b"{}")) for row in rows)
