"""Exams as pages show them: those that came, those proposed, those still awaited (R078, R096)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import tzinfo

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.reading import (
    BASE,
    Json,
    by_type,
    code,
    extension,
    extensions,
    identifier,
    many,
    own_reference,
    reference,
    value_x,
)

BESIDE = frozenset({"", "SC", "OT", "PR", "SR", "KO", "DOC"})  # modalities that do not name an exam of others


@dataclass(frozen=True, slots=True)
class Exam:
    """One ImagingStudy; `href` opens the viewer, "" while it has no image. `prior`: an earlier exam, brought
    for comparison (R097). `track`: how far an announced exam has come, with its tone."""

    uid: str
    title: str
    modality: str
    date: str
    series: str
    images: str
    thumbnail: str
    href: str
    prior: bool = False
    track: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An exam that may belong here: a person decides (never attached by a near match alone)."""

    study: str
    title: str
    why: str


def exams(studies: Iterable[Json], ref: str, id: str, zone: tzinfo) -> list[Exam]:
    """The attached exams, oldest first, with the counts of the grey band."""
    found: list[Exam] = []
    for study in sorted(studies, key=lambda item: str(item.get("started", ""))):
        based_on = next((item for item in many(study, "basedOn") if reference(item) == ref), None)
        if based_on is None:
            continue
        uid = study_uid(study)
        series = int(study.get("numberOfSeries") or len(many(study, "series")))
        images = int(study.get("numberOfInstances") or 0)
        at = times.moment(study.get("started"), zone)
        said, tone = track(study)
        found.append(
            Exam(
                uid=uid,
                title=exam_title(study),
                modality=modality(study),
                date=times.date_at_time(at) if at else times.day(study.get("started")),
                series=f"{series} série{'s' if series > 1 else ''}",
                images=f"{grouped(images)} image{'s' if images > 1 else ''}",
                prior=extension(based_on, "exam-role") == "prior",
                thumbnail=f"/dicom-web/studies/{uid}/thumbnail" if uid and images else "",
                href=f"/dossiers/{id}/images/{uid}" if uid and images else "",
                track=said,
                tone=tone,
            )
        )
    return found


def track(study: Json) -> tuple[str, str]:
    """`En transfert : 12 images sur 412` and its tone; empty for an exam that no modality announced."""
    for found in extensions(study, "acquisition"):
        parts = {str(one.get("url")): value_x(one) for one in many(found, "extension")}
        received, expected = int(parts.get("received") or 0), int(parts.get("expected") or 0)
        left = expected - received
        sentence, tone = words.ACQUISITION.get(str(parts.get("stage")), ("", ""))
        plural = "s" if left > 1 else ""
        return sentence.format(
            n=grouped(received), total=grouped(expected), left=grouped(left), s=plural
        ), tone
    return "", ""


def announced(request: Json) -> list[str]:
    """The accession numbers of the exams a requester said would come (logical references)."""
    return [
        str(item["identifier"].get("value", ""))
        for item in many(request, "supportingInfo")
        if item.get("type") == "ImagingStudy" and isinstance(item.get("identifier"), dict)
    ]


def awaited(request: Json, studies: Iterable[Json]) -> list[str]:
    """Those announced that have not come yet."""
    here = {str(item.get("value", "")) for study in studies for item in many(study, "identifier")}
    return [number for number in announced(request) if number not in here]


def study_uid(study: Json) -> str:
    """The Study Instance UID, without `urn:oid:`."""
    return identifier(study, ["urn:dicom:uid"]).removeprefix("urn:oid:")


def modality(study: Json) -> str:
    """The French name of the first modality that is not a mere capture."""
    found = [str(item.get("code", "")) for item in many(study, "modality")]
    found += [str(item.get("modality", {}).get("code", "")) for item in many(study, "series")]
    first = next((name for name in found if name not in BESIDE), next(iter(found), ""))
    return words.label(words.MODALITIES, first)


def exam_title(study: Json) -> str:
    return str(study.get("description") or modality(study) or words.EXAM)


def proposals(resources: list[Json], ref: str) -> list[Proposal]:
    """Exams proposed by a near match and not yet decided."""
    studies = {own_reference(item): item for item in by_type(resources, "ImagingStudy")}
    found: list[Proposal] = []
    for task in by_type(resources, "Task"):
        if code(task.get("code"), f"{BASE}/CodeSystem/task") != "associate-exam":
            continue
        if reference(task.get("focus")) != ref or task.get("status") != "requested":
            continue
        for item in many(task, "input"):
            proposed = item.get("valueReference") or {}
            study = reference(proposed)
            if study:
                title = str(proposed.get("display") or exam_title(studies.get(study, {})))
                found.append(Proposal(study, title, str(task.get("description", ""))))
    return found


def image_words(studies: list[Json]) -> str:
    """`2 examens · 1 022 images`, or empty."""
    images = sum(int(study.get("numberOfInstances") or 0) for study in studies)
    if not studies:
        return ""
    exams = f"{len(studies)} examens" if len(studies) > 1 else "1 examen"
    return f"{exams} · {grouped(images)} image{'s' if images > 1 else ''}" if images else exams


def grouped(number: int) -> str:
    """French thousands: `1 022`, with a no-break space."""
    return f"{number:,}".replace(",", "\u00a0")


def awaited_words(count: int) -> str:
    """`2 examens attendus`: announced, and nothing of them has come."""
    return words.AWAITED_MANY.format(n=count) if count > 1 else words.AWAITED_ONE if count else ""
