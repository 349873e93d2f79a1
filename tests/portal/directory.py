"""A small directory for the portal's tests: two hospitals and a university hospital, eight people."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
BASE = "https://teledossier.example/fhir"

ORGANIZATIONS = {
    "chu-tls": ("CHU Toulouse (démo)", "etablissement", ""),
    "chu-mpl": ("CHU Montpellier (démo)", "etablissement", ""),
    "ch-auch": ("CH Auch (démo)", "etablissement", ""),
    "chiva": ("CHIVA (démo)", "etablissement", ""),
    "chu-tls-uf-310": ("Neurologie vasculaire (UNV)", "service", "chu-tls"),
    "chu-mpl-uf-310": ("Neurologie vasculaire (UNV)", "service", "chu-mpl"),
    "chu-tls-uf-333": ("Cardiologie", "service", "chu-tls"),
    "ch-auch-uf-110": ("Urgences", "service", "ch-auch"),
    "ch-auch-uf-130": ("Imagerie", "service", "ch-auch"),
    "chiva-uf-120": ("Médecine", "service", "chiva"),
    "neurovasc-tls": ("Neurovasculaire CHU Toulouse", "communaute", "chu-tls"),
    "neurovasc-mpl": ("Neurovasculaire CHU Montpellier", "communaute", "chu-mpl"),
    "cardio-tls": ("Cardiologie CHU Toulouse - avis programmés", "communaute", "chu-tls"),
    "urg-auch": ("Urgences CH Auch", "communaute", "ch-auch"),
    "med-chiva": ("Médecine CHIVA", "communaute", "chiva"),
}
SERVICE_OF = {
    "neurovasc-tls": "chu-tls-uf-310",
    "neurovasc-mpl": "chu-mpl-uf-310",
    "cardio-tls": "chu-tls-uf-333",
    "urg-auch": "ch-auch-uf-110",
    "med-chiva": "chiva-uf-120",
}
# id → (prefix, given, family, RPPS, telephone, organization of the post, roles, delegate of)
PEOPLE: dict[str, tuple[str, str, str, str, str, str, list[str], list[str]]] = {
    "p08": ("Dr", "Nadia", "BENALI", "89990000088", "05 36 49 00 08", "urg-auch", ["requerant"], []),
    "p24": ("Dr", "Louis", "CABROL", "89990000245", "05 36 49 00 24", "urg-auch", ["requerant"], []),
    "p05": ("Dr", "Antoine", "DURAND", "89990000054", "05 36 49 00 05", "neurovasc-tls", ["requis"], []),
    "p06": ("Dr", "Claire", "VIDAL", "89990000062", "", "neurovasc-mpl", ["requis", "tiers"], []),
    "p04": ("Dr", "Marie", "DURAND", "89990000047", "05 36 49 00 04", "cardio-tls", ["requis"], []),
    "p02": ("Mme", "Isabelle", "PETIT", "", "", "med-chiva", ["auteur-delegue"], ["p03"]),
    "p03": ("Dr", "Gilles", "ROBERT", "89990000039", "05 36 49 00 03", "med-chiva", ["requerant"], []),
    "p09": ("M.", "Lucas", "FERRAND", "", "", "ch-auch-uf-130", ["manipulateur"], []),
}
OFFERS = {
    "neurovasc-tls": (["avis-avc-aigu", "avis-urgences"], 10, 30),
    "neurovasc-mpl": (["avis-avc-aigu"], 10, 30),
    "cardio-tls": (["avis-generique"], 2880, 10080),
}


def extension(name: str, **value: Any) -> Json:
    return {"url": f"{BASE}/StructureDefinition/{name}", **value}


def coding(system: str, code: str) -> Json:
    return {"coding": [{"system": f"{BASE}/CodeSystem/{system}", "code": code}]}


def organization(id: str) -> Json:
    name, kind, parent = ORGANIZATIONS[id]
    made: Json = {
        "resourceType": "Organization",
        "id": id,
        "name": name,
        "type": [coding("organization-type", kind)],
    }
    if parent:
        made["partOf"] = {"reference": f"Organization/{parent}"}
    if kind == "service":
        made["identifier"] = [{"system": f"{BASE}/NamingSystem/uf/{parent}", "value": id[-3:]}]
    if id in SERVICE_OF:
        service = {"reference": f"Organization/{SERVICE_OF[id]}"}
        made["extension"] = [extension("service", valueReference=service)]
    return made


def practitioner(id: str) -> Json:
    prefix, given, family, rpps, phone, *_ = PEOPLE[id]
    made: Json = {
        "resourceType": "Practitioner",
        "id": id,
        "name": [{"use": "official", "family": family, "given": [given], "prefix": [prefix]}],
    }
    if rpps:
        made["identifier"] = [{"system": "https://rpps.esante.gouv.fr", "value": rpps}]
    if phone:
        made["telecom"] = [{"system": "phone", "use": "work", "value": phone}]
    return made


def post(id: str) -> str:
    """The PractitionerRole of a person."""
    return f"{id}-{PEOPLE[id][5]}"


def role(id: str) -> Json:
    *_, organization_id, roles, delegates = PEOPLE[id]
    extensions = [
        extension("delegate-of", valueReference={"reference": f"Practitioner/{one}"}) for one in delegates
    ]
    if organization_id in SERVICE_OF:
        service = {"reference": f"Organization/{SERVICE_OF[organization_id]}"}
        extensions.append(extension("service", valueReference=service))
    made: Json = {
        "resourceType": "PractitionerRole",
        "id": post(id),
        "active": True,
        "practitioner": {"reference": f"Practitioner/{id}"},
        "organization": {"reference": f"Organization/{organization_id}"},
        "code": [coding("role", code) for code in roles],
    }
    return {**made, "extension": extensions} if extensions else made


def offer(id: str) -> Json:
    workflows, read, answer = OFFERS[id]
    return {
        "resourceType": "HealthcareService",
        "id": id,
        "providedBy": {"reference": f"Organization/{id}"},
        "type": [coding("workflow", code) for code in workflows],
        "extension": [extension("sla-read", valueInteger=read), extension("sla-answer", valueInteger=answer)],
    }


def resources() -> list[Json]:
    """Everything, in an order that refers backwards only."""
    people = [made for id in PEOPLE for made in (practitioner(id), role(id))]
    return [*(organization(id) for id in ORGANIZATIONS), *people, *(offer(id) for id in OFFERS)]


def patient(
    family: str = "LABORDE", given: str = "Henri", ins: str = "153053299010337", birth: str = "1953-05-17"
) -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [
            {"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.11", "value": ins},
        ],
        "name": [{"use": "official", "family": family, "given": [given]}],
        "gender": "female" if ins.startswith("2") else "male",
        "birthDate": birth,
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {"city": "Auch"},
            },
            extension("identity-status", valueCode="qualifiee"),
        ],
    }
