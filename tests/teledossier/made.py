"""A télédossier in memory: people, a draft, and steps applied to it without a store."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server.teledossier import drafts
from fhir_server.teledossier.actors import Actor, actor
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.patients import Imported
from fhir_server.teledossier.steps import Given, take_step
from fhir_server.teledossier.vocabulary import BASE, RPPS, concept, key, ref, target, with_extension
from fhir_server.teledossier.workflows import workflow
from fhir_server.teledossier.writing import Author, Moment, Writing

Resource = dict[str, Any]
PARIS = ZoneInfo("Europe/Paris")

ORGANIZATIONS = {
    "ch": ("CH Démo", "etablissement", ""),
    "chu": ("CHU Démo", "etablissement", ""),
    "ch-uf-110": ("Urgences", "service", "ch"),
    "chu-uf-310": ("Neurologie vasculaire (UNV)", "service", "chu"),
    "urg": ("Urgences CH", "communaute", "ch"),
    "neuro": ("Neurovasculaire CHU", "communaute", "chu"),
    "other": ("Autre communauté", "communaute", "chu"),
}
# id → (prefix, given, family, RPPS, community, service, roles)
PEOPLE = {
    "doctor": ("Dr", "Nadia", "BENALI", "89990000088", "urg", "ch-uf-110", ["requerant"]),
    "colleague": ("Dr", "Paul", "DUPONT", "89990000013", "urg", "ch-uf-110", ["requerant"]),
    "delegate": (
        "Mme",
        "Isabelle",
        "PETIT",
        "",
        "urg",
        "ch-uf-110",
        ["auteur-delegue", "secretariat-requerant"],
    ),
    "radiographer": ("M.", "Lucas", "FERRAND", "", "urg", "ch-uf-110", ["manipulateur"]),
    "expert": ("Dr", "Antoine", "DURAND", "89990000054", "neuro", "chu-uf-310", ["requis"]),
    "second": ("Dr", "Claire", "VIDAL", "89990000062", "neuro", "chu-uf-310", ["requis", "tiers"]),
    "secretary": ("Mme", "Karine", "SICARD", "", "neuro", "chu-uf-310", ["secretariat-rcp"]),
    "outsider": ("Dr", "Hugo", "CASTEX", "89990000070", "other", "chu-uf-310", ["requis"]),
}


def directory() -> dict[str, Resource]:
    """Every Organization, Practitioner and PractitionerRole by `Type/id`."""
    found: dict[str, Resource] = {}
    for id, (name, type, parent) in ORGANIZATIONS.items():
        one: Resource = {
            "resourceType": "Organization",
            "id": id,
            "name": name,
            "type": [concept("organization-type", type)],
        }
        if parent:
            one["partOf"] = ref(f"Organization/{parent}")
        if type == "service":
            one["identifier"] = [{"system": f"{BASE}/NamingSystem/uf/{parent}", "value": id[-3:]}]
        found[f"Organization/{id}"] = one
    for id, (prefix, given, family, rpps, community, service, roles) in PEOPLE.items():
        found[f"Practitioner/{id}"] = {
            "resourceType": "Practitioner",
            "id": id,
            "name": [{"family": family, "given": [given], "prefix": [prefix]}],
            **({"identifier": [{"system": RPPS, "value": rpps}]} if rpps else {}),
        }
        role: Resource = {
            "resourceType": "PractitionerRole",
            "id": f"{id}-{community}",
            "practitioner": ref(f"Practitioner/{id}"),
            "organization": ref(f"Organization/{community}"),
            "code": [concept("role", code) for code in roles],
        }
        found[f"PractitionerRole/{id}-{community}"] = with_extension(
            role, "service", {"valueReference": ref(f"Organization/{service}")}
        )
    return found


DIRECTORY = directory()


def role(person: str) -> str:
    return f"PractitionerRole/{person}-{PEOPLE[person][4]}"


def patient() -> Resource:
    return {
        "resourceType": "Patient",
        "id": "pat",
        "meta": {"versionId": "1"},
        "identifier": [
            {"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.11", "value": "153053299010337"},
            {"system": f"{BASE}/NamingSystem/ipp/ch", "value": "AU-300003"},
        ],
        "name": [{"use": "official", "family": "LABORDE", "given": ["Henri"]}],
        "gender": "male",
        "birthDate": "1953-05-17",
    }


def moment(clock: str = "05:15") -> Moment:
    """That hour of 8 August 2024 in Paris."""
    instant = f"2024-08-08T{clock}:00+02:00"
    return Moment(instant, instant, PARIS)


class World:
    """One télédossier that moves: `step` applies the transaction that a step makes to `file`."""

    def __init__(
        self, flow: str = "avis-avc-aigu", author: str = "doctor", requester: str = "doctor"
    ) -> None:
        self.ids = (f"id-{number}" for number in count(1))
        self.flow = workflow(flow)
        self.file = Teledossier({}, patient(), {}, DIRECTORY)
        self.bundle: Resource = {}
        opening = drafts.Opening(
            "TD-2024-000001", self.flow, role(author), role(requester), "", DIRECTORY, id="file"
        )
        writing = Writing(moment("04:58"), self.new_id)
        drafts.start(
            opening, Imported(patient(), False), Author(role(author), "", f"Practitioner/{author}"), writing
        )
        self.apply(writing.bundle())

    def new_id(self) -> str:
        return next(self.ids)

    def person(self, name: str) -> Actor:
        return actor(self.file, f"Practitioner/{name}", [DIRECTORY[role(name)]])

    def save(self, name: str = "doctor", **content: Any) -> None:
        writing = Writing(moment("05:00"), self.new_id)
        drafts.save(self.file, drafts.Content(**content), self.person(name), writing)
        self.apply(writing.bundle())

    def step(self, code: str, name: str, clock: str = "05:15", *, reason: str = "", **given: Any) -> None:
        if reason.strip():
            given["reason"] = {"text": reason}
        self.apply(
            take_step(
                self.file, self.flow, code, self.person(name), Given(**given), moment(clock), self.new_id
            )
        )

    def apply(self, bundle: Resource) -> None:
        """What the server would do with the transaction."""
        self.bundle = bundle
        request, hanging = self.file.request, {type: list(some) for type, some in self.file.hanging.items()}
        for entry in bundle["entry"]:
            if "resource" not in entry:
                continue
            one = dict(entry["resource"])
            one["meta"] = {"versionId": str(int(one.get("meta", {}).get("versionId", "0")) + 1)}
            if one["resourceType"] == "ServiceRequest":
                request = one
            elif one["resourceType"] != "Patient":
                several = hanging.setdefault(one["resourceType"], [])
                places = [place for place, other in enumerate(several) if other["id"] == one["id"]]
                if places:
                    several[places[0]] = one
                else:
                    several.append(one)
        self.file = replace(self.file, request=request, hanging={t: tuple(s) for t, s in hanging.items()})

    @property
    def task(self) -> Resource:
        """The only recipient's Task."""
        (task,) = self.file.tasks
        return task

    def written(self, type: str) -> list[Resource]:
        """What the last transaction wrote of a type."""
        found = (entry.get("resource", {}) for entry in self.bundle["entry"])
        return [one for one in found if one.get("resourceType") == type]


FORM: dict[str, list[Resource]] = {
    "avis-avc-aigu": [
        {"linkId": "onset", "answer": [{"valueDateTime": "2024-08-08T04:05:00+02:00"}]},
        {"linkId": "nihss", "answer": [{"valueInteger": 14}]},
        {"linkId": "signs", "answer": [{"valueString": "Hémiplégie droite, aphasie globale"}]},
        {"linkId": "question", "answer": [{"valueString": "Indication de thrombolyse ?"}]},
    ],
    "avis-urgences": [
        {"linkId": "reason", "answer": [{"valueString": "Chute"}]},
        {"linkId": "question", "answer": [{"valueString": "Transfert ?"}]},
    ],
    "avis-generique": [{"linkId": "request", "answer": [{"valueString": "CAT ?"}]}],
    "rcp-greffe-renale": [
        {"linkId": "nephropathy", "answer": [{"valueString": "Polykystose"}]},
        {"linkId": "question", "answer": [{"valueString": "Inscription ?"}]},
    ],
    "transfert-imagerie": [{"linkId": "comment", "answer": [{"valueString": "RCP du 08/08"}]}],
}


def filled(flow: str = "avis-avc-aigu", author: str = "doctor", requester: str = "doctor") -> World:
    """A draft that is ready to be sent to the community `neuro`."""
    world = World(flow, author, requester)
    answers = {"resourceType": "QuestionnaireResponse", "item": FORM[flow]}
    world.save(author, answers=answers, recipients=("Organization/neuro",))
    return world


WAYS: dict[str, list[tuple[str, str]]] = {
    "brouillon": [],
    "envoye": [("send", "doctor")],
    "lu": [("send", "doctor"), ("read", "expert")],
    "pris-en-charge": [("send", "doctor"), ("read", "expert"), ("take", "expert")],
    "complement-demande": [("send", "doctor"), ("read", "expert"), ("request-information", "expert")],
    "repondu": [("send", "doctor"), ("read", "expert"), ("answer", "expert")],
    "clos": [("send", "doctor"), ("read", "expert"), ("answer", "expert"), ("close", "expert")],
    "refuse": [("send", "doctor"), ("read", "expert"), ("refuse", "expert")],
    "annule": [("send", "doctor"), ("cancel", "doctor")],
}


def at(state: str, flow: str = "avis-avc-aigu") -> World:
    """A télédossier in that state, by the shortest way."""
    world = filled(flow)
    for code, name in WAYS[state]:
        if flow == "transfert-imagerie" and code in ("answer", "close"):
            continue
        world.step(code, name, text="texte", reason="motif")
    if flow == "transfert-imagerie" and state == "clos":
        world.step("acknowledge", "expert")
    return world


def references(resource: Resource) -> set[str]:
    return {target(one) for one in resource.get("target", ())}


__all__ = [
    "DIRECTORY",
    "FORM",
    "PEOPLE",
    "WAYS",
    "World",
    "at",
    "filled",
    "key",
    "moment",
    "references",
    "role",
]
