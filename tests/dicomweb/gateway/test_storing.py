"""STOW-RS by a gateway: whose images they are, and what a switched off one may."""

from __future__ import annotations

from pathlib import Path

from dicomweb.images import Images
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb import making
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.fixtures import Site, app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import machine
from tests.dicomweb.gateway.test_registry import resource
from tests.dicomweb.test_stow import DICOM, body, file

__all__ = ["app", "clock", "fhir", "region", "site", "worker"]


async def store(site: Site, content: bytes) -> int:
    answer = await site.http.post(
        "/dicom-web/studies", content=body(content), headers={"Content-Type": DICOM}
    )
    return answer.status_code


async def test_images_are_those_of_the_gateways_site(site: Site, images: Images, tmp_path: Path) -> None:
    assert await store(site, file(tmp_path)) == 200
    study = images.index.study(making.STUDY)
    assert study is not None
    assert study.source == "ch-auch"


async def test_a_gateway_that_is_switched_off_stores_nothing(
    site: Site, region: Fhir, images: Images, tmp_path: Path
) -> None:
    await region.update(resource("gw-auch", "gateway-auch", status="suspended"))
    assert await store(site, file(tmp_path)) == 403
    assert images.index.study(making.STUDY) is None


async def test_another_system_stores_in_its_own_name(
    site: Site, app: As, images: Images, tmp_path: Path
) -> None:
    app.access = machine("gw-auch")
    app.access = type(app.access)("Client/Other", app.access.scopes, None)
    assert await store(site, file(tmp_path)) == 200
    study = images.index.study(making.STUDY)
    assert study is not None
    assert study.source == "other"
