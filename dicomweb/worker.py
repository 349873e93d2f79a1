"""The background work on images: ImagingStudy kept true, exams attached to their télédossier.

Everything to do is derived from the index (studies with instances not yet written up) and from the store's
sequence (requests and patients changed since the last look), so that a worker killed at any point loses
nothing: each act is one transaction that a repetition finds done.

    instance stored → study quiet → ImagingStudy → association
    a modality's step → ImagingStudy with what it announces (`acquisition`) → association
    request or patient changed → the unattached studies that could be meant → association
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dicomweb import acquisition, association, merges, readings
from dicomweb.acquisition import Came, Listed, Track
from dicomweb.attaching import Attaching
from dicomweb.changes import changed
from dicomweb.fhir import Fhir, current_study, put, transaction
from dicomweb.imaging_study import build, merge, nameless, same, withdrawn
from dicomweb.index.contract import Index, Study
from dicomweb.index.steps import PerformedStep
from fhir_server.clock import utc_microseconds
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from profiles.outcomes import Gone, NotFound

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LONGEST_WAIT = 15.0  # seconds: a study that never falls quiet is written up at least so often
RETRY_SECONDS = 10.0
ANNOUNCED_SECONDS = 20.0  # between two looks for the télédossier of an exam that is being acquired
SWEPT = "swept"  # the store's sequence up to which changes were looked at


@dataclass(frozen=True, slots=True)
class Worker:
    """`await Worker(…).run(stop)`; several may run, they only repeat each other's work. `is_prior`: whether
    (request, study) was wanted as an earlier exam."""

    index: Index
    store: Store
    fhir: Fhir
    settings: Settings
    now: Callable[[], int] = utc_microseconds
    listed: Callable[[str], Listed] = lambda _study: Listed()  # what an import of a study has on its list
    is_prior: Callable[[str, str], bool] = lambda _request, _study: False
    _retry: dict[str, int] = field(default_factory=dict)

    @property
    def attaching(self) -> Attaching:
        """The part that finds the télédossiers of an exam."""
        return Attaching(self.index, self.fhir, self.settings.zone, self.now, self.is_prior)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. An error of one study delays that study only."""
        while not stop.is_set():
            try:
                await self.step()
            except Exception:
                log.exception("image work failed; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)

    async def step(self) -> int:
        """One round; returns how many studies were written up."""
        now = self.now()
        due = await asyncio.to_thread(
            self.index.due, now - int(self.settings.quiet_seconds * 1e6), now - int(LONGEST_WAIT * 1e6)
        )
        done = 0
        for study in due:
            if self._retry.get(study.uid, 0) > now:
                continue
            try:
                found = await self.write_up(study)
                if found is not None and found.again is not None:
                    await asyncio.to_thread(self.index.await_performed, study.uid, found.again)
            except Exception:
                log.exception("a study could not be written up; it is tried again")
                self._retry[study.uid] = now + int(RETRY_SECONDS * 1e6)
            else:
                self._retry.pop(study.uid, None)
                done += 1
        await self.withdraw()
        await self.announce()
        await self.sweep()
        return done

    # -- what modalities tell
    async def announce(self) -> None:
        """Exams of which a modality has told something, or of which something is overdue."""
        for step in await asyncio.to_thread(self.index.performed_due, self.now()):
            if self._retry.get(step.uid, 0) > self.now():
                continue
            try:
                again = [one for uid in step.studies if (one := await self._announced(uid, step)) is not None]
            except Exception:
                log.exception("an announced exam could not be written up; it is tried again")
                self._retry[step.uid] = self.now() + int(RETRY_SECONDS * 1e6)
            else:
                self._retry.pop(step.uid, None)
                await asyncio.to_thread(self.index.settle_performed, step, min(again, default=None))

    async def _announced(self, uid: str, step: PerformedStep) -> int | None:
        """Returns when to look again."""
        study = await asyncio.to_thread(self.index.study, uid)
        if study is not None:
            found = await self.write_up(study)
            return found.again if found else None
        current = await current_study(self.fhir, uid)
        masked = await asyncio.to_thread(self.index.masked, uid)
        if current is not None and masked:
            return None  # all of it was put out of sight
        found = await self.write_up(acquisition.announced_study(uid, step))
        is_over = found is None or found.stage in ("discontinued", "interrupted")
        if is_over or await self.attaching.is_attached(uid):
            return found.again if found else None
        return self.now() + int(ANNOUNCED_SECONDS * 1e6)

    async def withdraw(self) -> None:
        """Studies of which nothing is left in sight: their ImagingStudy says so, with a trace."""
        for uid in await asyncio.to_thread(self.index.withdrawn):
            current = await current_study(self.fhir, uid)
            traces = [one.trace for one in await asyncio.to_thread(self.index.masked, uid)]
            if current is not None and traces and await asyncio.to_thread(self.index.study, uid) is None:
                requests = [one["reference"] for one in current.get("basedOn", ()) if "reference" in one]
                trace = association.withdrawal(uid, traces[-1], requests)
                await transaction(self.fhir, put(withdrawn(current, traces[-1]), current), put(trace, None))
            await asyncio.to_thread(self._end_reading, uid, "CANCELED")
            await asyncio.to_thread(self.index.settle, uid)

    # -- the study -> ImagingStudy
    async def write_up(self, study: Study) -> Track | None:
        """Write the ImagingStudy as the index has the study now, attach it if it is not, then mark it done.
        Returns how far it has come, None when nobody announced it."""
        series = await asyncio.to_thread(self.index.series_of, study.uid)
        briefs = await asyncio.to_thread(self.index.briefs, study.uid)
        known = await self.attaching.identifiers_of(study)
        built = build(
            study, series, briefs, known, zone=self.settings.zone, base=self.settings.url + "/dicom-web"
        )
        current = await current_study(self.fhir, study.uid)
        found = await asyncio.to_thread(self._track, study)
        resource, lines = await self._still_theirs(study, merge(built, current))
        resource = acquisition.tracked(resource, found)
        if found and found.stage == "incomplete" and (requests := _requests_of(resource)):
            title = str(resource.get("description") or "Examen")
            lines.append(acquisition.incomplete(study.uid, requests, title, found, self.now()))
        if not same(resource, current):
            await transaction(self.fhir, put(resource, current), *(put(line, None) for line in lines))
        is_attached = bool(resource.get("basedOn")) or await self.attaching.associate(study, known)
        await asyncio.to_thread(self.index.mark_attached, study.uid, is_attached)
        if is_attached and study.instance_count:
            await self.attaching.schedule(study)
        await asyncio.to_thread(self.index.mark_processed, study.uid, study.last_seq)
        return found

    async def refresh(self, uid: str) -> None:
        """Write up a study of which something has ended elsewhere."""
        study = await asyncio.to_thread(self.index.study, uid)
        if study is not None:
            await self.write_up(study)

    def _track(self, study: Study) -> Track | None:
        steps, listed = self.index.performed_of(study.uid), self.listed(study.uid)
        where = self.index.whereabouts(acquisition.expected_of(steps, listed))
        silence = int(self.settings.silence_seconds * 1e6)
        came = Came(study.instance_count, study.last_received, self.now(), silence)
        return acquisition.track(study.uid, steps, listed, where, came)

    async def _still_theirs(
        self, study: Study, resource: dict[str, Any]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """An exam attached on its modality's word leaves that télédossier when the images that then come name
        another patient: whose they are is decided anew. The resource, and lines for the timelines it left."""
        requests = _requests_of(resource)
        if not requests or not study.instance_count or study.processed_seq:
            return resource, []
        steps = await asyncio.to_thread(self.index.performed_of, study.uid)
        announced = [acquisition.announced_study(study.uid, step) for step in steps]
        if not any(acquisition.contradicts(study, one) for one in announced):
            return resource, []
        left = {name: value for name, value in resource.items() if name != "basedOn"}
        left["subject"] = nameless(await self.attaching.identifiers_of(study))
        title = str(resource.get("description") or "Examen")
        return left, [acquisition.detached(study.uid, requests, title, self.now())]

    def _end_reading(self, study: str, state: str) -> None:
        item = self.index.workitem(readings.uid_of(study))
        changed = item and readings.ended(item, state)
        if changed:
            self.index.put_workitem(changed)

    # -- changes
    async def sweep(self) -> int:
        """Look again at the unattached studies that a changed request or patient could be about; returns how
        many were looked at."""
        latest = await self.store.latest()
        mark = await asyncio.to_thread(self.index.get_mark, SWEPT)
        if latest <= mark:
            return 0
        requests = [association.request_of(one) for one in await changed(self.store, "ServiceRequest", mark)]
        patients = await changed(self.store, "Patient", mark)
        await merges.follow(self.fhir, patients, self.attaching.instant())
        for reference in {request.patient for request in requests if request.patient.startswith("Patient/")}:
            with contextlib.suppress(NotFound, Gone):
                patients.append(await self.fhir.read("Patient", reference.removeprefix("Patient/")))
        studies = await asyncio.to_thread(
            lambda: self.index.unattached(
                accessions=[accession for request in requests for accession in request.accessions],
                patient_values=[
                    one.get("value", "") for patient in patients for one in patient.get("identifier", ())
                ],
                birth_dates=[str(patient.get("birthDate", "")).replace("-", "") for patient in patients],
            )
        )
        for study in studies:
            if await self.attaching.is_attached(study.uid) or await self.attaching.associate(
                study, await self.attaching.identifiers_of(study)
            ):
                await asyncio.to_thread(self.index.mark_attached, study.uid, True)
                await self.attaching.schedule(study)
        for report in filter(readings.is_final, await changed(self.store, "DiagnosticReport", mark)):
            for uid in await self._read(report):
                await asyncio.to_thread(self._end_reading, uid, "COMPLETED")
        await asyncio.to_thread(self.index.set_mark, SWEPT, latest)
        return len(studies)

    async def _read(self, report: dict[str, Any]) -> set[str]:
        """The studies that a report is about."""
        found = set(readings.studies_read(report))
        for request in readings.requests_answered(report):
            exams = await self.fhir.search("ImagingStudy", [("basedon", request)])
            found |= {str(one["id"]) for one in exams}
        return found


def _requests_of(study: dict[str, Any]) -> list[str]:
    return [str(one["reference"]) for one in study.get("basedOn", ()) if "reference" in one]
