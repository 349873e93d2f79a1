"""The platform's routes, with a gateway that a test plays: imported by the tests that want them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from dicomweb.gateway.region import commitments, sites, steps
from dicomweb.gateway.region import routes as gateways
from dicomweb.images import Images
from dicomweb.routes import routes
from dicomweb.transfers import routes as transfers
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.region import Site, machine, set_up
from tests.dicomweb.test_worker import clock, fhir, worker

__all__ = ["app", "clock", "fhir", "region", "site", "worker"]


@pytest.fixture
async def region(fhir: Fhir) -> Fhir:
    await set_up(fhir)
    return fhir


@pytest.fixture
def app(images: Images, region: Fhir) -> As:
    """`app.access` is who asks: Auch's gateway at first."""
    made = As(
        Starlette(
            routes=[
                *gateways.routes(images),
                *sites.routes(images),
                *steps.routes(images),
                *commitments.routes(images),
                *routes(images),
                *transfers.routes(images),
            ]
        )
    )
    made.access = machine("gw-auch")
    return made


@pytest.fixture
async def site(app: As) -> AsyncIterator[Site]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield Site(http)
