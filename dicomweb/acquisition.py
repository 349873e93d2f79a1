"""How far an exam has come: being acquired, on its way (n of total), complete, or with images missing. Pure.

    modality's step in progress ──► acquiring ──► transferring (n of total) ──► complete
                                        │                 └── nothing more came ──► incomplete
                                        ├── given up with nothing made ──► discontinued
                                        └── not a word or image for long ──► interrupted (until there is one)

The total is what modalities announce (`performed`), and what the list of a running import has (`listed`).
A step that its modality never ends stays as the modality left it; only its exam is no longer announced as
being acquired, and what it said would come is not waited for. An exam that nobody announced has no such
track. PS3.4 §F; FHIR R4 imagingstudy.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dicomweb.attributes import first, patient_ids, values
from dicomweb.index.contract import Study
from dicomweb.index.steps import PerformedStep
from dicomweb.performed import ACCESSION, DISCONTINUED, FINAL, SCHEDULED, STUDY_UID, announced_by

BASE = "https://teledossier.example/fhir"
EXTENSION = f"{BASE}/StructureDefinition/acquisition"
SECOND = 1_000_000  # microseconds
PATIENCE = 15 * 60 * SECOND  # after the last image or word of the modality, what has not come is missing
NAMED = 20  # missing instances that are named one by one
SILENCE = 12 * 3600 * SECOND  # after the last image or word, a step that goes on is taken for interrupted
Stage = Literal["acquiring", "transferring", "complete", "incomplete", "discontinued", "interrupted"]
# what a study has of itself when nothing of it has come: tag → the step's tag, or the scheduled step's
_OF_STEP = {"00080020": "00400244", "00080030": "00400245"}
_PATIENT = ("00100010", "00100020", "00100021", "00100024", "00100030", "00100040", "00101002")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the import of a study has on its list; `open`: it is not over."""

    instances: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a study by `now`: how many instances, and when the last (0: none). UTC microseconds."""

    instances: int
    last: int
    now: int
    silence: int = SILENCE


@dataclass(frozen=True, slots=True)
class Track:
    """`received` of `expected` instances are here, `missing` are not; `again`: when that must be looked at
    once more although nothing comes (UTC microseconds)."""

    stage: Stage
    expected: int
    received: int
    missing: tuple[str, ...] = ()
    again: int | None = None


def expected_of(steps: Iterable[PerformedStep], listed: Listed) -> list[str]:
    """Every instance that is announced or listed, once."""
    announced = (uid for step in steps for uid in announced_by(step.attributes))
    return list(dict.fromkeys([*announced, *listed.instances]))


def track(
    study: str, steps: Sequence[PerformedStep], listed: Listed, where: Mapping[str, str], came: Came
) -> Track | None:
    """None for a study that nobody announced. `where`: SOP Instance UID → the study it is in, "" when it is
    out of sight."""
    if not steps and not listed.instances:
        return None
    going = [step for step in steps if step.state not in FINAL]
    mine = _expected(study, steps, listed, where)
    if going:
        until = max(came.last, *(step.changed for step in going), 0) + came.silence
        if came.now < until:
            return Track("acquiring", len(mine), sum(uid in where for uid in mine), (), until)
        waited = set(_expected(study, [step for step in steps if step.state in FINAL], listed, where))
        mine = [uid for uid in mine if uid in where or uid in waited]
    missing = tuple(uid for uid in mine if uid not in where)
    received = len(mine) - len(missing)
    if not missing and going:
        return Track("interrupted", came.instances, came.instances)
    if not missing:
        given_up = not mine and all(step.state == DISCONTINUED for step in steps)
        return Track("discontinued" if given_up else "complete", len(mine), received)
    until = max(came.last, *(step.changed for step in steps), 0) + PATIENCE
    if listed.open or came.now < until:
        return Track("transferring", len(mine), received, (), None if listed.open else until)
    return Track("incomplete", len(mine), received, missing)


def _expected(
    study: str, steps: Sequence[PerformedStep], listed: Listed, where: Mapping[str, str]
) -> list[str]:
    """The instances that are announced of a study, here or not; those put out of sight are none of it."""
    own = {uid for step in steps if step.studies[:1] == (study,) for uid in announced_by(step.attributes)}
    own |= set(listed.instances)
    return [
        uid
        for uid in expected_of(steps, listed)
        # of a step for several studies, what has not come is missing in the first alone
        if where.get(uid, study if uid in own else "") == study
    ]


def announced_study(uid: str, step: PerformedStep) -> Study:
    """A study of which nothing has come, as the step of its modality describes it."""
    item: Mapping[str, Any] = next(
        (one for one in values(step.attributes, SCHEDULED)
         if isinstance(one, Mapping) and first(one, STUDY_UID) == uid),
        {},
    )  # fmt: skip
    attributes = {tag: step.attributes[tag] for tag in _PATIENT if tag in step.attributes}
    attributes |= {tag: step.attributes[of] for tag, of in _OF_STEP.items() if of in step.attributes}
    title = first(step.attributes, "00400254") or first(item, "00321060") or first(item, "00400007")
    if title:
        attributes["00081030"] = {"vr": "LO", "Value": [title]}
    modality = first(step.attributes, "00080060")
    return Study(
        uid, attributes, patient_ids(attributes), first(item, ACCESSION), (modality,) if modality else (),
        series_count=0, instance_count=0, first_received=step.changed, last_received=0, last_seq=0,
        processed_seq=0, attached=False, mixed=False, calling_ae=step.ae_title, source=step.organisation,
    )  # fmt: skip


def contradicts(images: Study, announced: Study) -> bool:
    """Whether the images name another patient than the modality did when it began."""
    theirs, ours = set(images.patient_ids), set(announced.patient_ids)
    births = {first(one.attributes, "00100030") for one in (images, announced)} - {""}
    return images.mixed or bool(theirs and ours and not theirs & ours) or len(births) > 1


def tracked(resource: dict[str, Any], found: Track | None) -> dict[str, Any]:
    """The ImagingStudy with how far it has come; one without images is registered, or cancelled when given
    up."""
    kept = [one for one in resource.get("extension", ()) if one.get("url") != EXTENSION]
    made = {**resource, "extension": [*kept, *([] if found is None else [extension(found)])]}
    if not made["extension"]:
        del made["extension"]
    if found is not None and not resource.get("numberOfInstances"):
        made["status"] = "cancelled" if found.stage == "discontinued" else "registered"
    return made


def extension(found: Track) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"url": "stage", "valueCode": found.stage},
        {"url": "expected", "valueUnsignedInt": found.expected},
        {"url": "received", "valueUnsignedInt": found.received},
        *({"url": "missing", "valueOid": f"urn:oid:{uid}"} for uid in found.missing[:NAMED]),
    ]
    return {"url": EXTENSION, "extension": parts}


def incomplete(study: str, requests: Sequence[str], title: str, found: Track, now: int) -> dict[str, Any]:
    """A line in the timelines of `requests` (references): images were announced and have not come."""
    count, total = len(found.missing), found.expected
    said = f"{count} images annoncées sur {total} ne sont pas arrivées" if count > 1 else (
        f"1 image annoncée sur {total} n'est pas arrivée"
    )  # fmt: skip
    return _line(("exam-incomplete", study, *sorted(found.missing)), requests, f"{title} : {said}", now)


def detached(study: str, requests: Sequence[str], title: str, now: int) -> dict[str, Any]:
    """A line in the timelines that an exam leaves: its images name another patient than was announced."""
    said = "les images portent une autre identité que celle annoncée par la modalité ; à rapprocher"
    return _line(("exam-detached", study), requests, f"{title} : {said}", now)


def _line(what: tuple[str, ...], requests: Sequence[str], text: str, now: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(now / 1e6, UTC).isoformat(timespec="milliseconds")
    return {
        "resourceType": "Provenance",
        "id": "exam-" + hashlib.sha256("\n".join((*what, *requests)).encode()).hexdigest()[:40],
        "target": [{"reference": one} for one in requests],
        "occurredDateTime": at,
        "recorded": at,
        "activity": {"coding": [{"system": f"{BASE}/CodeSystem/step", "code": what[0]}]},
        "reason": [{"text": text}],
        "agent": [{"who": {"display": "Plateforme"}}],
    }
