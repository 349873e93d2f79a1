"""Exams find their télédossiers: alone when the identity is certain, on a person's word, or as a proposal.

What is decided is `association`'s; here is what is asked of FHIR for it, and what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from dicomweb import association, readings
from dicomweb.association import Attach, Exam, Propose, Request
from dicomweb.attributes import first
from dicomweb.fhir import Fhir, current_study, escape, put, transaction
from dicomweb.identity import FINESS_SYSTEM, Identifier, finess_issuers, identifiers, ins_of
from dicomweb.imaging_study import started
from dicomweb.index.contract import Index, Study
from profiles.outcomes import Gone, NotFound

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attaching:
    """`now`: UTC microseconds. `is_prior`: whether (request, study) was wanted as an earlier exam."""

    index: Index
    fhir: Fhir
    zone: ZoneInfo
    now: Callable[[], int]
    is_prior: Callable[[str, str], bool]

    async def associate(self, study: Study, known: Sequence[Identifier]) -> bool:
        """Attach, propose or leave; returns whether it is attached now."""
        exam = self._exam(study, known)
        patients: dict[str, dict[str, Any]] = {}
        for system, value in known:
            for patient in await self.fhir.search(
                "Patient", [("identifier", f"{escape(system)}|{escape(value)}")]
            ):
                patients[f"Patient/{patient['id']}"] = patient
        identified = frozenset(patients)
        near = frozenset[str]() if identified else await self._near(exam)
        requests = await self._requests(exam, identified | near)
        decision = association.decide(exam, identified, near, requests)
        if isinstance(decision, Attach):
            return await self._attach(study.uid, decision)
        if isinstance(decision, Propose):
            await self._propose(exam, decision, requests)
        return False

    async def attach_wanted(self, uid: str, request_id: str) -> bool:
        """A person chose this exam for that télédossier: attached when the identities agree, else proposed
        with what they say. False while the exam is not here."""
        study = await asyncio.to_thread(self.index.study, uid)
        current = await current_study(self.fhir, uid)
        if study is None or current is None:
            return False
        try:
            resource = await self.fhir.read("ServiceRequest", request_id)
            reference = str(resource.get("subject", {}).get("reference", ""))
            patient = await self.fhir.read("Patient", reference.removeprefix("Patient/"))
        except (NotFound, Gone):
            return True  # the télédossier was discarded meanwhile
        if f"ServiceRequest/{request_id}" in [one.get("reference") for one in current.get("basedOn", ())]:
            return True
        known = await self.identifiers_of(study)
        exam = self._exam(study, known)
        subject = str(current.get("subject", {}).get("reference", ""))
        is_free = subject in ("", reference) or not current.get("basedOn")
        if is_free and association.agrees(exam, known, patient):
            attached = await self._attach(uid, Attach((request_id,), reference))
            await asyncio.to_thread(self.index.mark_attached, uid, attached)
            if attached:
                await self.schedule(study)
            return attached
        await self._propose(
            exam, Propose((request_id,), "identity-differs"), [association.request_of(resource)]
        )
        return True

    async def is_attached(self, uid: str) -> bool:
        """Whether somebody attached it meanwhile: a person who accepted a proposal does so in FHIR alone."""
        return bool((await current_study(self.fhir, uid) or {}).get("basedOn"))

    async def identifiers_of(self, study: Study) -> tuple[Identifier, ...]:
        """With the organisation that issued each, where the directory has it."""
        organisations = {}
        for finess in finess_issuers(study.patient_ids):
            for found in await self.fhir.search(
                "Organization", [("identifier", f"{FINESS_SYSTEM}|{finess}")]
            ):
                organisations[finess] = str(found["id"])
        return identifiers(study.patient_ids, organisations)

    async def schedule(self, study: Study) -> None:
        """The reading, once: a step that is there already stays as it is. A prior alone is not read anew."""
        based_on = (await current_study(self.fhir, study.uid) or {}).get("basedOn", ())
        if based_on and all(map(association.is_prior, based_on)):
            return
        now = datetime.fromtimestamp(self.now() / 1e6, UTC).strftime("%Y%m%d%H%M%S+0000")
        await asyncio.to_thread(self.index.put_workitem, readings.step(study, now))

    def instant(self) -> str:
        """Now, as FHIR writes it."""
        return datetime.fromtimestamp(self.now() / 1e6, UTC).isoformat(timespec="milliseconds")

    def _exam(self, study: Study, known: Sequence[Identifier]) -> Exam:
        birth = first(study.attributes, "00100030")
        return Exam(
            study.uid,
            study.accession,
            started(study.attributes, self.zone),
            ins_of(known),
            first(study.attributes, "00100010"),
            f"{birth[:4]}-{birth[4:6]}-{birth[6:8]}" if len(birth) == 8 and birth.isdigit() else "",
            study.mixed,
            study.modalities,
            first(study.attributes, "00081030"),
        )

    async def _near(self, exam: Exam) -> frozenset[str]:
        if not exam.birth or not exam.name:
            return frozenset()
        found = await self.fhir.search("Patient", [("birthdate", exam.birth)])
        return frozenset(f"Patient/{one['id']}" for one in found if association.is_near(exam, one))

    async def _requests(self, exam: Exam, patients: frozenset[str]) -> list[Request]:
        queries = [("subject", patient) for patient in sorted(patients)]
        if exam.accession:
            queries.append(("exam-accession", escape(exam.accession)))
        found: dict[str, Request] = {}
        for query in queries:
            for resource in await self.fhir.search("ServiceRequest", [query]):
                found[str(resource["id"])] = association.request_of(resource)
        return list(found.values())

    async def _attach(self, uid: str, decision: Attach) -> bool:
        current = await current_study(self.fhir, uid)
        if current is None:
            return False
        priors = [id for id in decision.requests if await asyncio.to_thread(self.is_prior, id, uid)]
        decision = replace(decision, priors=frozenset(priors))
        provenance = association.provenance(uid, decision, self.instant())
        withdrawn = [put({**task, "status": "cancelled"}, task) for task in await self._proposed(uid)]
        await transaction(
            self.fhir,
            put(association.attached(current, decision), current),
            put(provenance, None),
            *withdrawn,
        )
        log.info("an exam was attached to %s télédossier(s)", len(decision.requests))
        return True

    async def _proposed(self, uid: str) -> list[dict[str, Any]]:
        """The proposals of this exam that nobody answered yet."""
        asked = await self.fhir.search("Task", [("code", "associate-exam"), ("status", "requested")])
        exam = f"ImagingStudy/{uid}"
        return [
            task
            for task in asked
            if any(part.get("valueReference", {}).get("reference") == exam for part in task["input"])
        ]

    async def _propose(self, exam: Exam, decision: Propose, requests: Sequence[Request]) -> None:
        """Each proposal once: one answered before is not made again."""
        for request in requests:
            if request.id not in decision.requests:
                continue
            try:
                await self.fhir.read("Task", association.proposal_id(exam.uid, request.id))
            except NotFound:
                await transaction(
                    self.fhir, put(association.proposal(exam, request, decision.why, self.instant()), None)
                )
            except Gone:
                continue
