"""What the process tells of itself: to anybody, nothing that names a site."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from fhir_server.access import Access
from fhir_server.access import Scope as Right
from fhir_server.rest.middleware import Figures, status_routes
from tests.rest.serving import Served

SYSTEM = Access("Client/prometheus", (Right("Endpoint", "s"),), None)
GATEWAY = Access("Client/gateway", (Right("ImagingStudy", "c"),), None)
PERSON = Access("Practitioner/p1", (Right("*", "rs"),), frozenset({"Practitioner/p1"}))


@pytest.mark.parametrize(
    ("access", "client", "headers", "told"),
    [
        (None, "127.0.0.1", {}, True), (None, "::1", {}, True), (None, "10.0.0.7", {}, False),
        (None, "127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        (None, "127.0.0.1", {"Forwarded": "for=192.0.2.1"}, False),
        (None, "127.0.0.1", {"Via": "1.1 a"}, False),
        (SYSTEM, "10.0.0.7", {}, True), (SYSTEM, "10.0.0.7", {"X-Forwarded-For": "192.0.2.1"}, True),
        (GATEWAY, "127.0.0.1", {}, False), (PERSON, "127.0.0.1", {}, False),
    ],
)  # fmt: skip
async def test_figures_of_sites_are_not_for_everybody(
    served: Served, access: Access | None, client: str, headers: dict[str, str], told: bool
) -> None:
    figures = Figures()
    figures.count("GET", "portal", 200, 0.1)
    Gauge("of_site", "By site", ("site",), registry=figures.by_site).labels("ch-auch").set(1)
    app = Starlette(routes=status_routes(served.engine.store, figures))

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "access": access}, receive, send)

    transport = httpx.ASGITransport(guarded, client=(client, 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as asking:
        for path in ("/healthz", "/readyz"):
            assert "ch-auch" not in (await asking.get(path)).text
        answer = await asking.get("/metrics")
    assert 'teledossier_requests_total{method="GET",room="portal",status="200"} 1.0' in answer.text
    assert ('of_site{site="ch-auch"} 1.0' in answer.text) is told
    assert answer.headers["cache-control"] == "no-store"
