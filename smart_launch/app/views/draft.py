"""A draft as its form shows it, and the form as `$save` takes it (R043, R055–R061, R070–R075). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from typing import Any

from smart_launch.app import words
from smart_launch.app.views.exams import announced
from smart_launch.app.views.people import Directory, Post
from smart_launch.app.views.questionnaire import Field, fields, judged, response_items, submitted
from smart_launch.app.views.reading import BASE, INS_SYSTEMS, Json, extension, many, reference

IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"


@dataclass(frozen=True, slots=True)
class Choice:
    """A community that offers the workflow."""

    ref: str
    name: str
    service: str
    delay: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The communities of one establishment."""

    name: str
    choices: list[Choice]


@dataclass(frozen=True, slots=True)
class Draft:
    """What the person has entered so far, from the server or as just typed."""

    fields: list[Field]
    recipients: frozenset[str] = frozenset()
    visibility: str = "community"
    priority: str = "routine"
    comment: str = ""
    consent: str = ""
    consent_text: str = ""
    requester: str = ""
    announced: str = ""
    recipient_fault: str = ""

    @property
    def vital(self) -> bool:
        return self.priority == "stat"

    @property
    def faults(self) -> list[tuple[str, str, str]]:
        """(anchor, question, why) of everything that blocks sending, for the summary at the top."""
        found = [("correspondants", words.RECIPIENTS, self.recipient_fault)] if self.recipient_fault else []
        return found + [(item.name, item.label, item.fault) for item in self.fields if item.fault]


def saved(
    request: Json, response: Json, consent: tuple[str, str], questionnaire: Json, zone: tzinfo
) -> Draft:
    """The draft as the server holds it."""
    return Draft(
        fields=fields(questionnaire, response, zone),
        recipients=frozenset(reference(item) for item in many(request, "performer")),
        visibility=str(extension(request, "visibility") or "community"),
        priority=str(request.get("priority", "routine")),
        comment="\n".join(str(note.get("text", "")) for note in many(request, "note")),
        consent=consent[0],
        consent_text=consent[1],
        requester=reference(request.get("requester")),
        announced=", ".join(announced(request)),
    )


def typed(form: Mapping[str, str], recipients: Iterable[str], questionnaire: Json, zone: tzinfo) -> Draft:
    """The draft as just typed; every value is checked against its table, text is kept as it is."""
    return Draft(
        fields=submitted(questionnaire, form, zone),
        recipients=frozenset(
            ref for ref in recipients if ref.startswith(("Organization/", "PractitionerRole/"))
        ),
        visibility=_known(form.get("visibilite", ""), words.VISIBILITIES, "community"),
        priority=_known(form.get("priorite", ""), words.PRIORITIES, "routine"),
        comment=form.get("commentaire", "").replace("\r\n", "\n").strip(),
        consent=_known(form.get("consentement", ""), words.CONSENTS, ""),
        consent_text=form.get("consentement_texte", "").strip(),
        requester=form.get("requerant", ""),
        announced=form.get("examens_attendus", "").strip()[:500],
    )


def expected(text: str) -> list[str]:
    """The accession numbers in a list with commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def with_orders(text: str, ticked: Iterable[str]) -> str:
    """The list with those that were ticked in the worklist's proposals."""
    return ", ".join(
        dict.fromkeys([*expected(text), *(number for one in ticked for number in expected(one))])
    )


def content_mark(draft: Draft) -> str:
    """A fingerprint of what a person can change in a draft. The form carries it rather than the version,
    which also moves when images or documents join: those must not stop anyone from writing.
    """
    said = [(item.link_id, item.value) for item in draft.fields if item.value and item.enabled]
    rest = replace(draft, fields=[], recipients=frozenset(), recipient_fault="")
    return hashlib.sha256(repr((said, sorted(draft.recipients), rest)).encode()).hexdigest()[:16]


def _known(value: str, table: Mapping[str, str], otherwise: str) -> str:
    return value if value in table else otherwise


def checked(draft: Draft) -> Draft:
    """The draft judged for sending: a recipient always, the form's mandatory answers unless life is at
    stake.
    """
    missing = "" if draft.recipients else words.NO_RECIPIENT
    return replace(draft, fields=judged(draft.fields, vital=draft.vital), recipient_fault=missing)


def save_parameters(draft: Draft, questionnaire: Json, zone: tzinfo, requesters: Iterable[str]) -> list[Json]:
    """Parameters.parameter of `$save`. A requester is sent only when it is one of those offered."""
    answers: Json = {
        "resourceType": "QuestionnaireResponse",
        "status": "in-progress",
        "item": response_items(questionnaire, draft.fields, zone),
    }
    if questionnaire.get("url"):
        answers["questionnaire"] = questionnaire["url"]
    if not answers["item"]:
        del answers["item"]
    parameters: list[Json] = [{"name": "answers", "resource": answers}] if many(questionnaire, "item") else []
    for ref in sorted(draft.recipients):
        parameters.append({"name": "recipient", "valueReference": {"reference": ref}})
    parameters.append({"name": "visibility", "valueCode": draft.visibility})
    parameters.append({"name": "priority", "valueCode": draft.priority})
    # an empty comment is sent too: it takes back what was there
    parameters.append({"name": "comment", "valueString": draft.comment})
    if draft.requester in set(requesters):
        parameters.append({"name": "requester", "valueReference": {"reference": draft.requester}})
    for number in expected(draft.announced):
        kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "ACSN"}]}
        parameters.append(
            {"name": "exam", "valueReference": {"identifier": {"type": kind, "value": number[:64]}}}
        )
    if draft.consent:
        parts: list[Json] = [{"name": "state", "valueCode": draft.consent}]
        parts += [{"name": "text", "valueString": draft.consent_text}] if draft.consent_text else []
        parameters.append({"name": "consent", "part": parts})
    return parameters


def groups(services: Iterable[Json], directory: Directory, chosen: frozenset[str]) -> list[Group]:
    """The communities that offer a workflow, by establishment, in the order of their names (R058)."""
    by_establishment: dict[str, list[Choice]] = {}
    for service in services:
        ref = reference(service.get("providedBy")) or f"Organization/{service.get('id', '')}"
        place = directory.place(ref)
        minutes = extension(service, "sla-read")
        choice = Choice(ref, place.name, place.service, delay_words(minutes), ref in chosen)
        by_establishment.setdefault(place.establishment, []).append(choice)
    return [
        Group(name, sorted(choices, key=lambda choice: choice.name))
        for name, choices in sorted(by_establishment.items())
    ]


def delay_words(minutes: Any) -> str:
    """`lecture sous 10 min`, `sous 48 h`; empty when the community promises none."""
    if not isinstance(minutes, int) or minutes <= 0:
        return ""
    if minutes < 120:
        return words.DELAY.format(delay=f"{minutes} min")
    return words.DELAY.format(delay=f"{minutes // 60} h" if minutes <= 4320 else f"{minutes // 1440} j")


@dataclass(frozen=True, slots=True)
class Identity:
    """A patient typed by hand, for a request without DPI (R043, R045); `faults` by field name."""

    family: str = ""
    given: str = ""
    birth: str = ""
    sex: str = ""
    id_kind: str = "ins"
    id_value: str = ""
    birth_place: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)


def identity(form: Mapping[str, str], today: date) -> Identity:
    """Read and judge the typed identity. Name and identifier are mandatory."""
    family, given = form.get("nom", "").strip(), form.get("prenom", "").strip()
    birth, kind = form.get("naissance", "").strip(), form.get("type_identifiant", "ins")
    value = "".join(form.get("identifiant", "").split())
    faults: dict[str, str] = {}
    if not family:
        faults["nom"] = words.MUST
    if not value:
        faults["identifiant"] = words.MUST
    elif kind == "ins" and not ins_is_right(value):
        faults["identifiant"] = words.NOT_AN_INS
    iso = iso_date(birth)
    if birth and not iso:
        faults["naissance"] = words.NOT_A_DATE
    elif iso and date.fromisoformat(iso) > today:
        faults["naissance"] = words.FUTURE_BIRTH
    sex = form.get("sexe", "")
    return Identity(
        family,
        given,
        birth,
        sex if sex in words.SEXES else "",
        kind,
        value,
        form.get("lieu", "").strip(),
        faults,
    )


def iso_date(text: str) -> str:
    """`17/05/1953` or `1953-05-17` → `1953-05-17`; empty when it is no date."""
    parts = text.split("/")
    iso = "-".join(reversed(parts)) if len(parts) == 3 else text
    try:
        return date.fromisoformat(iso).isoformat()
    except ValueError:
        return ""


def ins_is_right(value: str) -> bool:
    """13 characters and a key: 97 minus the number modulo 97; Corsica's letters count as 19 and 18.

    Référentiel INS, matricule INS
    """
    if len(value) != 15 or not value.isascii():
        return False
    number = value[:13].upper().replace("2A", "19").replace("2B", "18")
    return number.isdigit() and value[13:].isdigit() and 97 - int(number) % 97 == int(value[13:])


def patient_resource(typed_identity: Identity, establishment: str) -> Json:
    """The Patient of a typed identity; `establishment` is the reference of the Organization that numbers
    its patients.
    """
    patient: Json = {
        "resourceType": "Patient",
        "name": [{"use": "official", "family": typed_identity.family}],
        "extension": [{"url": f"{BASE}/StructureDefinition/identity-status", "valueCode": "provisoire"}],
    }
    if typed_identity.given:
        patient["name"][0]["given"] = [typed_identity.given]
    if typed_identity.sex:
        patient["gender"] = typed_identity.sex
    if typed_identity.birth:
        patient["birthDate"] = iso_date(typed_identity.birth)
    if typed_identity.birth_place:
        place = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
        patient["extension"].append({"url": place, "valueAddress": {"city": typed_identity.birth_place}})
    if typed_identity.id_kind == "ins":
        patient["identifier"] = [
            {
                "use": "official",
                "system": ins_system(typed_identity.id_value),
                "value": typed_identity.id_value,
            }
        ]
    else:
        number = establishment.split("/")[-1] or "inconnu"
        system = f"{BASE}/NamingSystem/ipp/{number}"
        kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "PI"}]}
        item: Json = {"system": system, "value": typed_identity.id_value, "type": kind}
        if establishment:
            item["assigner"] = {"reference": establishment}
        patient["identifier"] = [item]
    return patient


def ins_system(value: str) -> str:
    """The INS-NIR system; the demonstration's numbers (commune 990) have their own, so that they are never
    taken for real.

    fr-core INS-NIR-DEMO
    """
    return INS_SYSTEMS[1] if value[7:10] == "990" else INS_SYSTEMS[0]


def requesters(posts: Sequence[Post]) -> list[str]:
    """The doctors for whom this person writes: references of Practitioners (R050)."""
    return list(dict.fromkeys(ref for post in posts for ref in post.delegate_of))
