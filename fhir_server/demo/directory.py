"""The scenario's establishments, communities, professionals and patients as FHIR resources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhir_server.demo.scenario import Entry, communities_of, posts_of, read, role_id
from fhir_server.teledossier.definitions import display
from fhir_server.teledossier.vocabulary import (
    BASE,
    BIRTH_PLACE,
    FINESS,
    IDENTIFIER_TYPE,
    RPPS,
    Resource,
    concept,
    extension_url,
    ref,
)

DEMO_INS = "urn:oid:1.2.250.1.213.1.4.11"
GENDERS = {"M": "male", "F": "female"}
IDENTITY = {
    "qualifiee": "qualifiee",
    "douteuse": "douteuse",
    "validee_sans_ins": "validee",
    "recuperee": "recuperee",
}


def extension(name: str, **value: Any) -> Resource:
    """One extension of ours."""
    return {"url": extension_url(name), **value}


def type_of(code: str) -> list[Resource]:
    return [concept("organization-type", code, display("organization-type", code))]


def organizations() -> Iterator[Resource]:
    """Establishments, then services (UF), then communities: each after what it is part of."""
    scenario = read()
    for one in scenario["organisations"]:
        made: Resource = {
            "resourceType": "Organization",
            "id": one["id"],
            "identifier": [{"system": FINESS, "value": one["finess"]}],
            "active": True,
            "type": type_of("etablissement"),
            "name": one["nom"],
            "alias": [one["nom_neutre"]],
            "address": [{"state": one["dep"], "country": "FR"}],
        }
        if one.get("ght"):
            made["extension"] = [extension("ght", valueString=one["ght"])]
        yield made
    for one in scenario["services"]:
        yield {
            "resourceType": "Organization",
            "id": f"{one['org']}-uf-{one['uf']}",
            "identifier": [{"system": f"{BASE}/NamingSystem/uf/{one['org']}", "value": one["uf"]}],
            "active": True,
            "type": type_of("service"),
            "name": one["nom"],
            "partOf": ref(f"Organization/{one['org']}"),
        }
    for one in scenario["communautes"]:
        yield {
            "resourceType": "Organization",
            "id": one["id"],
            "extension": [
                extension("service", valueReference=ref(f"Organization/{one['org']}-uf-{one['uf']}"))
            ],
            "active": True,
            "type": type_of("communaute"),
            "name": one["nom"],
            "partOf": ref(f"Organization/{one['org']}"),
        }


def offers() -> Iterator[Resource]:
    """What each community offers, and how soon it means to read and answer."""
    for one in read()["communautes"]:
        codes = [workflow_code(code) for code in one.get("workflows", ())]
        if not codes:
            continue
        made: Resource = {
            "resourceType": "HealthcareService",
            "id": one["id"],
            "active": True,
            "providedBy": ref(f"Organization/{one['id']}", one["nom"]),
            "type": [concept("workflow", code, display("workflow", code)) for code in codes],
            "name": one["nom"],
        }
        sla = one.get("sla", {})
        limits = [("sla-read", sla.get("lecture")), ("sla-answer", sla.get("reponse"))]
        extensions = [
            extension(name, valueInteger=minutes) for name, minutes in limits if minutes is not None
        ]
        if extensions:
            made["extension"] = extensions
        yield made


def workflow_code(written: str) -> str:
    """`avc_aigu` as the CodeSystem says it."""
    return {"avc_aigu": "avis-avc-aigu"}.get(written, written.replace("_", "-"))


def practitioners() -> Iterator[Resource]:
    for one in read()["professionnels"]:
        made: Resource = {"resourceType": "Practitioner", "id": one["id"], "active": True}
        if one.get("rpps"):
            made["identifier"] = [{"system": RPPS, "value": one["rpps"]}]
        elif one.get("id_local"):
            made["identifier"] = [
                {"system": f"{BASE}/NamingSystem/agent/{one['org']}", "value": one["id_local"]}
            ]
        made["name"] = [{"family": one["nom"], "given": [one["prenom"]], "prefix": [one["civ"]]}]
        telecom = [
            {"system": "phone", "value": one["tel"], "use": "work"} if one.get("tel") else None,
            {"system": "phone", "value": one["mobile"], "use": "mobile"} if one.get("mobile") else None,
            {"system": "email", "value": one["courriel"]} if one.get("courriel") else None,
        ]
        if any(telecom):
            made["telecom"] = [contact for contact in telecom if contact]
        yield made


def practitioner_roles() -> Iterator[Resource]:
    """One per post: a person in a community, a service, an establishment."""
    for person in read()["professionnels"]:
        for post in posts_of(person):
            yield _role(person, post)


def _role(person: Entry, post: str) -> Resource:
    made: Resource = {
        "resourceType": "PractitionerRole",
        "id": role_id(person, post),
        "active": True,
        "practitioner": ref(f"Practitioner/{person['id']}"),
        "code": [concept("role", code, display("role", code)) for code in _codes(person)],
    }
    if post:
        made["organization"] = ref(f"Organization/{post}")
    extensions = []
    if person.get("org") and person.get("uf") and post not in person.get("consultations", ()):
        service = f"Organization/{person['org']}-uf-{person['uf']}"
        extensions.append(extension("service", valueReference=ref(service)))
    for doctor in person.get("delegue_de", ()):
        extensions.append(extension("delegate-of", valueReference=ref(f"Practitioner/{doctor}")))
    if extensions:
        made["extension"] = extensions
    return made


def _codes(person: Entry) -> list[str]:
    return [str(role).replace("_", "-") for role in person["role"]]


def patients() -> Iterator[Resource]:
    names = {one["id"]: one["nom"] for one in read()["organisations"]}
    for one in read()["patients"]:
        official = {"use": "official", "family": one["nom"], "given": [one["prenom"]]}
        used = (
            [{"use": "usual", "family": one["nom_utilise"], "given": [one["prenom"]]}]
            if one.get("nom_utilise")
            else []
        )
        made: Resource = {
            "resourceType": "Patient",
            "id": one["id"],
            "extension": [extension("identity-status", valueCode=IDENTITY[one["identite"]])],
            "identifier": [*_ins(one), *(_ipp(org, number, names) for org, number in one["ipp"].items())],
            "name": [official, *used],
            "gender": GENDERS[one["sexe"]],
            "birthDate": one["naissance"],
        }
        if not made["identifier"]:
            del made["identifier"]
        if one.get("ne_a"):
            made["extension"].append({"url": BIRTH_PLACE, "valueAddress": {"city": one["ne_a"]}})
        if one.get("rang_gemellaire"):
            made["multipleBirthInteger"] = one["rang_gemellaire"]
        yield made


def _ins(patient: Entry) -> list[Resource]:
    return [{"use": "official", "system": DEMO_INS, "value": patient["ins"]}] if patient.get("ins") else []


def _ipp(org: str, number: str, names: dict[str, str]) -> Resource:
    return {
        "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "PI"}]},
        "system": f"{BASE}/NamingSystem/ipp/{org}",
        "value": number,
        "assigner": ref(f"Organization/{org}", names[org]),
    }


def everyone() -> list[Resource]:
    """The whole directory, then the patients."""
    return [*organizations(), *offers(), *practitioners(), *practitioner_roles(), *patients()]


def sender_role(person: Entry) -> str:
    """The PractitionerRole a professional opens télédossiers with: the first community's, else their
    post's."""
    post = next((str(one["id"]) for one in communities_of(person)), posts_of(person)[0])
    return f"PractitionerRole/{role_id(person, post)}"
