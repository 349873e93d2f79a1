"""A patient as a recipient's site knows them: what is to stand in the images that its PACS gets. Pure.

    Patient ID       the site's own number; else the INS, which is nobody else's; else as the images have it
    name, birth, sex the platform's, when the identity is qualified or validated; else as the images have them
    other IDs        the INS (only of a qualified identity) and the number that the images came with
    accession        the site's own, when the request has one

RNIV (référentiel national d'identitovigilance); IHE RAD TF-1 §21 (Import Reconciliation Workflow)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from dicomweb.identity import FINESS_SYSTEM, INS_OIDS, IPP_SYSTEM

STATUS = "https://teledossier.example/fhir/StructureDefinition/identity-status"
SURE = ("qualifiee", "validee")
SEXES: Mapping[str, str] = {"male": "M", "female": "F", "other": "O"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\^=]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """An empty value means: as the images have it. `others`: (number, issuer). Issuers are an OID, a FINESS
    number or the organisation's key."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth: str = ""
    sex: str = ""
    others: tuple[tuple[str, str], ...] = ()
    accession: str = ""

    @property
    def digest(self) -> str:
        """Tells two identities apart without naming anybody to those who do not know them both."""
        return hashlib.sha256(orjson.dumps(asdict(self))).hexdigest()

    def dump(self) -> str:
        return orjson.dumps(asdict(self)).decode()


def load(text: str) -> Identity:
    """What `dump` wrote."""
    found = orjson.loads(text)
    others = tuple((str(number), str(issuer)) for number, issuer in found.pop("others"))
    return Identity(**found, others=others)


@dataclass(frozen=True, slots=True)
class Site:
    """The establishment that receives: its id, and what its PACS calls the issuer of its numbers, "" = its
    FINESS number, else its id."""

    id: str
    finess: str = ""
    issuer: str = ""

    @property
    def authority(self) -> str:
        return self.issuer or self.finess or self.id


def site_of(organization: Mapping[str, Any], issuer: str = "") -> Site:
    finess = [
        str(one.get("value", ""))
        for one in organization.get("identifier", ())
        if one.get("system") == FINESS_SYSTEM
    ]
    return Site(str(organization.get("id", "")), finess[0] if finess else "", issuer)


def known_as(patient: Mapping[str, Any], request: Mapping[str, Any], site: Site) -> Identity:
    """`request` is the ServiceRequest under which the exam goes there, {} for none."""
    status = _status(patient)
    ins = next(iter(_numbers(patient, lambda system: system.removeprefix("urn:oid:") in INS_OIDS)), None)
    own = next(iter(_numbers(patient, lambda system: system == IPP_SYSTEM + site.id)), None)
    ins_id = (ins[1], ins[0].removeprefix("urn:oid:")) if ins and status == "qualifiee" else None
    number = (own[1], site.authority) if own else ins_id or ("", "")
    sure = status in SURE
    birth = str(patient.get("birthDate", ""))
    return Identity(
        patient_id=_plain(number[0]),
        issuer=_plain(number[1]),
        name=_name(patient) if sure else "",
        birth=birth.replace("-", "") if sure and _DAY.fullmatch(birth) else "",
        sex=SEXES.get(str(patient.get("gender", "")), "") if sure else "",
        others=(ins_id,) if ins_id and own else (),
        accession=_accession(request, site),
    )


def _status(patient: Mapping[str, Any]) -> str:
    return next(
        (str(one.get("valueCode", "")) for one in patient.get("extension", ()) if one.get("url") == STATUS),
        "",
    )


def _numbers(patient: Mapping[str, Any], wanted: Any) -> Iterator[tuple[str, str]]:
    for one in patient.get("identifier", ()):
        system, value = str(one.get("system", "")), str(one.get("value", "")).replace(" ", "")
        if one.get("use") != "old" and value and wanted(system):
            yield system, value


def _name(patient: Mapping[str, Any]) -> str:
    """Birth name and first names: the official one, else the first that is not an old one."""
    names = [one for one in patient.get("name", ()) if one.get("use") != "old" and one.get("family")]
    names.sort(key=lambda one: one.get("use") != "official")
    if not names:
        return ""
    given = " ".join(_plain(str(one)) for one in names[0].get("given", ()))
    return f"{_plain(str(names[0]['family']))}^{given[:64]}".rstrip("^")


def _accession(request: Mapping[str, Any], site: Site) -> str:
    """The accession number that this site gave to the request: type ACSN, the site as assigner."""
    for one in request.get("identifier", ()):
        codes = [coding.get("code") for coding in (one.get("type") or {}).get("coding", ())]
        assigner = str((one.get("assigner") or {}).get("reference", ""))
        if "ACSN" in codes and assigner == f"Organization/{site.id}":
            return _plain(str(one.get("value", "")))[:16]
    return ""


def _plain(text: str) -> str:
    """Without what has a meaning of its own in DICOM, and not longer than it takes."""
    return _FORBIDDEN.sub(" ", text).strip()[:64]
