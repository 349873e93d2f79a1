"""Retention: exactly the exams whose site, télédossiers and age say so, on the real FHIR write path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicomweb.images import Images
from dicomweb.index.contract import EXPIRY, Outcome, Trace
from dicomweb.storage import purging
from dicomweb.storage.retention import Due, Retention
from dicomweb.worker import Worker
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb import making
from tests.dicomweb.test_worker import START, Clock, clock, fhir, worker

__all__ = ["clock", "fhir", "worker"]  # fixtures

Take = Callable[..., Outcome]
DAY = 86_400_000_000
PATIENT = {"reference": "Patient/p"}
KEPT = 100 * 86_400  # seconds


def rule(images: Images, fhir: Fhir, clock: Clock, rules: dict[str, float]) -> Retention:
    return Retention(images.index, fhir, images.queue.is_wanted, rules, clock)


async def exam(
    worker: Worker, take: Take, folder: Path, clock: Clock, uid: str, *based_on: str, **how: Any
) -> None:
    """Stored, recorded, and attached to these requests."""
    made = making.dataset(
        StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.1", PatientID=f"P{uid}", AccessionNumber=uid[-6:]
    )
    take(making.write(folder / f"{uid}.dcm", made), received=clock(), calling_ae=how.get("site", "CT1"))
    clock.at += 20_000_000
    await worker.step()
    if based_on:
        current = await worker.fhir.read("ImagingStudy", uid)
        references = [{"reference": f"ServiceRequest/{id}"} for id in based_on]
        await put(worker.fhir, {**current, "basedOn": references, "subject": PATIENT})


async def put(fhir: Any, resource: dict[str, Any]) -> None:
    await fhir.update(resource)


async def request(fhir: Fhir, id: str, status: str) -> None:
    await put(fhir, {
        "resourceType": "ServiceRequest", "id": id, "status": status, "intent": "order",
        "subject": PATIENT,
    })  # fmt: skip


async def test_exactly_what_is_due(
    images: Images, worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    """Each exam with what keeps it; the two without are the positive control."""
    await put(fhir, {"resourceType": "Patient", "id": "p"})
    for id, status in (
        ("closed", "completed"), ("off", "revoked"), ("open", "active"), ("late", "completed"),
    ):  # fmt: skip
        await request(fhir, id, status)
    for uid, *based_on in (
        ("2.25.1", "closed"), ("2.25.2", "open"), ("2.25.3", "closed", "open"), ("2.25.4", "late"),
        ("2.25.5",), ("2.25.6", "closed", "off"), ("2.25.7", "closed"), ("2.25.8",), ("2.25.9", "closed"),
    ):  # fmt: skip
        await exam(worker, take, tmp_path, clock, uid, *based_on, site="CT2" if uid == "2.25.9" else "CT1")
    images.queue.wish("2.25.8", "open", "Practitioner/x", 1)
    proposal = {
        "resourceType": "Task", "status": "requested", "intent": "proposal",
        "code": {"coding": [{
            "system": "https://teledossier.example/fhir/CodeSystem/task-code", "code": "associate-exam",
        }]},
        "input": [{"type": {"text": "exam"}, "valueReference": {"reference": "ImagingStudy/2.25.7"}}],
    }  # fmt: skip
    await put(fhir, {**proposal, "id": "asked"})
    since = clock.at
    clock.at += 50 * DAY
    await request(fhir, "late", "revoked")
    clock.at = since + 101 * DAY
    await exam(worker, take, tmp_path, clock, "2.25.10")  # new
    due = [one async for one in rule(images, fhir, clock, {"ct1": KEPT}).due()]
    assert [(one.study, one.site, one.instances) for one in due] == [
        ("2.25.1", "ct1", 1), ("2.25.5", "ct1", 1), ("2.25.6", "ct1", 1)
    ]  # fmt: skip
    assert [one async for one in rule(images, fhir, clock, {}).due()] == []
    everywhere = [one.study async for one in rule(images, fhir, clock, {"*": KEPT, "ct1": 10**9}).due()]
    assert everywhere == ["2.25.9"]
    assert images.index.masked("2.25.1") == []  # a list changes nothing


async def test_it_is_masked_withdrawn_and_purged(
    images: Images, worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    """Deletion follows into FHIR with a trace; the file goes with the other masked ones."""
    await put(fhir, {"resourceType": "Patient", "id": "p"})
    await request(fhir, "closed", "completed")
    await exam(worker, take, tmp_path, clock, "2.25.1", "closed")
    file = images.index.file("2.25.1.1")
    assert file
    retention = rule(images, fhir, clock, {"*": KEPT})
    assert await retention.apply() == 0
    clock.at += 101 * DAY
    (due,) = [one async for one in retention.due()]
    assert isinstance(due, Due)
    assert START < due.since < clock.at - 100 * DAY
    assert await retention.apply() == 1
    assert await retention.apply() == 0
    ((trace,),) = [[one.trace for one in images.index.masked("2.25.1")]]
    assert isinstance(trace, Trace)
    assert (trace.by, trace.reason) == (EXPIRY, "the time that ct1 keeps exams is over, since 2024-08-08")
    await worker.step()
    study = await fhir.read("ImagingStudy", "2.25.1")
    assert study["status"] == "cancelled"
    (provenance,) = [
        one for one in await fhir.search("Provenance", [("target", "ImagingStudy/2.25.1")])
        if one["activity"]["coding"][0]["code"] == "DELETE"
    ]  # fmt: skip
    assert {"reference": "ServiceRequest/closed"} in provenance["target"]
    assert images.files.path(file.path).exists()
    later = clock.at + 10**15
    assert purging.step(images.index, images.files, clock.at + 1, later) == 1
    assert not images.files.path(file.path).exists()
