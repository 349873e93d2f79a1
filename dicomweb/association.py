"""Exam ↔ télédossier: who decides, and on what. Pure.

    identity = INS, or a site's number with its issuer. A name decides nothing.

    one patient by identity ── a request of theirs announces the accession number ──▶ attach (all that do)
                            ├─ exactly one open request, exam not older than 72 h before it ──▶ attach
                            ├─ several ──▶ propose each to a person
                            └─ none ──▶ as without identity, but traits count for nothing
    several patients, or instances that disagree ──▶ never attached; propose what is announced or open
    no patient by identity ── a request announces the accession number ──▶ propose
                           └─ an open request of a patient with the same birth date and a near name,
                              whose INS does not contradict ──▶ propose

R046, R078
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from dicomweb.identity import ins_of
from dicomweb.index.contract import Trace
from dicomweb.names import near

WINDOW = timedelta(hours=72)
BASE = "https://teledossier.example/fhir"
ROLE, PRIOR = f"{BASE}/StructureDefinition/exam-role", "prior"
Verdict = Literal["same", "differs", "unknown"]
Trait = Literal["ins", "identifier", "traits", "birth", "name", ""]
Why = Literal["several", "identity-differs", "traits", "contradictory"]
WORDS: dict[Why, str] = {  # shown to the person who decides
    "several": "Même patient, plusieurs télédossiers ouverts : à choisir.",
    "identity-differs": "Examen annoncé ou choisi pour ce télédossier, mais identité du patient "
    "différente : à vérifier.",
    "traits": "Même date de naissance et nom identique ou proche, sans identifiant commun : à vérifier.",
    "contradictory": "Les identifiants portés par les images désignent plusieurs patients : à vérifier.",
}


@dataclass(frozen=True, slots=True)
class Exam:
    """What the images say. `birth` is YYYY-MM-DD or ""; `mixed`: the instances disagree on the patient."""

    uid: str
    accession: str = ""
    started: datetime | None = None
    ins: frozenset[str] = frozenset()
    name: str = ""
    birth: str = ""
    mixed: bool = False
    modalities: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A télédossier that could be meant. `patient` is "Patient/…"; `accessions` are those it announces."""

    id: str
    patient: str
    status: str
    authored: datetime | None
    accessions: frozenset[str] = frozenset()

    def open_for(self, exam: Exam) -> bool:
        """Draft or active, and the exam not older than the window before it."""
        if self.status not in ("draft", "active"):
            return False
        return exam.started is None or self.authored is None or exam.started >= self.authored - WINDOW


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach to these requests, all of one patient; to `priors` among them as an earlier exam."""

    requests: tuple[str, ...]
    patient: str
    priors: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask a person, once for each request."""

    requests: tuple[str, ...]
    why: Why


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do now; a later change of a request or patient may change that."""


Decision = Attach | Propose | Leave


def decide(
    exam: Exam, identified: frozenset[str], near_patients: frozenset[str], requests: Sequence[Request]
) -> Decision:
    """`identified`: the patients that carry one of the exam's identifiers; `near_patients`: those of the same
    birth date and a near name (`is_near`); `requests`: every request of any of these, and those announcing
    the accession."""
    requests = [request for request in requests if request.status != "entered-in-error"]
    announced = [one for one in requests if exam.accession and exam.accession in one.accessions]
    if exam.mixed or len(identified) > 1:
        return _propose((*announced, *_open(exam, identified, requests)), "contradictory")
    if identified:
        (patient,) = identified
        if mine := [one for one in announced if one.patient == patient]:
            return Attach(_ids(mine), patient)
        open_ones = _open(exam, identified, requests)
        if len(open_ones) == 1:
            return Attach(_ids(open_ones), patient)
        return _propose(open_ones, "several") if open_ones else _propose(announced, "identity-differs")
    if announced:
        return _propose(announced, "identity-differs")
    return _propose(_open(exam, near_patients, requests), "traits")


def _open(exam: Exam, patients: frozenset[str], requests: Iterable[Request]) -> list[Request]:
    return [one for one in requests if one.patient in patients and one.open_for(exam)]


def _propose(requests: Sequence[Request], why: Why) -> Decision:
    return Propose(_ids(requests), why) if requests else Leave()


def _ids(requests: Iterable[Request]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(request.id for request in requests))


def is_near(exam: Exam, patient: dict[str, Any]) -> bool:
    """Same birth date, a near name, and no INS on both sides that differ: homonyms and twins with an INS each
    are known to be two persons."""
    if not exam.birth or patient.get("birthDate") != exam.birth:
        return False
    theirs = ins_of((one.get("system", ""), one.get("value", "")) for one in patient.get("identifier", ()))
    if exam.ins and theirs and not exam.ins & theirs:
        return False
    return any(
        near(exam.name, " ".join((name.get("family", ""), *name.get("given", ()))))
        for name in patient.get("name", ())
    )


def agrees(exam: Exam, known: Iterable[tuple[str, str]], patient: dict[str, Any]) -> bool:
    """Whether an exam that a person chose for this patient may be theirs: a common identifier, or the same
    birth date and a near name; never when both have an INS and they differ, or the instances disagree."""
    theirs = {
        (str(one.get("system", "")), str(one.get("value", ""))) for one in patient.get("identifier", ())
    }
    ins = ins_of(theirs)
    if exam.mixed or (exam.ins and ins and not exam.ins & ins):
        return False
    return bool(theirs & set(known)) or is_near(exam, patient)


def compared(exam: Exam, known: Iterable[tuple[str, str]], patient: dict[str, Any]) -> tuple[Verdict, Trait]:
    """Whether what a medium says of a patient is this one, and by which trait that shows. The same rules as
    `agrees`; what contradicts nothing but proves nothing is unknown."""
    theirs = {
        (str(one.get("system", "")), str(one.get("value", ""))) for one in patient.get("identifier", ())
    }
    ins = ins_of(theirs)
    if exam.ins and ins and not exam.ins & ins:
        return "differs", "ins"
    if theirs & set(known):
        return "same", "identifier"
    if is_near(exam, patient):
        return "same", "traits"
    if exam.birth and patient.get("birthDate") and exam.birth != patient["birthDate"]:
        return "differs", "birth"
    names = [" ".join((one.get("family", ""), *one.get("given", ()))) for one in patient.get("name", ())]
    if exam.name.strip("^ ") and names and not any(near(exam.name, name) for name in names):
        return "differs", "name"
    return "unknown", ""


def request_of(resource: dict[str, Any]) -> Request:
    """A ServiceRequest as seen here. The announced exams are logical references by accession number."""
    accessions = frozenset(
        str(one["identifier"].get("value", ""))
        for one in resource.get("supportingInfo", ())
        if one.get("type") == "ImagingStudy" and isinstance(one.get("identifier"), dict)
    )
    authored = resource.get("authoredOn") or resource.get("meta", {}).get("lastUpdated")
    return Request(
        resource["id"], resource.get("subject", {}).get("reference", ""), resource.get("status", ""),
        moment(authored), accessions - {""},
    )  # fmt: skip


def moment(text: str | None) -> datetime | None:
    """A FHIR dateTime with a zone; None for one without time or that cannot be read."""
    try:
        found = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def attached(study: dict[str, Any], decision: Attach) -> dict[str, Any]:
    """The ImagingStudy with these requests and their patient."""
    references = [one.get("reference") for one in study.get("basedOn", ())]
    added = [id for id in decision.requests if f"ServiceRequest/{id}" not in references]
    based_on = [*study.get("basedOn", ()), *(_based_on(id, decision) for id in added)]
    return {**study, "basedOn": based_on, "subject": {"reference": decision.patient}}


def _based_on(id: str, decision: Attach) -> dict[str, Any]:
    reference: dict[str, Any] = {"reference": f"ServiceRequest/{id}"}
    return (
        {"extension": [{"url": ROLE, "valueCode": PRIOR}], **reference}
        if id in decision.priors
        else reference
    )


def is_prior(based_on: Mapping[str, Any]) -> bool:
    """Whether an ImagingStudy.basedOn joins the exam as an earlier one, beside the one in question (R097)."""
    return any(
        one.get("url") == ROLE and one.get("valueCode") == PRIOR for one in based_on.get("extension", ())
    )


def provenance(study: str, decision: Attach, now: str) -> dict[str, Any]:
    """One line of the télédossier's timeline. Its id is the same for the same act, so that it is written
    once."""
    act = "prior-attached" if decision.priors.issuperset(decision.requests) else "exam-attached"
    return {
        "resourceType": "Provenance",
        "id": "exam-" + _digest("attached", study, *decision.requests),
        "target": [
            *({"reference": f"ServiceRequest/{id}"} for id in decision.requests),
            {"reference": f"ImagingStudy/{study}"},
        ],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": f"{BASE}/CodeSystem/step", "code": act}]},
        "agent": [{"who": {"display": "Plateforme"}}],
    }


def withdrawal(study: str, trace: Trace, requests: Sequence[str]) -> dict[str, Any]:
    """The trace of a study put out of sight, in the timelines of its télédossiers (`requests`:
    references)."""
    now = datetime.fromtimestamp(trace.at / 1e6, UTC).isoformat(timespec="milliseconds")
    who = {"reference": trace.by} if trace.by.startswith("Practitioner/") else {"display": trace.by}
    reason = {"reason": [{"text": trace.reason}]} if trace.reason else {}
    return {
        "resourceType": "Provenance",
        "id": "exam-" + _digest("withdrawn", study, str(trace.at)),
        "target": [*({"reference": one} for one in requests), {"reference": f"ImagingStudy/{study}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": "DELETE"}]
        },
        **reason,
        "agent": [{"who": who}],
    }


def proposal_id(study: str, request: str) -> str:
    return "exam-" + _digest("proposal", study, request)


def said(exam: Exam) -> str:
    """What the images say of themselves, for the person who must judge whose they are: kind, time, title,
    accession number, and the identity written on them. The exam itself stays closed until they did."""
    name = " ".join(exam.name.replace("^", " ").split())
    born = date.fromisoformat(exam.birth).strftime("%d/%m/%Y") if exam.birth else ""
    parts = (
        "/".join(exam.modalities),
        exam.started.strftime("%d/%m/%Y %Hh%M") if exam.started else "",
        exam.description,
        exam.accession,
        " ".join(part for part in (name, born) if part),
    )
    return " · ".join(part for part in parts if part)


def proposal(exam: Exam, request: Request, why: Why, now: str) -> dict[str, Any]:
    """A Task for a person (fhir_server/teledossier/README.md)."""
    study, words = f"ImagingStudy/{exam.uid}", said(exam)
    task: dict[str, Any] = {
        "resourceType": "Task",
        "id": proposal_id(exam.uid, request.id),
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": f"{BASE}/CodeSystem/task", "code": "associate-exam"}]},
        "description": WORDS[why],
        "focus": {"reference": f"ServiceRequest/{request.id}"},
        "authoredOn": now,
        "input": [
            {
                "type": {"coding": [{"system": f"{BASE}/CodeSystem/task-part", "code": "exam"}]},
                "valueReference": {"reference": study, **({"display": words} if words else {})},
            }
        ],
    }
    if request.patient:
        task["for"] = {"reference": request.patient}
    return task


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
