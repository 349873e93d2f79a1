"""An exam to make, out of the demonstration scenario's own words (`examens`, `patients`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import yaml

INS_DEMO = "1.2.250.1.213.1.4.11"


@dataclass(frozen=True, slots=True)
class Person:
    """The patient as the modality knows them: number at the site with its issuer, and the INS when there is
    one."""

    family: str
    given: str
    birth: str  # YYYYMMDD
    sex: str
    local_id: str
    issuer: str
    ins: str


@dataclass(frozen=True, slots=True)
class Exam:
    """One study to generate. `size` is the side of its square images, in pixels."""

    id: str
    study_uid: str
    accession: str
    modality: str
    description: str
    region: str
    moment: datetime
    series: int
    images: int
    size: int
    site: str
    person: Person


def exam_of(exam: Mapping[str, Any], patient: Mapping[str, Any]) -> Exam:
    """From the scenario's entries. The site is the exam's `org`, else the patient's site that the accession
    number begins like, else the first. Raises KeyError or ValueError for an entry that lacks something."""
    numbers: Mapping[str, str] = patient.get("ipp") or {}
    accession = str(exam["acces"])
    site = str(exam.get("org") or _site(accession, numbers))
    person = Person(
        str(patient["nom"]),
        str(patient.get("prenom") or ""),
        str(patient["naissance"]).replace("-", ""),
        str(patient.get("sexe") or "O"),
        str(numbers.get(site, "")),
        site,
        str(patient.get("ins") or ""),
    )
    return Exam(
        str(exam["id"]),
        str(exam["study_uid"]),
        accession,
        str(exam["modalite"]),
        str(exam["description"]),
        str(exam.get("region") or ""),
        datetime.fromisoformat(str(exam["date"])),
        int(exam["series"]),
        int(exam["images"]),
        128 if exam["id"] in ("ex01", "ex02") else 64,
        site,
        person,
    )


def _site(accession: str, numbers: Mapping[str, str]) -> str:
    prefix = accession.partition("-")[0].lower()
    return next((site for site in numbers if prefix and prefix[:4] in site), next(iter(numbers), ""))


def read_scenario(path: Path, patient: str = "") -> dict[str, Exam]:
    """Every exam of a scenario file by its id; of that patient instead of their own, when one is given.
    Raises KeyError for a patient that is not there."""
    scenario = yaml.safe_load(path.read_text("utf-8"))
    patients = {one["id"]: one for one in scenario["patients"]}
    return {str(one["id"]): exam_of(one, patients[patient or one["patient"]]) for one in scenario["examens"]}


def years_before(exam: Exam, years: int) -> Exam:
    """A shorter exam of the same patient, that many years before: a study of its own, the same each time."""
    made = uuid5(NAMESPACE_OID, f"{exam.study_uid}-{exam.person.ins}-{years}")
    return replace(
        exam,
        study_uid=f"2.25.{made.int}",
        accession=f"{exam.accession[:12]}-{years}",
        description=f"{exam.description.partition(' : ')[0]} (antériorité)",
        moment=exam.moment - timedelta(days=365 * years),
        series=2,
        images=48,
    )
