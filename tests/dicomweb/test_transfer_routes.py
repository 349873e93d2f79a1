"""From the PACS search to the attached exam and its trace, over HTTP, with rights; relays; wishes."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomweb.images import Images
from dicomweb.index.contract import Outcome, Trace
from dicomweb.peers.peer import EXTENSION
from dicomweb.transfers.record import Item, Order
from dicomweb.transfers.relaying import Relays
from dicomweb.transfers.runner import Parts, Runner
from dicomweb.worker import Worker
from fhir_server.access import Access, Scope
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from profiles.outcomes import NotFound
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.pacs import Pacs, orthanc
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_worker import clock, fhir, image, patient, put, request, worker
from tests.processes import unused_ports

__all__ = ["clock", "fhir", "worker"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Json = dict[str, Any]
PAYLOAD = [
    {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}
]
TRANSFER = [
    {"coding": [{"system": "https://teledossier.example/fhir/CodeSystem/workflow",
                 "code": "transfert-imagerie"}]}
]  # fmt: skip


def transfer(number: int = 1) -> Json:
    numero = {
        "system": "https://teledossier.example/fhir/NamingSystem/numero",
        "value": f"TD-2024-00000{number}",
    }
    return {"category": TRANSFER, "identifier": [numero],
            "requester": {"reference": "PractitionerRole/p08-auch"}}  # fmt: skip


SITES = {"p08": "auch", "p20": "toulouse"}


def person(id: str) -> Access:
    community = f"Organization/com-{SITES[id]}"
    scopes = (Scope("*", "rs"), Scope("Binary", "c"))
    return Access(f"Practitioner/{id}", scopes, frozenset({f"Practitioner/{id}", community}))


def audience(*ids: str) -> list[Json]:
    url = "https://teledossier.example/fhir/StructureDefinition/audience"
    return [{"url": url, "valueReference": {"reference": one}} for one in ids]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    folder = tmp_path_factory.mktemp("pacs")
    dimse, http = unused_ports(2)
    with orthanc(folder / "orthanc", dimse, http) as running:
        running.load(making.files(folder / "given", 6))
        yield running


def address(pacs: Pacs) -> str:
    return f"dicom://127.0.0.1:{pacs.peer.port}/ORTHANC"


@pytest.fixture
async def region(fhir: Fhir) -> Fhir:
    """Two sites, a community each, one person each."""
    for id, site in SITES.items():
        await put(fhir, "Organization", f"ch-{site}", name=site)
        part = {"reference": f"Organization/ch-{site}"}
        await put(fhir, "Organization", f"com-{site}", name=f"C {site}", partOf=part)
        await put(fhir, "Practitioner", id)
        role = {
            "practitioner": {"reference": f"Practitioner/{id}"},
            "organization": {"reference": f"Organization/com-{site}"},
        }
        await put(fhir, "PractitionerRole", f"{id}-{site}", **role)
    await patient(fhir)
    return fhir


@asynccontextmanager
async def running(
    images: Images, store: Store, fhir: Fhir, settings: Settings, worker: Worker
) -> AsyncIterator[Runner]:
    """The worker's two parts, as its command runs them."""
    quick = replace(worker, settings=replace(settings, quiet_seconds=0.0))
    runner = Runner(Parts(settings, store, fhir, images, quick, lambda claims: "signed." + str(len(claims))))
    runner.now = worker.now
    stop = asyncio.Event()
    tasks = [asyncio.create_task(part.run(stop)) for part in (quick, runner)]
    try:
        yield runner
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    for _ in range(int(seconds / 0.05)):
        found = what()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("did not happen in time")


async def site_pacs(fhir: Fhir, pacs: Pacs, **more: Any) -> None:
    await fhir.update(endpoint(address=address(pacs), payloadType=PAYLOAD, **more))


@pytest.mark.peer("orthanc")
async def test_search_import_attach_and_trace(
    region: Fhir, pacs: Pacs, client: Client, images: Images, store: Store, settings: Settings, worker: Worker
) -> None:
    """R085: the site's person finds the exam in the PACS, takes it into the télédossier, sees it come."""
    await site_pacs(region, pacs)
    await request(region, "r1", requester={"reference": "PractitionerRole/p08-auch"}, priority="stat",
                  extension=audience("Organization/com-auch"))  # fmt: skip
    client.access = person("p08")
    assert (await client.get("/peers")).json() == [{"id": "pacs-auch", "name": "PACS d'Auch", "active": True}]
    found = await client.post("/peers/pacs-auch/search", json={"keys": {"PatientName": "LABORDE*"}})
    assert [one["0020000D"]["Value"] for one in found.json()] == [[making.STUDY]]
    asked = {"peer": "pacs-auch", "study": making.STUDY, "series": [making.SERIES], "request": "r1"}
    answer = await client.post("/transfers", json=asked)
    assert answer.status_code == 202, answer.text
    id = answer.json()["id"]
    assert answer.headers["Location"].endswith(f"/transfers/{id}")
    assert (answer.json()["urgency"], answer.json()["state"]) == (0, "waiting")
    async with running(images, store, region, settings, worker):

        async def over() -> Json | None:
            (one,) = (await client.get("/transfers", params={"request": "r1"})).json()
            return one if one["state"] != "waiting" else None

        after = await until(over)
        assert (after["state"], after["done"], after["total"]) == ("done", 6, 6)

        async def attached() -> Any:
            try:
                return (await region.read("ImagingStudy", making.STUDY)).get("basedOn")
            except NotFound:
                return None

        assert await until(attached) == [{"reference": "ServiceRequest/r1"}]

        async def traced() -> Any:
            told = await region.search("Provenance", [("target", "ServiceRequest/r1")])
            return [one for one in told if one["id"].startswith("transfer-")]

        (trace,) = await until(traced)
    said = trace["reason"][0]["text"]
    assert said.startswith("Import depuis PACS d'Auch : 6 images sur 6, aucune perdue ni altérée")
    assert trace["agent"][0]["who"] == {"reference": "Practitioner/p08"}
    assert (await client.get(f"/transfers/{id}/receipt")).text.startswith("signed.")
    assert (await client.delete(f"/transfers/{id}")).status_code == 409


@pytest.mark.peer("orthanc")
async def test_another_sites_pacs_and_requests_are_not_there(
    region: Fhir, pacs: Pacs, client: Client, images: Images
) -> None:
    await site_pacs(region, pacs)
    await request(region, "r1", extension=audience("Organization/com-auch"))
    submitted = images.queue.submit(Order("import", "pacs-auch", "1.2", 2, "r1"), 1)
    client.access = person("p20")
    assert (await client.get("/peers")).json() == []
    answers = {
        "search": await client.post("/peers/pacs-auch/search", json={"keys": {"PatientID": "1"}}),
        "absent": await client.post("/peers/nowhere/search", json={"keys": {"PatientID": "1"}}),
        "import": await client.post(
            "/transfers", json={"peer": "pacs-auch", "study": "1.2", "request": "r1"}
        ),
        "list": await client.get("/transfers", params={"request": "r1"}),
        "show": await client.get(f"/transfers/{submitted.id}"),
        "cancel": await client.delete(f"/transfers/{submitted.id}"),
        "receipt": await client.get(f"/transfers/{submitted.id}/receipt"),
        "none": await client.get("/transfers/none"),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert answers["search"].json() == answers["absent"].json()
    assert answers["show"].json()["code"] in ("no-such-request", "no-such-transfer")
    client.access = person("p08")
    assert (await client.get(f"/transfers/{submitted.id}")).json()["state"] == "waiting"
    assert (await client.delete(f"/transfers/{submitted.id}")).status_code == 204
    assert (await client.get(f"/transfers/{submitted.id}")).json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"keys": {}}, "search-too-wide"),
        ({"keys": {"PatientName": "*"}}, "search-too-wide"),
        ({"keys": {"ModalitiesInStudy": "CT"}}, "search-too-wide"),
        ({"keys": {"PatientWeight": "70"}}, "bad-search"),
        ({"level": "patient", "keys": {"PatientID": "1"}}, "bad-search"),
        ({"level": "series", "keys": {"PatientID": "1"}}, "bad-search"),
        ({"keys": {"PatientID": "1\\2"}}, "bad-search"),
        ({"keys": []}, "bad-search"),
        ([], "bad-json"),
    ],
)
async def test_searches_that_are_refused(body: Any, code: str, region: Fhir, client: Client) -> None:
    await region.update(endpoint(address="dicom://127.0.0.1:1/X", payloadType=PAYLOAD))
    client.access = person("p08")
    answer = await client.post("/peers/pacs-auch/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_pacs_that_is_off_or_away_says_so(region: Fhir, client: Client, free_port: int) -> None:
    """R086: a clear message."""
    client.access = person("p08")
    away = f"dicom://127.0.0.1:{free_port}/X"
    search = {"keys": {"PatientID": "1"}}
    await region.update(endpoint(address=away, payloadType=PAYLOAD))
    answer = await client.post("/peers/pacs-auch/search", json=search)
    assert (answer.status_code, answer.json()["code"]) == (503, "no-connection")
    await region.update(endpoint(address=away, payloadType=PAYLOAD, status="off"))
    answer = await client.post("/peers/pacs-auch/search", json=search)
    assert (answer.status_code, answer.json()["code"]) == (409, "peer-not-active")
    assert (await client.get("/peers")).json()[0]["active"] is False


async def test_nothing_is_added_to_a_closed_file(region: Fhir, client: Client) -> None:
    await region.update(endpoint(address="dicom://127.0.0.1:1/X", payloadType=PAYLOAD))
    await request(region, "r1", status="completed", extension=audience("Organization/com-auch"))
    client.access = person("p08")
    asked = {"peer": "pacs-auch", "study": "1.2", "request": "r1"}
    answer = await client.post("/transfers", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "request-closed")
    for wrong in ({"study": "x"}, {"series": ["x"]}, {"series": "1"}, {"request": ""}):
        answer = await client.post("/transfers", json={**asked, **wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-transfer"), wrong


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"IssuerOfPatientID": ""}, "attached"),  # no identifier in common: name and birth date agree
        ({"PatientID": "X", "PatientBirthDate": "19600101", "IssuerOfPatientID": ""}, "proposed"),
        ({"PatientID": "X", "PatientName": "DUPONT^Jean", "IssuerOfPatientID": ""}, "proposed"),
    ],
)
async def test_a_chosen_exam_is_attached_only_when_the_identities_agree(
    changes: dict[str, str], outcome: str, region: Fhir, images: Images, worker: Worker,
    take: Callable[..., Outcome], tmp_path: Path,
) -> None:  # fmt: skip
    await request(region, "r1")
    images.queue.wish(making.STUDY, "r1", "Practitioner/p08", 1)
    assert not await worker.attaching.attach_wanted(making.STUDY, "r1")  # not here yet
    take(image(tmp_path, AccessionNumber="OTHER", **changes))
    (study,) = images.index.due(10**18, 0)
    await worker.write_up(study)
    assert await worker.attaching.attach_wanted(making.STUDY, "r1")
    proposals = await region.search("Task", [("code", "associate-exam")])
    based_on = (await region.read("ImagingStudy", making.STUDY)).get("basedOn")
    if outcome == "attached":
        assert based_on == [{"reference": "ServiceRequest/r1"}]
        assert [one for one in proposals if one["status"] == "requested"] == []
    else:
        assert based_on is None
        assert len(proposals) == 1


async def test_relays_follow_what_is_sent(
    region: Fhir, store: Store, images: Images, worker: Worker, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """R082: one relay a site, only of that workflow, only where the site takes them, only once."""
    uses = {"url": EXTENSION, "extension": [{"url": "use", "valueCode": "relay"}]}
    for site, more in (("toulouse", {}), ("auch", {}), ("castres", {"status": "off"})):
        await put(region, "Organization", f"ch-{site}", name=site)
        where = {"reference": f"Organization/ch-{site}"}
        await region.update(
            endpoint(
                id=f"pacs-{site}", payloadType=PAYLOAD, extension=[uses], managingOrganization=where, **more
            )
        )
    to = [{"reference": "Organization/com-toulouse"}, {"reference": "Organization/ch-castres"}]
    await request(region, "r1", status="draft", **transfer(), performer=to, accession="ACC-1")
    take(image(tmp_path))
    await worker.write_up(images.index.due(10**18, 0)[0])
    relays = Relays(store, region, images.queue, worker.now)
    assert await relays.sweep() == 0  # not sent yet
    await request(region, "r1", **transfer(), performer=to, accession="ACC-1", priority="urgent")
    assert await relays.sweep() == 1
    (relay,) = images.queue.of_request("r1")
    assert (relay.order.peer, relay.order.study, relay.order.urgency) == ("pacs-toulouse", making.STUDY, 1)
    assert await relays.sweep() == 0
    images.queue.select("r1", making.STUDY, ("2.25.999",))
    await request(region, "r1", **transfer(), performer=to, accession="ACC-1", priority="routine")
    assert await relays.sweep() == 0  # nothing of what was chosen is there
    images.queue.select("r1", making.STUDY, (making.SERIES,))
    await request(region, "r1", **transfer(), performer=to, accession="ACC-1", priority="urgent")
    assert await relays.sweep() == 1
    (chosen,) = [one for one in images.queue.of_request("r1") if one.order.series]
    assert chosen.order.series == (making.SERIES,)
    images.queue.list_items(chosen.id, [Item(making.SERIES, "2.25.1.1")], 1)
    images.queue.finish(chosen.id, "done", "", "", 1)
    await request(region, "r1", **transfer(), performer=to, accession="ACC-1", priority="stat")
    assert await relays.sweep() == 0  # the chosen one is there, whatever else the exam has
    await request(region, "r2", performer=to, accession="ACC-1")  # another workflow
    await relays.sweep()
    assert images.queue.of_request("r2") == []
    assert len(images.queue.of_request("r1")) == 2


# -- who asked for what (IHE ATNA)
async def events(fhir: Fhir) -> list[Json]:
    """Oldest first; each is what the validating write path takes too."""
    found = await fhir.search("AuditEvent", [("_sort", "date")])
    for one in found:
        await fhir.update(one)
    return found


@pytest.mark.peer("orthanc")
async def test_a_search_and_a_transfer_leave_their_events(
    region: Fhir, pacs: Pacs, client: Client, images: Images, store: Store, settings: Settings, worker: Worker
) -> None:
    await site_pacs(region, pacs)
    await request(region, "r1", requester={"reference": "PractitionerRole/p08-auch"},
                  extension=audience("Organization/com-auch"))  # fmt: skip
    client.access = person("p08")
    keys = {"PatientName": "LABORDE*", "PatientBirthDate": "19530517"}
    await client.post("/peers/pacs-auch/search", json={"keys": keys})
    asked = {"peer": "pacs-auch", "study": making.STUDY, "request": "r1"}
    id = (await client.post("/transfers", json=asked)).json()["id"]
    async with running(images, store, region, settings, worker):

        async def three() -> list[Json]:
            found = await region.search("AuditEvent", [("_sort", "date")])
            return found if len(found) > 2 else []

        await until(three)
    by_code = {one["type"]["code"]: one for one in await events(region)}
    searched, ordered, ended = (by_code.pop(code) for code in ("110112", "110102", "110104"))
    assert by_code == {}
    assert {one["agent"][0]["who"]["reference"] for one in (searched, ordered, ended)} == {"Practitioner/p08"}
    assert {one["agent"][1]["who"]["identifier"]["value"] for one in (searched, ordered, ended)} == {
        "Endpoint/pacs-auch"
    }
    (entity,) = searched["entity"]
    assert b64decode(entity["query"]) == b"study?PatientBirthDate&PatientName"
    assert entity["what"] == {"reference": "Organization/ch-auch"}
    assert entity["detail"] == [{"type": "found", "valueString": "1"}]
    details = [
        {one["type"]: one["valueString"] for one in event["entity"][0]["detail"]}
        for event in (ordered, ended)
    ]
    assert details == [
        {"transfer": id, "ordered": "import"},
        {"transfer": id, "ended": "import", "stored": "6/6"},
    ]
    assert [event["entity"][1]["what"]["reference"] for event in (ordered, ended)] == [
        "ServiceRequest/r1"
    ] * 2
    assert not any(
        value in str([searched, ordered, ended]) for value in ("LABORDE", "19530517", "1953-05-17")
    )


async def test_a_search_that_failed_and_a_transfer_cancelled_leave_theirs(
    region: Fhir, client: Client, images: Images, free_port: int
) -> None:
    await request(region, "r1", extension=audience("Organization/com-auch"))
    await region.update(endpoint(address=f"dicom://127.0.0.1:{free_port}/X", payloadType=PAYLOAD))
    client.access = person("p08")
    refused = await client.post("/peers/pacs-auch/search", json={"keys": {"PatientID": "AU-300003"}})
    assert refused.status_code == 503
    id = images.queue.submit(Order("import", "pacs-auch", "1.2", 2, "r1"), 1).id
    assert (await client.delete(f"/transfers/{id}")).status_code == 204
    assert (await client.delete(f"/transfers/{id}")).status_code == 409  # nothing was done: nothing is told
    searched, cancelled = await events(region)
    assert (searched["outcome"], searched["entity"][0]["detail"][0]["valueString"]) == ("4", "no-connection")
    assert b64decode(searched["entity"][0]["query"]) == b"study?PatientID"
    assert (cancelled["type"]["code"], cancelled["outcome"]) == ("110104", "4")
    assert cancelled["entity"][0]["detail"][1] == {"type": "cancelled", "valueString": "import"}


# -- the worker as its command runs it: identity, correction, withdrawal
IPP = "https://teledossier.example/fhir/NamingSystem/ipp/"
STATUS = "https://teledossier.example/fhir/StructureDefinition/identity-status"


@pytest.mark.peer("orthanc")
async def test_a_relay_its_correction_and_its_withdrawal_are_lines_of_the_timeline(
    region: Fhir, images: Images, store: Store, settings: Settings, worker: Worker,
    take: Callable[..., Outcome], tmp_path: Path,
) -> None:  # fmt: skip
    """R082, R094: what the recipient's PACS has follows, and the people of the file read it."""
    dimse, http = unused_ports(2)

    async def known(**more: Any) -> None:
        numbers = [
            {"system": IPP + "ch-auch", "value": "AU-300003"},
            {"system": IPP + "ch-toulouse", "value": "TL-1"},
        ]  # fmt: skip
        fields = {"name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", **more}
        state = [{"url": STATUS, "valueCode": "validee"}]
        await put(region, "Patient", "pat03", identifier=numbers, extension=state, **fields)

    async def lines(count: int) -> list[str]:
        async def told() -> list[str]:
            found = await region.search("Provenance", [("target", "ServiceRequest/r1")])
            texts = [one["reason"][0]["text"] for one in found if one["id"].startswith("transfer-")]
            return sorted(texts) if len(texts) >= count else []

        return list(await until(told))

    await known()
    to = [{"reference": "Organization/com-toulouse"}]
    await request(region, "r1", **transfer(), performer=to, accession="ACC-1", priority="stat")
    take(image(tmp_path))
    with orthanc(tmp_path / "orthanc", dimse, http, OverwriteInstances=True) as pacs:
        uses = {
            "url": EXTENSION,
            "extension": [{"url": "use", "valueCode": "relay"}, {"url": "verify", "valueCode": "content"}],
        }
        where = {"reference": "Organization/ch-toulouse"}
        made = endpoint(id="pacs-toulouse", name="PACS de Toulouse", address=f"dicom://127.0.0.1:{dimse}/ORTHANC",
                        payloadType=PAYLOAD, extension=[uses], managingOrganization=where)  # fmt: skip
        await region.update(made)
        async with running(images, store, region, settings, worker):
            (sent,) = await lines(1)
            assert sent.startswith("Envoi vers PACS de Toulouse : 1 images sur 1")
            await known(name=[{"family": "LABORDE", "given": ["Henriette"]}])
            corrected, _ = await lines(2)
            assert corrected.startswith("Envoi de l'identité corrigée vers PACS de Toulouse : 1 images sur 1")
            images.index.mask((making.STUDY, None, None), Trace(1, "Practitioner/p08", "mauvais patient"))
            *_, withdrawn = await lines(3)
        assert withdrawn == (
            "Retrait demandé à PACS de Toulouse : examen retiré pour la sécurité du patient : 1 image, note "
            "de rejet transmise"
        )
        async with httpx.AsyncClient(base_url=pacs.http) as orthanc_itself:
            studies = (await orthanc_itself.get("/studies?expand")).json()
        patients = [one["PatientMainDicomTags"] for one in studies]
        names = [(one["PatientID"], one["PatientName"]) for one in patients]
        assert names == [("TL-1", "LABORDE^Henriette")]
        assert len(pacs.instances()) == 2  # the image and the note
