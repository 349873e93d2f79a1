"""Whose an exam of another site is, and how useful beside the one in question. Pure.

    ins           the national number is the same, and nothing contradicts it
    local-number  the number that this very site gave the patient
    traits        same birth date and a near name: a person must look
    None          another person's, or nothing to tell by

A birth date or sex that differs, or another INS, is a contradiction: then not even traits count. R097
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from dicomweb.association import WINDOW, Exam, is_near
from dicomweb.attributes import Attributes, first, integer, patient_ids, values
from dicomweb.identity import INS_OIDS, IPP_SYSTEM, ins_of, issuer_key
from dicomweb.names import fold

How = Literal["ins", "local-number", "traits"]
SEXES = {"M": "male", "F": "female"}
KEPT = (  # what of an answer is kept for the person who judges
    "0020000D", "00080020", "00080030", "00080050", "00080061", "00081030", "00100010", "00100020",
    "00100021", "00101002", "00100030", "00100040", "00201206", "00201208", "00080080",
)  # fmt: skip
FETCHED = 3  # how many of a request are fetched unasked
MOST_IMAGES = 2000  # of an exam that is fetched unasked
OLDEST = timedelta(days=3653)


@dataclass(frozen=True, slots=True)
class Person:
    """A Patient as other sites may know them. `numbers`: organisation id → numbers given there; `birth` is
    YYYYMMDD or ""."""

    patient: Mapping[str, Any]
    ins: frozenset[str]
    numbers: Mapping[str, frozenset[str]]
    families: tuple[str, ...]
    birth: str


@dataclass(frozen=True, slots=True)
class Site:
    """An organisation that was asked: its id, and how numbers may name it as their issuer (`issuer_key`)."""

    id: str
    issuers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An exam that a site has. `row`: its attributes, DICOM JSON; `fetched`: to be fetched unasked."""

    study: str
    how: How
    row: Attributes
    fetched: bool


def person_of(patient: Mapping[str, Any]) -> Person:
    pairs = [(str(o.get("system", "")), str(o.get("value", ""))) for o in patient.get("identifier", ())]
    numbers: dict[str, frozenset[str]] = {}
    for system, value in pairs:
        if system.startswith(IPP_SYSTEM) and value:
            site = system.removeprefix(IPP_SYSTEM)
            numbers[site] = numbers.get(site, frozenset()) | {value}
    families = [str(name["family"]) for name in patient.get("name", ()) if name.get("family")]
    birth = str(patient.get("birthDate", "")).replace("-", "")
    return Person(
        patient, ins_of(pairs), numbers, tuple(dict.fromkeys(families)), birth if len(birth) == 8 else ""
    )


def questions(person: Person, site: str) -> list[dict[str, str]]:
    """What to ask the PACS of the organisation `site`, by keyword: its own number, the INS, then traits."""
    asked = [{"PatientID": number} for number in sorted(person.numbers.get(site, ()))]
    asked += [{"PatientID": number} for number in sorted(person.ins)]
    for family in person.families if person.birth else ():
        name = fold(family).upper().partition(" ")[0]  # the rest of a double name is often left out
        if name:
            asked.append({"PatientName": f"{name}*", "PatientBirthDate": person.birth})
    return asked


def how(person: Person, site: Site, row: Attributes) -> How | None:
    """By what an answer of that site is this person's."""
    birth, sex = first(row, "00100030"), SEXES.get(first(row, "00100040"), "")
    if birth and person.birth and birth != person.birth:
        return None
    if sex and person.patient.get("gender") in SEXES.values() and sex != person.patient["gender"]:
        return None
    theirs = patient_ids(row)
    ins = frozenset(
        one.value.replace(" ", "").upper()
        for one in theirs
        if issuer_key(one.issuer) in INS_OIDS or one.value in person.ins
    )
    if ins and person.ins and not ins & person.ins:
        return None
    if ins & person.ins:
        return "ins"
    own = [one.value for one in theirs if issuer_key(one.issuer) in site.issuers | {""}]
    if any(value in person.numbers.get(site.id, ()) for value in own):
        return "local-number"
    exam = Exam("", name=first(row, "00100010"), birth=_iso(birth))
    return "traits" if is_near(exam, dict(person.patient)) else None


def candidates(
    person: Person, site: Site, rows: Iterable[Attributes], request: Mapping[str, Any], at: datetime
) -> list[Candidate]:
    """The exams among a site's answers that may be priors of a request sent at `at`, the most useful first.

    What is fetched unasked is certain, older than the request's own exam can be, and not too large; `request`
    has `modalities` of the exams that are there already, and `known`: study UIDs and accession numbers of the
    télédossier itself.
    """
    known = request.get("known", ())
    modalities = frozenset(request.get("modalities", ()))
    found: dict[str, tuple[tuple[int, str], Candidate]] = {}
    for row in rows:
        uid, accession = first(row, "0020000D"), first(row, "00080050")
        by = how(person, site, row)
        if by is None or not uid or uid in known or (accession and accession in known):
            continue
        kept = {tag: row[tag] for tag in KEPT if tag in row}
        alike = bool(modalities & {str(one) for one in values(row, "00080061")})
        rank = (int(alike), first(row, "00080020") + first(row, "00080030"))
        found.setdefault(uid, (rank, Candidate(uid, by, kept, _is_fetched(by, row, at))))
    ordered = [one for _, one in sorted(found.values(), key=lambda pair: pair[0], reverse=True)]
    return _limited(ordered)


def _limited(ordered: Iterable[Candidate]) -> list[Candidate]:
    """Only the first few go unasked."""
    made, left = [], FETCHED
    for one in ordered:
        keep = one.fetched and left > 0
        left -= keep
        made.append(Candidate(one.study, one.how, one.row, keep))
    return made


def _is_fetched(by: How, row: Attributes, at: datetime) -> bool:
    day = first(row, "00080020")
    if by == "traits" or len(day) != 8 or not day.isdigit():
        return False
    try:
        taken = datetime.strptime(day, "%Y%m%d").replace(tzinfo=at.tzinfo)
    except ValueError:
        return False
    count = integer(row, "00201208") or 0
    return at - OLDEST <= taken < at - WINDOW - timedelta(days=1) and 0 < count <= MOST_IMAGES


def _iso(birth: str) -> str:
    return f"{birth[:4]}-{birth[4:6]}-{birth[6:]}" if len(birth) == 8 else ""
