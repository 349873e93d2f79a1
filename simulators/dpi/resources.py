"""The FHIR faces of the records, as FR Core 2.2 shapes them. fr-core-patient-ins, -practitioner,
-encounter"""

from __future__ import annotations

from typing import Any

from simulators.dpi.data import Establishment, Patient, Professional

Json = dict[str, Any]
CORE = "https://hl7.fr/ig/fhir/core"
TYPES = f"{CORE}/CodeSystem/fr-core-cs-v2-0203"
INS_DEMO = "urn:oid:1.2.250.1.213.1.4.11"
STATES = {"qualifiee": "VALI", "validee_sans_ins": "VALI", "recuperee": "PROV", "douteuse": "DOUT"}


def patient(home: Establishment, one: Patient) -> Json:
    """fr-core-patient-ins with the local number (IPP) and, where known, the INS."""
    identifiers = [
        {
            "use": "usual",
            "type": _type("PI"),
            "system": f"https://{home.id}.exemple.invalid/ipp",
            "value": one.ipp,
        }
    ]
    birth_place: Json = {"city": one.city or "Inconnue"}
    if one.ins:
        identifiers.insert(
            0, {"use": "official", "type": _type("INS-NIR-DEMO"), "system": INS_DEMO, "value": one.ins}
        )
        commune = {"system": "https://mos.esante.gouv.fr/NOS/TRE_R13-CommuneOM/FHIR/TRE-R13-CommuneOM"}
        birth_place["extension"] = [
            {
                "url": f"{CORE}/StructureDefinition/fr-core-address-insee-code",
                "valueCoding": {**commune, "code": one.ins[5:10]},
            }
        ]
    names: list[Json] = [{"use": "official", "family": one.family, "given": [one.given]}]
    if one.used_name:
        names.append({"use": "usual", "family": one.used_name, "given": [one.given]})
    return {
        "resourceType": "Patient",
        "id": one.id,
        "meta": {"profile": [f"{CORE}/StructureDefinition/fr-core-patient-ins"]},
        "extension": [
            {
                "url": f"{CORE}/StructureDefinition/fr-core-identity-reliability",
                "extension": [
                    {
                        "url": "identityStatus",
                        "valueCoding": {
                            "system": f"{CORE}/CodeSystem/fr-core-cs-v2-0445",
                            "code": STATES.get(one.identity, "PROV"),
                        },
                    }
                ],
            },
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": birth_place,
            },
        ],
        "identifier": identifiers,
        "name": names,
        "gender": one.sex,
        "birthDate": one.birth,
    }


def encounter(home: Establishment, one: Patient) -> Json:
    """The venue that is open now."""
    emergency = "Urgences" in home.service_name(one.uf)
    return {
        "resourceType": "Encounter",
        "id": one.venue_id,
        "status": "in-progress",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "EMER" if emergency else "IMP",
        },
        "identifier": [
            {"type": _type("VN"), "system": f"https://{home.id}.exemple.invalid/venue", "value": one.venue}
        ],
        "subject": {"reference": f"Patient/{one.id}"},
        "period": {"start": one.arrived},
        "serviceProvider": {"display": f"{home.name} - {home.service_name(one.uf)}"},
    }


def practitioner(home: Establishment, one: Professional) -> Json:
    """fr-core-practitioner: RPPS where there is one, else the employee's number."""
    identifiers: list[Json] = []
    if one.rpps:
        identifiers.append(
            {"type": _type("RPPS"), "system": "https://rpps.esante.gouv.fr", "value": one.rpps}
        )
    if one.local:
        system = f"https://{home.id}.exemple.invalid/agents"
        identifiers.append({"type": _type("EI", base=True), "system": system, "value": one.local})
    return {
        "resourceType": "Practitioner",
        "id": one.id,
        "identifier": identifiers,
        "name": [{"family": one.family, "given": [one.given], "prefix": [one.prefix]}],
        "telecom": [{"system": "phone", "value": one.phone}] if one.phone else [],
    }


def _type(code: str, *, base: bool = False) -> Json:
    system = "http://terminology.hl7.org/CodeSystem/v2-0203" if base else TYPES
    return {"coding": [{"system": system, "code": code}]}
