"""The sites' page: who reads it, what it says, its switch; what a search says of a silent gateway."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dicomweb.gateway.region.health import note
from dicomweb.gateway.report import Reachable, Report
from dicomweb.index.steps import PerformedStep, StepMessage
from smart_launch.app import words
from smart_launch.app.views import sites
from tests.dicomweb.gateway.test_registry import behind, resource
from tests.dicomweb.test_peers import endpoint
from tests.portal import directory
from tests.portal.platform import Platform, platform

SECOND = 1_000_000
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def now() -> int:
    return time.time_ns() // 1000


@pytest.fixture
async def region(tmp_path: Path) -> AsyncIterator[Platform]:
    """Auch with a gateway and two PACS, one behind it; an administrator of the region, one of Auch."""
    async with platform(tmp_path) as running:
        await running.system.update(resource(name="Passerelle du CH Auch"))
        via = {"valueReference": {"reference": "Endpoint/gw-auch"}}
        await running.system.update(behind("pacs-1", via, name="PACS d'Auch"))
        off = endpoint(id="pacs-2", name="<b>Archives</b>", status="off", payloadType=[{"text": "DICOM"}])
        await running.system.update(off)
        for id, code, at in (("reg", "admin-regional", ""), ("adm", "admin-site", "ch-auch")):
            await _person(running, id, code, at)
        yield running


async def _person(running: Platform, id: str, code: str, at: str) -> None:
    name = [{"family": id.upper(), "given": ["Olivia"]}]
    await running.system.update({"resourceType": "Practitioner", "id": id, "name": name})
    role: dict[str, Any] = {
        "resourceType": "PractitionerRole", "id": id, "active": True,
        "practitioner": {"reference": f"Practitioner/{id}"}, "code": [directory.coding("role", code)],
    }  # fmt: skip
    if at:
        role["organization"] = {"reference": f"Organization/{at}"}
    await running.system.update(role)


def text(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


async def test_who_reads_the_sites(region: Platform) -> None:
    answers = {}
    for person in ("reg", "adm", "p08"):
        async with region.as_(person) as client:
            listed = await client.get("/sites")
            one, other = [(await client.get(f"/sites/{id}")).status_code for id in ("ch-auch", "chu-tls")]
            header = 'href="/sites"' in (await client.get("/dossiers")).text
            answers[person] = (listed.status_code, one, other, header)
    assert answers == {
        "reg": (200, 200, 200, True), "adm": (303, 200, 404, True), "p08": (403, 403, 403, False),
    }  # fmt: skip


async def test_what_the_page_of_a_site_says(region: Platform) -> None:
    report = Report(
        now(), "1.4", waiting=2, waiting_bytes=3_000_000, oldest=1200, disk_free=5, disk_total=100,
        peers=(Reachable("pacs-1", False),),
    )  # fmt: skip
    note(region.images.board, "gw-auch", report, now())
    async with region.as_("adm") as client:
        page = await client.get("/sites/ch-auch")
    said = text(page.text)
    for expected in (
        "Passerelle du CH Auch À vérifier", words.GATEWAY_ALARMS["waiting"], words.GATEWAY_ALARMS["disk"],
        "En attente 2 images, 3 Mo, la plus ancienne depuis 20 min", "PACS d'Auch Ne répond pas",
        "Appel non activé", "Urgences CH Auch 2 membres", "Dr Nadia Benali",
    ):  # fmt: skip
        assert expected in said, expected
    assert "<b>Archives" not in page.text
    async with region.as_("reg") as client:
        listed = text((await client.get("/sites")).text)
    assert "CH Auch (démo) À vérifier" in listed
    assert "CHU Toulouse (démo) Aucun système déclaré" in listed


async def test_what_the_page_says_of_a_ris_that_was_not_told(region: Platform) -> None:
    index, at = region.images.index, now()
    for number, uid in enumerate(("2.25.1", "2.25.2", "2.25.3")):
        step = PerformedStep(uid, "IN PROGRESS", ("2.25.9",), "CT1", "ch-auch", {}, at)
        assert index.put_performed(step, StepMessage(uid, "create", "1.2.840.10008.1.2", b"x", at + number))
    for number, _said in index.tellings.fresh():
        index.tellings.address(number, ["pacs-2"])
    first = index.tellings.next("pacs-2", at)
    assert first is not None
    index.tellings.refuse(first, "0x0110")
    async with region.as_("adm") as client:
        said = text((await client.get("/sites/ch-auch")).text)
    assert "2 messages MPPS à lui transmettre, depuis le " in said
    assert "1 message MPPS refusé : " in said


async def test_the_switch_of_a_system(region: Platform) -> None:
    async def press(person: str, system: str, action: str) -> int:
        async with region.as_(person) as client:
            return (
                await client.post(f"/sites/ch-auch/systemes/{system}", data={"action": action})
            ).status_code

    async def status(id: str) -> str:
        return str((await region.system.read("Endpoint", id))["status"])

    assert await press("adm", "pacs-2", "activer") == 303
    assert await status("pacs-2") == "active"
    assert await press("adm", "gw-auch", "suspendre") == 303
    assert await status("gw-auch") == "off"
    assert [await press("p08", "pacs-2", "suspendre"), await press("adm", "pacs-2", "raser")] == [404, 400]
    assert await status("pacs-2") == "active"
    (trace,) = await region.system.search("Provenance", [("target", "Endpoint/pacs-2")])
    assert trace["agent"][0]["who"] == {"reference": "Practitioner/adm"}


async def test_a_system_is_tried(region: Platform) -> None:
    async with region.as_("adm") as client:
        page = await client.post("/sites/ch-auch/systemes/pacs-1", data={"action": "essayer"})
    assert page.status_code == 200
    assert words.TRANSFER_REASONS["gateway-silent"] in page.text


async def test_a_search_says_since_when_the_gateway_is_silent(region: Platform) -> None:
    """R086: a clear message, not an error."""
    id = await region.draft()
    search = {"onglet": "pacs", "serveur": "pacs-1", "nom": "LABORDE", "action": "actualiser"}
    async with region.as_("p08") as client:
        page = await client.post(f"/dossiers/{id}/examens/ajouter", data=search)
        assert (page.status_code, words.PACS_FAILURES["gateway-silent"] in page.text) == (503, True)
        assert "(passerelle muette)" in page.text
        note(region.images.board, "gw-auch", Report(now()), now() - 3600 * SECOND)
        page = await client.post(f"/dossiers/{id}/examens/ajouter", data=search)
    assert re.search(r"ne répond pas depuis le \d\d/\d\d/\d{4} à \d\dh\d\d\.", page.text)


async def test_what_is_behind_a_suspended_gateway_is_not_activated(region: Platform) -> None:
    off = {"name": "active", "valueBoolean": False}
    async with region.as_("adm") as client:
        body = {"resourceType": "Parameters", "parameter": [off]}
        assert (await client.post("/fhir/Endpoint/gw-auch/$activate", json=body)).status_code == 200
    async with region.as_("p08") as client:
        answer = await client.post("/dicom-web/peers/pacs-1/search", json={"keys": {"PatientID": "1"}})
    assert (answer.status_code, answer.json()["code"]) == (409, "peer-not-active")


def gateway(**more: Any) -> dict[str, Any]:
    return {"id": "g", "name": "G", "active": True, "seen": None, "alarms": [], "clockOff": 0, **more}


@pytest.mark.parametrize(
    ("found", "tone", "state"),
    [
        (gateway(alarms=["never"]), "alerte", "Ne répond pas"),
        (gateway(alarms=["silent", "disk"]), "alerte", "Ne répond pas"),
        (gateway(alarms=["disk"]), "alerte", "À vérifier"),
        (gateway(), "fait", "En service"),
        (gateway(active=False), "", "Suspendue"),
    ],
)
def test_the_state_of_a_gateway(found: dict[str, Any], tone: str, state: str) -> None:
    made = sites.gateway(found, UTC, NOW)
    assert (made.tone, made.state) == (tone, state)


def test_every_alarm_has_its_sentence() -> None:
    from typing import get_args

    from dicomweb.gateway.region.health import Alarm

    assert set(words.GATEWAY_ALARMS) == set(get_args(Alarm))
