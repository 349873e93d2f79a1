"""What is read from the DPI's own FHIR, and how it is written in ours.

The professional's identifiers become those of our directory; the patient's local number (IPP) and the
venue's number get the system of the establishment that the DPI was registered with, whatever the DPI calls
it; the identity's state of FR Core becomes our own. Nothing else of the DPI's resource is taken over.
FR Core 2.2 fr-core-patient-ins, fr-core-practitioner, fr-core-encounter
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from smart_launch import outbound
from smart_launch.app.dpi.issuers import Issuer
from smart_launch.app.dpi.ports import Json, Platform
from smart_launch.app.dpi.refusals import Stopped

BASE = "https://teledossier.example/fhir"
RPPS = "https://rpps.esante.gouv.fr"
ID_NAT_PS = "urn:oid:1.2.250.1.71.4.2.1"
INS = tuple(f"urn:oid:1.2.250.1.213.1.4.{last}" for last in (8, 9, 10, 11))
RELIABILITY = "fr-core-identity-reliability"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?\Z")
_RPPS = re.compile(r"\d{11}\Z")


async def read(platform: Platform, issuer: Issuer, token: str, type: str, id: str, code: str) -> Json:
    """One resource of the DPI. Raises Stopped(code), or dpi-injoignable."""
    if not _ID.match(id):
        raise Stopped(code, f"{type}: not a FHIR id")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    try:
        found = await outbound.request_json(
            platform.http, "GET", f"{issuer.iss}/{type}/{id}", headers=headers
        )
    except outbound.Unreachable as error:
        raise Stopped("dpi-injoignable", f"{type}: {error}") from error
    except outbound.Refused as error:
        raise Stopped(code, f"{type}: {error}") from error
    if found.get("resourceType") != type or found.get("id") != id:
        raise Stopped(code, f"{type}: another resource was answered")
    return found


def local_reference(issuer: Issuer, reference: str, type: str) -> str:
    """The id in a reference to this DPI's own resource, relative or absolute; "" for any other."""
    relative = reference.removeprefix(issuer.iss + "/")
    kind, _, id = relative.partition("/")
    return id if kind == type and _ID.match(id) else ""


def professional_identifiers(practitioner: Json, issuer: Issuer) -> list[tuple[str, str]]:
    """(system, value) to look for in our directory: the RPPS alone where there is one, else the local
    numbers."""
    rpps, agent = [], []
    for identifier in _objects(practitioner.get("identifier")):
        system, value = identifier.get("system"), identifier.get("value")
        if not isinstance(value, str) or not 0 < len(value) <= 64:
            continue
        if system == ID_NAT_PS and value.startswith("8"):
            system, value = RPPS, value[1:]
        if system == RPPS:
            rpps += [(RPPS, value)] if _RPPS.match(value) else []
        elif _type_code(identifier) == "EI":
            agent.append((f"{BASE}/NamingSystem/agent/{issuer.organization}", value))
    return rpps or agent


def patient(found: Json, issuer: Issuer) -> Json:
    """Our Patient of the DPI's. Raises Stopped when name or identifier is missing (R045)."""
    identifiers = list(_patient_identifiers(found, issuer))
    name = _name(found)
    if not identifiers or not name.get("family"):
        raise Stopped("patient-illisible", "Patient: no usable identifier or name")
    has_ins = any(identifier["system"] in INS for identifier in identifiers)
    made: Json = {"resourceType": "Patient", "identifier": identifiers, "name": [name]}
    if found.get("gender") in ("male", "female", "other", "unknown"):
        made["gender"] = found["gender"]
    if isinstance(found.get("birthDate"), str) and _DATE.match(found["birthDate"]):
        made["birthDate"] = found["birthDate"]
    made["extension"] = [
        {"url": f"{BASE}/StructureDefinition/identity-status", "valueCode": _identity_status(found, has_ins)}
    ]
    city = _birth_city(found)
    if city:
        made["extension"].append({"url": BIRTH_PLACE, "valueAddress": {"city": city}})
    return made


def encounter(found: Json, issuer: Issuer) -> Json | None:
    """Our Encounter of the DPI's venue; None when it has no number, for then nobody could find it again."""
    system = f"{BASE}/NamingSystem/venue/{issuer.organization}"
    values = [one["value"] for one in _objects(found.get("identifier")) if _short(one.get("value"), 64)]
    if not values:
        return None
    owner = {"reference": f"Organization/{issuer.organization}"}
    status = found.get("status") if found.get("status") in _ENCOUNTER_STATES else "in-progress"
    made: Json = {
        "resourceType": "Encounter",
        "status": status,
        "class": _coding(found.get("class")) or {"system": _ACT_CODE, "code": "IMP"},
        "identifier": [{"system": system, "value": values[0]}],
        "serviceProvider": owner,
    }
    period = found.get("period")
    if isinstance(period, dict) and _short(period.get("start"), 40):
        made["period"] = {"start": period["start"]}
    return made


def order_title(found: Json) -> str:
    """What a ServiceRequest of the DPI asks for, as a title; "" when it does not say."""
    code = found.get("code")
    text = code.get("text") if isinstance(code, dict) else None
    return " ".join(str(text).split())[:120] if _short(text, 2000) else ""


_ENCOUNTER_STATES = ("planned", "arrived", "triaged", "in-progress", "onleave", "finished")
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def _patient_identifiers(found: Json, issuer: Issuer) -> Iterator[Json]:
    for identifier in _objects(found.get("identifier")):
        system, value = identifier.get("system"), identifier.get("value")
        if not isinstance(value, str) or not 0 < len(value) <= 64 or identifier.get("use") == "old":
            continue
        if system in INS:
            yield {"use": "official", "system": system, "value": value}
        elif _type_code(identifier) == "PI":
            yield {
                "use": "usual",
                "type": {
                    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}]
                },
                "system": f"{BASE}/NamingSystem/ipp/{issuer.organization}",
                "value": value,
                "assigner": {"reference": f"Organization/{issuer.organization}"},
            }


def _name(found: Json) -> Json:
    """The official name, else the first."""
    names = list(_objects(found.get("name")))
    chosen = next((name for name in names if name.get("use") == "official"), names[0] if names else {})
    made: Json = {"use": "official"}
    if _short(chosen.get("family"), 200):
        made["family"] = chosen["family"]
    given = [one for one in _list(chosen.get("given")) if _short(one, 200)]
    return made | ({"given": given[:10]} if given else {})


def _identity_status(found: Json, has_ins: bool) -> str:
    """Validated with an INS is qualified, provisional with one is retrieved (national identity-watch
    rules)."""
    code = next(
        (
            coding["code"]
            for extension in _objects(found.get("extension"))
            if str(extension.get("url", "")).endswith("/" + RELIABILITY)
            for part in _objects(extension.get("extension"))
            if part.get("url") == "identityStatus" and (coding := _coding(part.get("valueCoding")))
        ),
        "PROV",
    )
    match code:
        case "VALI":
            return "qualifiee" if has_ins else "validee"
        case "DOUT" | "FICT" | "DOUA" | "ANOM":
            return "douteuse"
        case _:
            return "recuperee" if has_ins else "provisoire"


def _birth_city(found: Json) -> str:
    for extension in _objects(found.get("extension")):
        address = extension.get("valueAddress")
        if (
            extension.get("url") == BIRTH_PLACE
            and isinstance(address, dict)
            and _short(address.get("city"), 200)
        ):
            return str(address["city"])
    return ""


def _type_code(identifier: Json) -> str:
    type = identifier.get("type")
    codings = _objects(type.get("coding")) if isinstance(type, dict) else iter(())
    return next((coding["code"] for coding in codings if isinstance(coding.get("code"), str)), "")


def _coding(value: Any) -> Json | None:
    if not isinstance(value, dict) or not _short(value.get("code"), 100):
        return None
    return {key: value[key] for key in ("system", "code", "display") if _short(value.get(key), 200)}


def _objects(value: Any) -> Iterator[Json]:
    """The objects of a list from outside; nothing for anything else."""
    return (item for item in _list(value) if isinstance(item, dict))


def _list(value: Any) -> list[Any]:
    return value[:100] if isinstance(value, list) else []


def _short(value: Any, limit: int) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= limit
