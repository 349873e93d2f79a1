"""What a DICOM patient identifier means in FHIR: the INS, or a site's own number (IPP) with its issuer. Pure.

Only these two identify. A number without issuer identifies nobody, whichever site it came from.
RNIV (référentiel national d'identitovigilance); ANS, OIDs of the INS
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dicomweb.index.contract import PatientId
from profiles.identity import is_finess, is_ins

INS_OIDS = frozenset({
    "1.2.250.1.213.1.4.8",  # INS-NIR
    "1.2.250.1.213.1.4.9",  # INS-NIA
    "1.2.250.1.213.1.4.10",  # INS-NIR of test
    "1.2.250.1.213.1.4.11",  # INS-NIR of demonstration
})  # fmt: skip
FINESS_SYSTEM = "https://finess.esante.gouv.fr"
IPP_SYSTEM = "https://teledossier.example/fhir/NamingSystem/ipp/"
_ORGANISATION = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")

Identifier = tuple[str, str]  # FHIR system, value


def issuer_key(issuer: str) -> str:
    """`urn:oid:1.2…`, `NAME&1.2…&ISO` and `1.2…` alike → the OID; anything else in lower case."""
    parts = issuer.strip().split("&")
    core = parts[1] if len(parts) == 3 and parts[1] else parts[0]
    return core.strip().removeprefix("urn:oid:").lower()


def finess_issuers(ids: Iterable[PatientId]) -> frozenset[str]:
    """The issuers written as a FINESS number, for the caller to look up."""
    return frozenset(key for one in ids if is_finess(key := issuer_key(one.issuer).upper()))


def identifiers(ids: Iterable[PatientId], organisations: Mapping[str, str]) -> tuple[Identifier, ...]:
    """The FHIR identifiers among these, INS first. `organisations`: FINESS → organisation id."""
    found: dict[Identifier, None] = {}
    local: dict[Identifier, None] = {}
    for one in ids:
        key = issuer_key(one.issuer)
        if key in INS_OIDS:
            value = one.value.replace(" ", "").upper()
            if is_ins(value):
                found[(f"urn:oid:{key}", value)] = None
        elif _ORGANISATION.fullmatch(organisation := organisations.get(key.upper(), key)):
            local[(IPP_SYSTEM + organisation, one.value)] = None
    return (*found, *local)


def ins_of(found: Iterable[Identifier]) -> frozenset[str]:
    """The INS numbers among FHIR identifiers."""
    return frozenset(value for system, value in found if system.removeprefix("urn:oid:") in INS_OIDS)
