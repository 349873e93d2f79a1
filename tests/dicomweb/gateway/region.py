"""A region with two gateways, and one gateway as a test plays it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from dicomweb.peers.peer import Peer
from fhir_server.access import Access, Scope
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb.gateway.test_registry import resource
from tests.dicomweb.test_worker import put

SITES = {"gw-auch": "gateway-auch", "gw-castres": "gateway-castres"}
PEER = Peer(
    "pacs-auch", "PACS d'Auch", "Organization/ch-auch", "dimse", "10.0.0.9", 104, "AUCH", via="gw-auch"
)
STORE_ONLY = (Scope("ImagingStudy", "c"),)


async def set_up(fhir: Fhir) -> None:
    """Two sites and their gateways."""
    await put(fhir, "Organization", "ch-auch", name="CH Auch")
    for id, client in SITES.items():
        await fhir.update(resource(id, client))


def machine(gateway: str) -> Access:
    return Access(f"Client/{SITES[gateway]}", STORE_ONLY, None)


@dataclass
class Site:
    """A gateway's requests, by hand."""

    http: httpx.AsyncClient

    async def poll(self, *hand: str, wait: int = 0) -> list[dict[str, Any]]:
        params = {"wait": str(wait), "hand": ",".join(hand)}
        answer = await self.http.get("/gateway/errands", params=params)
        if answer.status_code == 204:
            return []
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["errands"]
        assert found or answer.json()["gone"]
        return found

    async def tell(self, errand: dict[str, Any], *answers: dict[str, Any], **more: Any) -> int:
        body = {"attempt": errand["attempt"], "start": errand["start"], "answers": answers, **more}
        told = await self.http.post(f"/gateway/errands/{errand['id']}/answers", json=body)
        return told.status_code

    async def done(self, errand: dict[str, Any], *answers: dict[str, Any]) -> int:
        return await self.tell(errand, *answers, over={"ok": True})
