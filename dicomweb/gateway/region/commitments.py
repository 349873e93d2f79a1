"""What a site's PACS answers to a storage commitment, as its gateway passes it on.

    POST /gateway/commitments   {transaction, kept: [UID], failed: {UID: reason}} → 204; 404: nobody waits

Believed for a question that is open, from the gateway of the peer that was asked. PS3.4 §J.3.3
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.dataset import is_uid
from dicomweb.gateway.region.registry import Gateway, gateway_of
from dicomweb.images import Images
from dicomweb.peers.peer import of_endpoint
from dicomweb.transfers.commitments import Commitments
from dicomweb.web import Endpoint, access_of, answered, small_body
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Invalid, NotFound

MOST_BODY = 8_000_000  # bytes: 100,000 instances
MOST_NAMED = 100_000


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [Route("/gateway/commitments", answered(_result(images)), methods=["POST"])]


def _result(images: Images) -> Endpoint:
    async def result(request: Request) -> Response:
        gateway = await gateway_of(images.store, access_of(request))
        transaction, kept, failed = _read(await small_body(request, MOST_BODY))
        commitments = Commitments(images.queue)
        peer = await asyncio.to_thread(commitments.asked_of, transaction)
        if not await _is_behind(images, peer, gateway):
            raise NotFound("no-such-commitment", "no such question is open for a system behind this gateway")
        await asyncio.to_thread(commitments.answer, transaction, kept, failed, utc_microseconds())
        return Response(None, 204)

    return result


async def _is_behind(images: Images, peer: str, gateway: Gateway) -> bool:
    """Whether the peer of that id is reached through the gateway."""
    key = ("Endpoint", peer)
    version = (await images.store.read_many([key])).get(key) if peer else None
    try:
        found = of_endpoint(orjson.loads(version.body or b"{}")) if version else None
    except Invalid:
        return False
    return found is not None and found.via == gateway.id


def _read(body: Mapping[str, Any]) -> tuple[str, list[str], dict[str, int]]:
    """Raises Invalid."""
    transaction, kept, failed = (body.get(name) for name in ("transaction", "kept", "failed"))
    if not isinstance(transaction, str) or not is_uid(transaction):
        raise Invalid("bad-commitment", "transaction is a UID")
    if not isinstance(kept, list) or not isinstance(failed, dict) or len(kept) + len(failed) > MOST_NAMED:
        raise Invalid("bad-commitment", f"kept is a list and failed an object, of at most {MOST_NAMED} UIDs")
    if not all(isinstance(uid, str) and is_uid(uid) for uid in (*kept, *failed)):
        raise Invalid("bad-commitment", "kept and failed name instances by UID")
    if not all(type(code) is int and 0 <= code < 65536 for code in failed.values()):
        raise Invalid("bad-commitment", "a reason is a number of 16 bits")
    return transaction, kept, failed
