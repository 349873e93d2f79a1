"""Earlier exams of the patient, looked for at the sites of the hospital group when a file is sent. R097"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicomweb.association import PRIOR, ROLE
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Level, Unreachable
from dicomweb.priors.ledger import ATTEMPTS, LEASE, Ledger
from dicomweb.priors.likely import FETCHED, Site, candidates, how, person_of, questions
from dicomweb.priors.seeking import GHT, Seeking
from dicomweb.transfers import asking
from dicomweb.transfers.audit import Searched
from dicomweb.transfers.relaying import Relays
from dicomweb.worker import Worker
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.pacs import Pacs, orthanc
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_transfer_routes import (
    PAYLOAD,
    audience,
    person,
    region,
    running,
    site_pacs,
    transfer,
    until,
)
from tests.dicomweb.test_worker import Clock, clock, fhir, image, put, request, worker
from tests.processes import unused_ports

__all__ = ["clock", "fhir", "region", "worker"]  # fixtures
Json = dict[str, Any]
INS, OTHER_INS = "153051712345606", "185068199411438"
INS_OID = "1.2.250.1.213.1.4.11"
SENT = datetime(2024, 8, 8, 6, tzinfo=UTC)
TYPES = "https://teledossier.example/fhir/CodeSystem/organization-type"
ESTABLISHMENT = {"coding": [{"system": TYPES, "code": "etablissement"}]}
AUCH = Site("ch-auch", frozenset({"ch-auch", "993200013"}))


def local(site: str, value: str) -> Json:
    """A site's own number."""
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}]}
    return {
        "type": kind, "value": value, "system": f"https://teledossier.example/fhir/NamingSystem/ipp/{site}",
    }  # fmt: skip


PATIENT: Json = {
    "resourceType": "Patient", "id": "pat03", "gender": "male", "birthDate": "1953-05-17",
    "name": [{"family": "LABORDE", "given": ["Henri"]}],
    "identifier": [
        {"system": f"urn:oid:{INS_OID}", "value": INS},
        local("ch-auch", "AU-300003"),
    ],
}  # fmt: skip


def row(study: str = "1.2.3", **given: str) -> Json:
    """A PACS's answer at study level. `given`: by short names."""
    tags = {
        "day": "00080020", "accession": "00080050", "modality": "00080061", "id": "00100020",
        "issuer": "00100021", "birth": "00100030", "sex": "00100040", "images": "00201208",
    }  # fmt: skip
    told = {"day": "20220314", "modality": "CT", "birth": "19530517", "sex": "M", "images": "40", **given}
    made: Json = {tags[name]: {"Value": [value]} for name, value in told.items() if name in tags and value}
    name = told.get("name", "LABORDE^Henri")
    return {"0020000D": {"Value": [study]}, "00100010": {"Value": [{"Alphabetic": name}]}, **made}


def others(ins: str) -> Json:
    """Other Patient IDs, as a PACS returns them."""
    issuer = {"00400032": {"Value": [INS_OID]}, "00400033": {"Value": ["ISO"]}}
    return {"00101002": {"Value": [{"00100020": {"Value": [ins]}, "00100024": {"Value": [issuer]}}]}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(row(id=INS, issuer=INS_OID), "ins", id="INS"),
        pytest.param(row(id=INS), "ins", id="INS without issuer"),
        pytest.param(row(id=INS, name="LABORDE-PETIT^H"), "ins", id="INS, other name"),
        pytest.param(row(id=INS, birth="19530518"), None, id="INS, other birth date"),
        pytest.param(row(id=INS, sex="F"), None, id="INS, other sex"),
        pytest.param(row(id="AU-300003"), "local-number", id="the site's own number"),
        pytest.param(row(id="AU-300003", issuer="993200013"), "local-number", id="its issuer by FINESS"),
        pytest.param(row(id="AU-300003", issuer="ch-rodez", name="X^Y"), None, id="another site's number"),
        pytest.param(row(id="AU-9"), "traits", id="near name and birth date"),
        pytest.param(row(id="AU-9", name="LABORDE^Henry"), "traits", id="one letter wrong"),
        pytest.param(row(id="AU-9", name="DUPONT^Henri"), None, id="another name"),
        pytest.param(row(id="AU-9", birth=""), None, id="a name alone"),
        pytest.param(row(id=OTHER_INS, issuer=INS_OID), None, id="a homonym with an INS"),
        pytest.param({**row(id="X-1", issuer="ch-rodez"), **others(INS)}, "ins", id="INS among others"),
        pytest.param({**row(id="X-2", issuer="ch-rodez"), **others(OTHER_INS)}, None, id="a twin's INS"),
    ],
)
def test_whose_an_exam_is(answer: Json, expected: str | None) -> None:
    assert how(person_of(PATIENT), AUCH, answer) == expected


def test_what_a_site_is_asked() -> None:
    known = person_of(PATIENT)
    traits = {"PatientName": "LABORDE*", "PatientBirthDate": "19530517"}
    assert questions(known, "ch-auch") == [{"PatientID": "AU-300003"}, {"PatientID": INS}, traits]
    assert questions(known, "ch-rodez") == [{"PatientID": INS}, traits]
    assert questions(person_of({"name": [{"family": "INCONNU"}]}), "ch-auch") == []
    double = {"name": [{"family": "Lé Goff-Le Bars"}], "birthDate": "1953-05-17"}
    assert questions(person_of(double), "x") == [{"PatientName": "LE*", "PatientBirthDate": "19530517"}]


def test_which_are_fetched_unasked() -> None:
    """Certain, too old to be the request's own exam, not too large, the most alike and newest first."""
    rows = [
        row("1.1", id=INS, day="20200101", modality="MR"),
        row("1.2", id=INS, day="20210101"),
        row("1.3", id=INS, day="20220101"),
        row("1.4", id=INS, day="20230101"),
        row("1.5", id=INS, day="20230601", images="2001"),
        row("1.6", id=INS, day="20240806"),
        row("1.7", id="AU-9", day="20230801"),
        row("1.8", id=INS, day="20090101"),
        row("1.9", id=INS, day="20230901", accession="ACC-1"),
        row("1.10", id=INS, day="20230902"),
        row("1.2", id=INS, day="20210101"),
    ]
    facts = {"known": {"1.10", "ACC-1"}, "modalities": {"CT"}}
    found = candidates(person_of(PATIENT), AUCH, rows, facts, SENT)
    assert [one.study for one in found] == ["1.6", "1.7", "1.5", "1.4", "1.3", "1.2", "1.8", "1.1"]
    assert [one.study for one in found if one.fetched] == ["1.4", "1.3", "1.2"]
    assert FETCHED == 3


def test_nothing_of_an_answer_is_trusted() -> None:
    strange: list[Json] = [
        {}, {"0020000D": {}}, row(""), row("1.5", day="19991399", id=INS), row("1.6", images="x", id=INS),
        row("1.7", id=INS, day="2022"),
    ]  # fmt: skip
    found = candidates(person_of(PATIENT), AUCH, strange, {}, SENT)
    assert {one.study for one in found} == {"1.5", "1.6", "1.7"}
    assert [one for one in found if one.fetched] == []


# -- which sites are asked, and when
@dataclass
class Group:
    """PACS that answer what they are told to; `asked`: whom, for what."""

    answers: dict[str, list[Json]] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    told: list[Searched] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)

    def __call__(self, peer: Peer, level: Level, keys: Mapping[str, str], most: int) -> list[Any]:
        assert level == "study"
        self.asked.append((peer.id, keys))
        if peer.id in self.silent:
            raise Unreachable("no-connection")
        return self.answers.get(peer.id, [])

    async def searched(self, what: Searched) -> None:
        self.told.append(what)


@pytest.fixture
async def sites(region: Fhir) -> Fhir:
    """Auch and Lombez are one group, Toulouse is another; each has a PACS. The patient has an INS."""
    for id, ght in (("ch-auch", "ght-32"), ("ch-lombez", "ght-32"), ("ch-toulouse", "ght-31")):
        resource = {"resourceType": "Organization", "id": id, "name": id, "type": [ESTABLISHMENT]}
        await region.update({**resource, "extension": [{"url": GHT, "valueString": ght}]})
        place = {"reference": f"Organization/{id}"}
        await region.update(endpoint(id=f"pacs-{id[3:]}", managingOrganization=place, payloadType=PAYLOAD))
    await region.update(PATIENT)
    return region


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def seeking(images: Images, store: Store, fhir: Fhir, clock: Clock, group: Group) -> Seeking:
    return Seeking(store, fhir, images.queue, images.priors, group, clock, group.searched)


async def sent(fhir: Fhir, id: str = "r1", **more: Any) -> None:
    given = {
        "requester": {"reference": "PractitionerRole/p08-auch"},
        "extension": audience("Organization/com-auch", "Organization/com-toulouse"),
        **more,
    }
    await request(fhir, id, **given)


async def test_the_sites_of_the_group_are_asked_once_and_again_when_the_patient_is_better_known(
    sites: Fhir, seeking: Seeking, group: Group
) -> None:
    await sent(sites)
    assert await seeking.sweep() == 2
    assert await seeking.search() == 2
    assert sorted({peer for peer, _ in group.asked}) == ["pacs-auch", "pacs-lombez"]
    names = ("PatientBirthDate", "PatientID", "PatientName")
    assert sorted((one.peer.id, one.keys) for one in group.told) == [
        ("pacs-auch", names), ("pacs-lombez", names),
    ]  # fmt: skip
    assert [keys for peer, keys in group.asked if peer == "pacs-lombez"] == questions(
        person_of(PATIENT), "ch-lombez"
    )
    assert (await seeking.sweep(), await seeking.search()) == (0, 0)
    await sent(sites, priority="urgent")  # written again: nothing new to ask
    assert await seeking.sweep() == 0
    await sites.update({**PATIENT, "identifier": [*PATIENT["identifier"], local("ch-lombez", "LO-1")]})
    assert await seeking.sweep() == 1
    group.asked.clear()
    assert await seeking.search() == 1
    assert group.asked[0] == ("pacs-lombez", {"PatientID": "LO-1"})


@pytest.mark.parametrize(
    ("status", "consent"), [("draft", ""), ("completed", ""), ("revoked", ""), ("active", "deny")]
)
async def test_nobody_is_asked_for_what_is_not_sent_is_over_or_refused(
    sites: Fhir, seeking: Seeking, group: Group, client: Client, status: str, consent: str
) -> None:
    if consent:
        await refuse(sites)
    await sent(sites, status=status)
    assert (await seeking.sweep(), await seeking.search(), group.asked) == (0, 0, [])


async def refuse(fhir: Fhir) -> None:
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    data = {"meaning": "related", "reference": {"reference": "ServiceRequest/r1"}}
    await put(
        fhir, "Consent", "c1", status="rejected", scope={"coding": [scope]},
        category=[{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        policyRule={"text": "refus"}, provision={"type": "deny", "data": [data]},
    )  # fmt: skip


async def test_a_refusal_after_the_search_hides_what_was_found(
    sites: Fhir, seeking: Seeking, group: Group, client: Client
) -> None:
    group.answers["pacs-lombez"] = [row("1.7", id="LO-9")]
    await sent(sites)
    await seeking.sweep()
    await seeking.search()
    client.access = person("p08")
    assert [one["study"] for one in (await client.get("/requests/r1/priors")).json()["priors"]] == ["1.7"]
    await refuse(sites)
    assert (await client.get("/requests/r1/priors")).json() == {"refused": True, "searches": [], "priors": []}
    asked = await client.post("/requests/r1/priors/1.7", json={"decision": "fetch"})
    assert asked.status_code == 404
    images_asked = await client.post("/requests/r1/priors")
    assert images_asked.status_code == 404


async def test_a_person_decides_of_what_is_not_certain(
    sites: Fhir, seeking: Seeking, group: Group, client: Client, images: Images
) -> None:
    group.answers["pacs-lombez"] = [row("1.7", id="LO-9"), row("1.8", id="LO-9", day="20210101")]
    group.answers["pacs-auch"] = [row("1.9", id=INS)]
    await sent(sites, priority="stat")
    await seeking.sweep()
    await seeking.search()
    assert await seeking.order() == 1
    assert await seeking.order() == 0
    ordered = images.queue.of_request("r1")
    assert [(one.order.peer, one.order.study, one.order.urgency) for one in ordered] == [
        ("pacs-auch", "1.9", 3)
    ]
    client.access = person("p20")  # the expert of another site decides as well
    told = (await client.get("/requests/r1/priors")).json()
    assert [(one["study"], one["how"], one["state"]) for one in told["priors"]] == [
        ("1.7", "traits", "proposed"), ("1.9", "ins", "wanted"), ("1.8", "traits", "proposed"),
    ]  # fmt: skip
    assert [one["state"] for one in told["searches"]] == ["done", "done"]
    assert (await client.post("/requests/r1/priors/1.7", json={"decision": "fetch"})).status_code == 204
    assert (await client.post("/requests/r1/priors/1.8", json={"decision": "set-aside"})).status_code == 204
    for path, body in (("1.66", {"decision": "fetch"}), ("1.7", {"decision": "?"}), ("1.7", [])):
        assert (await client.post(f"/requests/r1/priors/{path}", json=body)).status_code in (400, 404)
    ordered = images.queue.of_request("r1")
    assert {(one.order.study, one.order.asker, one.order.urgency) for one in ordered} == {
        ("1.9", "System", 3), ("1.7", "Practitioner/p20", 1),
    }  # fmt: skip
    assert (await client.post("/requests/r1/priors")).json() == {"searches": 2}
    await seeking.search()
    told = (await client.get("/requests/r1/priors")).json()
    assert [(one["study"], one["state"]) for one in told["priors"]] == [
        ("1.7", "wanted"), ("1.9", "wanted"), ("1.8", "set-aside"),
    ]  # fmt: skip


async def test_who_does_not_see_the_file_learns_and_decides_nothing(
    sites: Fhir, seeking: Seeking, group: Group, client: Client
) -> None:
    group.answers["pacs-lombez"] = [row("1.7", id="LO-9")]
    await sent(sites, extension=audience("Organization/com-auch"))
    await seeking.sweep()
    await seeking.search()
    client.access = person("p20")
    answers = [
        await client.get("/requests/r1/priors"),
        await client.get("/requests/absent/priors"),
        await client.post("/requests/r1/priors"),
        await client.post("/requests/r1/priors/1.7", json={"decision": "fetch"}),
    ]
    assert [one.status_code for one in answers] == [404] * 4
    assert answers[0].json() == answers[1].json()
    client.access = person("p08")
    assert len((await client.get("/requests/r1/priors")).json()["priors"]) == 1


async def test_a_silent_site_is_asked_again_and_given_up_at_last(
    sites: Fhir, seeking: Seeking, group: Group, clock: Clock, images: Images
) -> None:
    group.silent = {"pacs-lombez"}
    await sent(sites)
    await seeking.sweep()
    for _ in range(ATTEMPTS + 2):
        await seeking.search()
        clock.at += 4_000_000_000
    states = {one.peer: (one.state, one.reason) for one in images.priors.searches("r1")}
    assert states == {"pacs-auch": ("done", ""), "pacs-lombez": ("failed", "no-connection")}
    assert [peer for peer, _ in group.asked].count("pacs-lombez") == ATTEMPTS


async def test_a_search_whose_worker_died_is_taken_up_again(
    sites: Fhir, seeking: Seeking, clock: Clock, images: Images
) -> None:
    await sent(sites)
    await seeking.sweep()
    ledger = Ledger(images.queue)
    taken = {search.peer for _ in range(2) if (search := ledger.claim(clock()))}
    assert taken == {"pacs-auch", "pacs-lombez"}
    assert ledger.claim(clock()) is None
    clock.at += LEASE + 1
    assert await seeking.search() == 2
    assert {one.state for one in images.priors.searches("r1")} == {"done"}


async def test_exams_of_the_groups_other_files_come_along_and_those_of_strangers_do_not(
    sites: Fhir, seeking: Seeking, worker: Worker, take: Callable[..., Outcome], clock: Clock,
    images: Images, tmp_path: Path,
) -> None:  # fmt: skip
    """An exam of another télédossier is taken only when a site of the same group sent that one."""
    await put(sites, "PractitionerRole", "p20-toulouse", practitioner={"reference": "Practitioner/p20"},
              organization={"reference": "Organization/com-toulouse"})  # fmt: skip
    for number, (study, role) in enumerate((("2.25.31", "p08-auch"), ("2.25.32", "p20-toulouse")), 1):
        requester = {"reference": f"PractitionerRole/{role}"}
        await request(sites, f"old{number}", requester=requester, accession=f"OLD-{number}")
        changes = {"StudyInstanceUID": study, "AccessionNumber": f"OLD-{number}"}
        take(image(tmp_path, number, **changes), received=clock())
    clock.at += 3_000_000
    assert await worker.step() == 2
    for number in (1, 2):
        old = await sites.read("ServiceRequest", f"old{number}")
        await sites.update({**old, "status": "completed"})
    await sent(sites)
    await seeking.sweep()
    assert [(one.study, one.how, one.state) for one in images.priors.priors("r1")] == [
        ("2.25.31", "ins", "wanted")
    ]
    assert await seeking.order() == 1
    attaching = replace(worker, is_prior=images.priors.is_prior).attaching
    assert images.queue.open_wishes() == [("2.25.31", "r1")]
    assert await attaching.attach_wanted("2.25.31", "r1")
    study = await sites.read("ImagingStudy", "2.25.31")
    assert study["basedOn"] == [
        {"reference": "ServiceRequest/old1"},
        {"reference": "ServiceRequest/r1", "extension": [{"url": ROLE, "valueCode": PRIOR}]},
    ]


# -- with a real PACS
@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A scan of 2022 under the site's own number."""
    folder = tmp_path_factory.mktemp("pacs")
    dimse, http = unused_ports(2)
    with orthanc(folder / "orthanc", dimse, http) as started:
        started.load(making.files(folder / "given", 5, lambda _n: {"StudyDate": "20220314"}))
        yield started


@asynccontextmanager
async def looking(seeking: Seeking) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(seeking.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.mark.peer("orthanc")
async def test_a_prior_is_found_fetched_attached_and_neither_relayed_nor_read_anew(
    region: Fhir, pacs: Pacs, client: Client, images: Images, store: Store, settings: Settings,
    worker: Worker,
) -> None:  # fmt: skip
    await region.update(PATIENT)
    await site_pacs(region, pacs)
    to_toulouse = {**transfer(), "performer": [{"reference": "Organization/com-toulouse"}]}
    await sent(region, **to_toulouse)

    def find(peer: Peer, level: Level, keys: Mapping[str, str], most: int) -> list[Any]:
        return asking.find(images, peer, level, keys, most)

    seeking = Seeking(store, region, images.queue, images.priors, find, worker.now, Group().searched)
    attaching = replace(worker, is_prior=images.priors.is_prior)
    async with running(images, store, region, settings, attaching), looking(seeking):

        async def attached() -> Any:
            found = await region.search("ImagingStudy", [("basedon", "ServiceRequest/r1")])
            return found[0] if found and found[0].get("numberOfInstances") == 5 else None

        study = await until(attached)

        async def told() -> Any:
            found = await region.search("Provenance", [("target", "ServiceRequest/r1")])
            return {one["activity"]["coding"][0]["code"] for one in found} == {
                "prior-attached",
                "exam-transferred",
            }

        await until(told)
    assert study["id"] == making.STUDY
    assert study["basedOn"] == [
        {"reference": "ServiceRequest/r1", "extension": [{"url": ROLE, "valueCode": PRIOR}]}
    ]
    relay = {"url": "https://teledossier.example/fhir/StructureDefinition/peer",
             "extension": [{"url": "use", "valueCode": "relay"}]}  # fmt: skip
    place = {"reference": "Organization/ch-toulouse"}
    await region.update(
        endpoint(id="pacs-tls", managingOrganization=place, extension=[relay], payloadType=PAYLOAD)
    )
    await sent(region, **to_toulouse, priority="urgent")
    assert await Relays(store, region, images.queue, worker.now).sweep() == 0
    client.access = person("p20")
    assert (await client.get(f"/studies/{making.STUDY}/metadata")).status_code == 200
    assert images.index.workitems() == []
