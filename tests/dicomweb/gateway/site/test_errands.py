"""A PACS that only its site's gateway reaches: searched, imported from, relayed to, by real processes.

`serve` with two web processes, `worker`, `gateway` and Orthanc, each as in operation.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomweb.images import Images, open_images
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import EXTENSION, WEB
from dicomweb.transfers.record import Order, Transfer
from fhir_server import opening
from smart_launch.authorization import clients
from tests.dicomweb import making
from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site, Work
from tests.dicomweb.gateway.test_registry import PAYLOAD, resource
from tests.dicomweb.pacs import Pacs, orthanc
from tests.dicomweb.test_peers import endpoint
from tests.processes import eventually, unused_port

pytestmark = [
    pytest.mark.peer("orthanc"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
COUNT = 300


@dataclass
class Region:
    """The processes, and the platform's own queue and index as a person's click would reach them."""

    platform: Platform
    pacs: Pacs
    site: Site
    images: Images
    operator: str
    work: Work

    def client(self, **more: Any) -> httpx.Client:
        form = {"grant_type": "client_credentials", "scope": "system/*.cruds"}
        url = f"http://127.0.0.1:{self.platform.port}"
        answer = httpx.post(f"{url}/oauth/token", auth=("operator", self.operator), data=form)
        headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
        return httpx.Client(base_url=url, headers=headers, timeout=60, **more)

    def transfer(self, kind: Any, study: str, peer: str = "pacs-auch") -> str:
        return self.images.queue.submit(Order(kind, peer, study, 1), time.time_ns() // 1000).id

    def standing(self, id: str) -> Transfer:
        found = self.images.queue.get(id)
        assert found is not None
        return found

    def ended(self, id: str, seconds: float = 60) -> Transfer:
        assert eventually(lambda: self.standing(id).state != "waiting", seconds), self.standing(id)
        return self.standing(id)


def behind(pacs: Pacs, id: str = "pacs-auch", gateway: str = "gw-auch", **parts: str) -> dict[str, Any]:
    return behind_at(f"127.0.0.1:{pacs.peer.port}/ORTHANC", id, gateway, **parts)


def behind_at(address: str, id: str, gateway: str = "gw-auch", **parts: str) -> dict[str, Any]:
    """The Endpoint of a PACS behind a gateway."""
    via = [{"url": "via", "valueReference": {"reference": f"Endpoint/{gateway}"}}]
    via += [{"url": name, "valueCode": value} for name, value in parts.items()]
    extension = [{"url": EXTENSION, "extension": [*via, {"url": "use", "valueCode": "query"}]}]
    return endpoint(id=id, address=f"dicom://{address}", payloadType=PAYLOAD, extension=extension)


async def _directory(platform: Platform, pacs: Pacs) -> dict[str, str]:
    """The site, its gateways and what is behind them; the clients' secrets."""
    scopes = dict.fromkeys((CLIENT, "passerelle-castres"), "system/ImagingStudy.c")
    scopes["operator"] = "system/*.cruds"
    async with opening.opened(platform.settings) as opened:
        await opened.fhir.update({"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"})
        await opened.fhir.update(resource("gw-auch", CLIENT))
        await opened.fhir.update(resource("gw-castres", "passerelle-castres"))
        await opened.fhir.update(behind(pacs))
        await opened.fhir.update(behind(pacs, "pacs-verified", verify="content"))
        await opened.fhir.update(behind(pacs, "pacs-castres", "gw-castres"))
        await opened.fhir.update(behind(pacs, "pacs-move", retrieve="move"))
        kind = {"system": WEB[0], "code": WEB[1]}
        await opened.fhir.update(
            {**behind(pacs, "pacs-web"), "connectionType": kind, "address": pacs.web.url}
        )
        store = opened.engine.store
        made = {id: await clients.add(store, id, scope=scope) for id, scope in scopes.items()}
    return {id: secret or "" for id, (_client, secret) in made.items()}


@contextmanager
def working(platform: Platform) -> Iterator[Work]:
    """`teledossier worker`, running."""
    work = Work(platform)
    work.start()
    try:
        yield work
    finally:
        work.stop()
    assert "Traceback" not in work.log.read_text()


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    folder = tmp_path_factory.mktemp("region")
    platform, dimse = Platform(folder / "platform"), unused_port()
    with ExitStack() as stack:
        url = f"http://127.0.0.1:{platform.port}"
        site = Site(folder / "site", url, "", callers="ORTHANC")
        to = {"gateway": ["PASSERELLE", "127.0.0.1", site.port]}
        pacs = stack.enter_context(orthanc(folder / "pacs", dimse, unused_port(), DicomModalities=to))
        site.environment["TELEDOSSIER_GATEWAY_PEERS"] = f"ORTHANC=127.0.0.1:{dimse}, {pacs.web.url}/"
        pacs.load(making.files(folder / "given", COUNT))
        secrets = asyncio.run(_directory(platform, pacs))
        stack.callback(platform.stop)
        platform.start(workers=2)
        work = stack.enter_context(working(platform))
        (site.folder / "secret").write_text(secrets[CLIENT])
        stack.callback(site.stop)
        site.start()
        images = open_images(platform.settings, None)  # type: ignore[arg-type]
        stack.callback(images.close)
        yield Region(platform, pacs, site, images, secrets["operator"], work)
    assert "Traceback" not in site.log.read_text()


def search(region: Region, peer: str = "pacs-auch", **keys: str) -> httpx.Response:
    with region.client() as client:
        return client.post(f"/dicom-web/peers/{peer}/search", json={"keys": keys})


def test_the_pacs_is_searched_through_its_gateway(region: Region) -> None:
    """Sixteen questions at once, over two web processes: each gets its own answer."""
    answer = search(region, PatientName="LABORDE*")
    assert answer.status_code == 200, answer.text
    assert [one["0020000D"]["Value"] for one in answer.json()] == [[making.STUDY]]
    assert search(region, PatientName="NOBODY*").json() == []

    async def ask() -> list[httpx.Response]:
        with region.client() as client:
            headers = dict(client.headers)
        async with httpx.AsyncClient(base_url=str(client.base_url), headers=headers, timeout=60) as http:
            names = ["LABORDE*", "NOBODY*"] * 8
            asked = [
                http.post("/dicom-web/peers/pacs-auch/search", json={"keys": {"PatientName": one}})
                for one in names
            ]
            return list(await asyncio.gather(*asked))

    assert [len(one.json()) for one in asyncio.run(ask())] == [1, 0] * 8


def test_an_exam_is_fetched_whole_with_its_gateway_killed_on_the_way(region: Region) -> None:
    id = region.transfer("import", making.STUDY)
    assert eventually(lambda: region.standing(id).done >= 40, 60)
    region.site.stop(signal.SIGKILL)
    done = region.standing(id).done
    assert done < COUNT
    region.site.start()
    after = region.ended(id, 120)
    assert (after.state, after.done, after.failed) == ("done", COUNT, 0)
    expected = sorted(f"2.25.1.{n}" for n in range(1, COUNT + 1))
    files = list(region.images.index.files(making.STUDY))
    assert sorted(one.uid for one in files) == expected
    assert all(region.images.index.conflicts(uid) == [] for uid in expected)
    items = region.images.queue.items(id)
    assert all(one.source and one.source == one.stored for one in items)
    study = region.images.index.study(making.STUDY)
    assert study is not None
    assert study.source == "ch-auch"


@pytest.mark.parametrize("peer", ["pacs-move", "pacs-web"])
def test_other_ways_to_the_pacs_behind(peer: str, region: Region, tmp_path: Path) -> None:
    """By C-MOVE to the gateway's own node, and by DICOMweb."""
    study = f"2.25.88{len(peer)}"
    paths = [
        making.write(
            tmp_path / f"{n}.dcm",
            making.dataset(
                StudyInstanceUID=study, SeriesInstanceUID=study + "1", SOPInstanceUID=f"{study}.{n}"
            ),
        )
        for n in range(1, 13)
    ]
    region.pacs.load(paths)
    after = region.ended(region.transfer("import", study, peer))
    assert (after.state, after.done) == ("done", 12)
    assert len(list(region.images.index.files(study))) == 12
    with region.client() as client:
        assert client.post(f"/gateway/peers/{peer}/echo").json()["reachable"] is True


def test_without_a_token_there_is_nothing(region: Region) -> None:
    url = f"http://127.0.0.1:{region.platform.port}"
    for path in ("/gateway/errands", "/gateway/sites", "/gateway/nothing"):
        assert httpx.get(url + path).status_code == 401


def receipt(region: Region, id: str) -> dict[str, Any]:
    """What a transfer's receipt claims."""
    _head, claims, _signature = region.images.queue.receipt(id).split(".")
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return found


@pytest.mark.parametrize(
    ("peer", "proved"),
    [
        ("pacs-auch", ("commitment", None, {"committed"})),
        ("pacs-verified", ("content", None, {"content"})),
        ("pacs-web", ("presence", "not-offered", {"presence"})),
    ],
)
def test_an_exam_is_relayed_to_the_pacs_behind(
    peer: str, proved: tuple[str, str | None, set[str]], region: Region, tmp_path: Path
) -> None:
    """By DIMSE the PACS takes responsibility: it is asked by its gateway, and calls it to tell."""
    study = f"2.25.77{len(peer)}"
    uids = []
    for n in range(1, 21):
        uid = f"{study}.{n}"
        change = {"StudyInstanceUID": study, "SeriesInstanceUID": study + "1", "SOPInstanceUID": uid}
        ingest(making.write(tmp_path / f"{n}.dcm", making.dataset(**change)), Arrival(1),
               region.images.files, region.images.index)  # fmt: skip
        uids.append(uid)
    after = region.ended(region.transfer("relay", study, peer))
    assert (after.state, after.done) == ("done", 20)
    assert set(uids) <= set(region.pacs.instances())
    if peer == "pacs-verified":
        assert {one.stored == one.source for one in region.images.queue.items(after.id)} == {True}
    told = receipt(region, after.id)
    assert (told["verified"], told.get("commitment"), {one["proof"] for one in told["instances"]}) == proved


def test_what_the_site_does_not_list_is_never_called(region: Region) -> None:
    """The gateway's own settings say which peers there are, whatever the platform asks."""
    site = region.site
    kept = site.environment["TELEDOSSIER_GATEWAY_PEERS"]
    site.stop()
    site.environment["TELEDOSSIER_GATEWAY_PEERS"] = "OTHER=127.0.0.1:104"
    try:
        site.start()
        answer = search(region, PatientName="LABORDE*")
        assert (answer.status_code, answer.json()["code"]) == (409, "peer-not-allowed")
    finally:
        site.stop()
        site.environment["TELEDOSSIER_GATEWAY_PEERS"] = kept
        site.start()


def test_a_gateway_that_is_not_there(region: Region) -> None:
    answer = search(region, "pacs-castres", PatientName="LABORDE*")
    assert (answer.status_code, answer.json()["code"]) == (503, "gateway-silent")


def test_the_gateway_ends_at_once(region: Region) -> None:
    began = time.monotonic()
    assert region.site.stop() == 0
    assert time.monotonic() - began < 4
    region.site.start()
