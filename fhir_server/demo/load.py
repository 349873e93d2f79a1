"""Loads the demonstration through the same operations that people use, each as the professional who did it.

Idempotent: what is there stays; a load cut short goes on where it stopped. What happened at a télédossier is
read from its Provenances, never from a list of our own. Steps of the scenario that the platform does not
offer yet are passed over.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_server.access import SYSTEM
from fhir_server.demo.directory import everyone, patients, sender_role, workflow_code
from fhir_server.demo.documents import document
from fhir_server.demo.scenario import Entry, read, teledossiers
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import OperationRequest
from fhir_server.search.nodes import Everything, Select, Token
from fhir_server.teledossier import attachments, opening, operations
from fhir_server.teledossier.definitions import display, install, resources
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.file import load as load_file
from fhir_server.teledossier.vocabulary import NUMERO, Resource, code_of, key, ref, system, target
from profiles import codec

STEPS: Mapping[str, str] = {
    "demande_envoyee": "send",
    "lu": "read",
    "prise_en_charge": "take",
    "appel": "log-call",
    "complement_demande": "request-information",
    "complement_ajoute": "add-information",
    "avis_complementaire_rendu": "add-information",
    "reponse": "answer",
    "decision_rcp": "answer",
    "compte_rendu": "sign-report",
    "accuse_reception": "acknowledge",
    "refus": "refuse",
    "annulation": "cancel",
}
PRIORITY = {"vitale": "stat", "urgente": "urgent", "normale": "routine"}
LIVE = "demo-live"
"""The kind of the record that remembers the number and time of the télédossier sent at load."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is there after the load: counts by resource type, and each télédossier's state by number."""

    counts: Mapping[str, int]
    states: Mapping[str, str]
    live: str


async def load(engine: Engine) -> Loaded:
    """Puts the whole scenario into the store."""
    await install(engine)
    await _directory(engine)
    for entry in teledossiers():
        await _teledossier(
            engine, entry, datetime.fromisoformat(entry["debut"]).replace(tzinfo=engine.settings.zone)
        )
    live = await _live(engine)
    numeros = [*(entry["numero"] for entry in teledossiers()), live]
    states = {numero: (await _file(engine, numero)).state for numero in numeros}
    types = {one["resourceType"] for one in everyone()} | {
        "ServiceRequest",
        "Task",
        "DiagnosticReport",
        "Communication",
    }
    counts = {type: await engine.store.count(type, Everything()) for type in sorted(types)}
    return Loaded(counts, states, live)


async def _directory(engine: Engine) -> None:
    """Directory and patients, in one transaction: what is missing, and what the scenario says otherwise by
    now. A Patient that is there stays as it is: imports may know more."""
    there = await engine.store.read_many([(one["resourceType"], one["id"]) for one in everyone()])
    entries = []
    for one in everyone():
        version = there.get((one["resourceType"], one["id"]))
        if version is not None and version.body is not None:
            stored = codec.parse(version.body)
            stored.pop("meta", None)
            if one["resourceType"] == "Patient" or stored == one:
                continue
        entries.append({"resource": one, "request": {"method": "PUT", "url": key(one)}})
    if entries:
        await Fhir(engine, SYSTEM).transaction(
            {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )


async def _find(engine: Engine, numero: str) -> str:
    """The id of a télédossier by its number, "" if it is not there."""
    rows = await engine.store.search(
        Select("ServiceRequest", Token("identifier", ((NUMERO, numero),)), count=1)
    )
    return rows[0].version.id if rows else ""


async def _file(engine: Engine, numero: str) -> Teledossier:
    return await load_file(engine.store, await _find(engine, numero))


async def _teledossier(engine: Engine, entry: Entry, begun: datetime) -> None:
    """One télédossier: draft, content, attachments, steps, as far as they are not there."""
    id = await _find(engine, entry["numero"]) or await _start(engine, entry, begun)
    file = await load_file(engine.store, id)
    if file.state == "brouillon":
        if not file.request.get("performer"):
            await _save(engine, entry, begun, id)
        await _attach(engine, entry, begun, id)
    for step in entry["etapes"]:
        if step["type"] in STEPS:
            await _step(engine, step, id, at(step["t"], begun))


def at(written: str, begun: datetime) -> datetime:
    """`00:17`: that long after `begun`; `J+2 14:00`: that hour, two days after the day of `begun`."""
    day, _, clock = written.rpartition(" ")
    hours, minutes = (int(part) for part in clock.split(":"))
    if not day:
        return begun + timedelta(hours=hours, minutes=minutes)
    return begun.replace(hour=hours, minute=minutes) + timedelta(days=int(day.removeprefix("J+")))


def person(id: str) -> Entry:
    """A professional of the scenario."""
    return next(one for one in read()["professionnels"] if one["id"] == id)


def _role(entry: Entry, field: str) -> str:
    if f"role_{field}" in entry:
        return f"PractitionerRole/{entry[f'role_{field}']}"
    return sender_role(person(entry[field]))


async def _start(engine: Engine, entry: Entry, begun: datetime) -> str:
    patient = next(one for one in patients() if one["id"] == entry["patient"])
    author = _role(entry, "auteur")
    requester = author if entry["requerant"] == entry["auteur"] else _role(entry, "requerant")
    made = await opening.start(
        engine,
        SYSTEM,
        _call(
            "",
            {"name": "workflow", "valueCode": workflow_code(entry["workflow"])},
            {"name": "patient", "resource": patient},
            {"name": "author", "valueReference": ref(author)},
            {"name": "requester", "valueReference": ref(requester)},
            {"name": "title", "valueString": entry["titre"]},
            {"name": "numero", "valueString": entry["numero"]},
            {"name": "occurred", "valueDateTime": begun.isoformat()},
        ),
    )
    assert isinstance(made.resource, dict)
    return str(made.resource["id"])


def _call(id: str, *parameters: Resource) -> OperationRequest:
    body = {"resourceType": "Parameters", "parameter": list(parameters)}
    return OperationRequest("ServiceRequest", id, body)


async def _save(engine: Engine, entry: Entry, begun: datetime, id: str) -> None:
    visibility = "community" if entry["visibilite"] == "ma_communaute" else "me"
    parameters: list[Resource] = [
        {"name": "who", "valueReference": ref(f"Practitioner/{entry['auteur']}")},
        {"name": "occurred", "valueDateTime": begun.isoformat()},
        {"name": "visibility", "valueCode": visibility},
        {"name": "priority", "valueCode": PRIORITY[entry["priorite"]]},
        {"name": "answers", "resource": _answers(workflow_code(entry["workflow"]), entry["formulaire"])},
    ]
    for community in entry["destinataires"]:
        parameters.append({"name": "recipient", "valueReference": ref(f"Organization/{community}")})
    for exam in read()["examens"]:
        if exam["id"] in entry.get("examens", ()):
            parameters.append({"name": "exam", "valueReference": announced(exam)})
    if entry.get("consentement"):
        consent = entry["consentement"]
        parts = [
            {"name": "state", "valueCode": consent["etat"]},
            {"name": "text", "valueString": consent["texte"]},
        ]
        parameters.append({"name": "consent", "part": parts})
    await operations.save(engine, SYSTEM, _call(id, *parameters))


def announced(exam: Entry) -> Resource:
    """An exam that is to come: found by its accession number when the images arrive."""
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
    return {
        "type": "ImagingStudy",
        "identifier": {"type": kind, "value": exam["acces"]},
        "display": f"{exam['modalite']} - {exam['description']}",
    }


def _answers(form: str, given: Mapping[str, Any]) -> Resource:
    """A QuestionnaireResponse from answers by linkId, each typed as the form's item says."""
    items = []
    for item in resources()[f"Questionnaire/{form}"]["item"]:
        if item["linkId"] in given:
            items.append(
                {
                    "linkId": item["linkId"],
                    "text": item["text"],
                    "answer": [_typed(item, given[item["linkId"]])],
                }
            )
    return {"resourceType": "QuestionnaireResponse", "status": "in-progress", "item": items}


def _typed(item: Resource, answer: Any) -> Resource:
    match item["type"]:
        case "choice":
            words = display("answer-option", answer)
            return {"valueCoding": {"system": system("answer-option"), "code": answer, "display": words}}
        case "integer":
            return {"valueInteger": int(answer)}
        case "decimal":
            return {"valueDecimal": answer}
        case "dateTime":
            return {"valueDateTime": str(answer)}
        case "date":
            return {"valueDate": str(answer)}
        case _:
            return {"valueString": str(answer)}


async def _attach(engine: Engine, entry: Entry, begun: datetime, id: str) -> None:
    file = await load_file(engine.store, id)
    there = {one["content"][0]["attachment"].get("title") for one in file.of("DocumentReference")}
    for one in entry.get("documents", ()):
        if one["nom"] in there:
            continue
        content_type, data = document(one["nom"], one["ko"])
        encoded = base64.b64encode(data).decode("ascii")
        attachment = {"contentType": content_type, "title": one["nom"], "data": encoded}
        sent = {
            "resourceType": "DocumentReference",
            "status": "current",
            "content": [{"attachment": attachment}],
        }
        who = {"name": "who", "valueReference": ref(f"Practitioner/{entry['auteur']}")}
        when = {"name": "occurred", "valueDateTime": begun.isoformat()}
        await attachments.attach(engine, SYSTEM, _call(id, {"name": "document", "resource": sent}, who, when))


async def _step(engine: Engine, step: Entry, id: str, when: datetime) -> None:
    code = STEPS[step["type"]]
    if await _is_done(engine, id, code, step["par"], when):
        return
    parameters: list[Resource] = [
        {"name": "step", "valueCode": code},
        {"name": "who", "valueReference": ref(f"Practitioner/{step['par']}")},
        {"name": "occurred", "valueDateTime": when.isoformat()},
    ]
    if step.get("texte"):
        parameters.append({"name": "text", "valueString": step["texte"]})
    if "duree_min" in step:
        parameters.append({"name": "minutes", "valueInteger": step["duree_min"]})
    await operations.step(engine, SYSTEM, _call(id, *parameters))


async def _is_done(engine: Engine, id: str, code: str, practitioner: str, when: datetime) -> bool:
    """Whether the step is among the télédossier's Provenances: at that time, by that person; for a reading,
    that recipient's first."""
    file = await load_file(engine.store, id)
    for trace in file.of("Provenance"):
        if code_of(trace.get("activity"), "step") != code:
            continue
        same_time = datetime.fromisoformat(str(trace["occurredDateTime"])) == when
        who = file.practitioner_of(target(trace["agent"][0].get("who")))
        if who == f"Practitioner/{practitioner}" and (same_time or code == "read"):
            return True
    return False


async def _live(engine: Engine) -> str:
    """The télédossier that waits to be read during the visit: sent minutes before the first load. Returns its
    number, which a record keeps together with its time."""
    entry = read()["en_direct"]
    record = await engine.store.get_record(LIVE, "sent")
    if record is None:
        sent = datetime.fromtimestamp(engine.now() // 1_000_000, UTC).astimezone(engine.settings.zone)
        sent -= timedelta(minutes=entry["envoye_il_y_a_min"])
        numero = await opening.free_numero(engine, sent.isoformat())
        await engine.store.put_record(
            LIVE, "sent", {"numero": numero, "at": sent.isoformat()}, only_if_absent=True
        )
        record = await engine.store.get_record(LIVE, "sent") or {}
    sent = datetime.fromisoformat(record["at"])
    form = {**entry["formulaire"], "onset": (sent - timedelta(minutes=35)).isoformat()}
    step = {"t": "00:00", "par": entry["auteur"], "type": "demande_envoyee"}
    await _teledossier(
        engine, {**entry, "numero": record["numero"], "formulaire": form, "etapes": [step]}, sent
    )
    return str(record["numero"])
