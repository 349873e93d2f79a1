"""The patient's identity as every page shows it: homonyms are told apart by birth date and INS, always both
(R041).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.people import human
from smart_launch.app.views.reading import BIRTH_PLACE, INS_SYSTEMS, Json, extension, identifier, many


@dataclass(frozen=True, slots=True)
class PatientView:
    """One patient in words. `ins` is spaced for reading; `identity` is a code with its label and tone."""

    name: str
    birth: str
    birth_iso: str
    born: str
    age: str
    birth_place: str
    ins: str
    local_id: str
    sex: str
    sex_letter: str
    identity: str
    identity_tone: str


def spaced_ins(ins: str) -> str:
    """`153053299010337` → `1 53 05 32 990 103 37`, as on a carte Vitale."""
    if len(ins) != 15:
        return ins
    cuts = (0, 1, 3, 5, 7, 10, 13, 15)
    return " ".join(ins[a:b] for a, b in pairwise(cuts))


def patient_name(patient: Json) -> str:
    """`LABORDE Henri`: family name in capitals first, so that lists read in columns; a used name follows."""
    names = [name for name in many(patient, "name") if isinstance(name, dict)]
    official = next((name for name in names if name.get("use") == "official"), human(patient))
    family = str(official.get("family", "")).upper()
    given = " ".join(str(part) for part in many(official, "given")[:1])
    used = next((str(name.get("family", "")) for name in names if name.get("use") == "usual"), "")
    text = " ".join(part for part in (family, given) if part) or str(official.get("text", ""))
    return f"{text} ({used.upper()})" if used and used.upper() != family else text


def local_identifier(patient: Json) -> str:
    """The first IPP, for a patient without INS."""
    for item in many(patient, "identifier"):
        if item.get("system") not in INS_SYSTEMS and item.get("value"):
            return str(item["value"])
    return ""


def patient_view(patient: Json, today: date) -> PatientView:
    """A Patient, or `{}` for none: then a name that says so."""
    gender = str(patient.get("gender", ""))
    place = extension(patient, BIRTH_PLACE) or {}
    status = str(extension(patient, "identity-status") or "")
    return PatientView(
        name=patient_name(patient) or words.UNKNOWN_PATIENT,
        birth=times.day(patient.get("birthDate")),
        birth_iso=str(patient.get("birthDate", "")),
        born=words.BORN.get(gender, words.BORN_UNKNOWN),
        age=times.age(patient.get("birthDate"), today),
        birth_place=str(place.get("city", "")) if isinstance(place, dict) else "",
        ins=spaced_ins(identifier(patient, INS_SYSTEMS)),
        local_id=local_identifier(patient),
        sex=words.label(words.SEXES, gender) if gender else "",
        sex_letter=words.SEX_LETTERS.get(gender, ""),
        identity=words.label(words.IDENTITIES, status) if status else "",
        identity_tone=words.IDENTITY_TONES.get(status, "neutre"),
    )
