"""What the report says: a télédossier reduced to the lines of a page, every one already in French.

Pure and free of layout, so that a test can compare it and another layout can print it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from fhir_server.teledossier import report_words as words
from fhir_server.teledossier.definitions import display, resources
from fhir_server.teledossier.file import Teledossier, outputs, read_mark
from fhir_server.teledossier.vocabulary import (
    BIRTH_PLACE,
    INS_SYSTEMS,
    RPPS,
    Resource,
    code_of,
    family_and_given,
    key,
    target,
    value,
)
from fhir_server.teledossier.writing import Author, Moment


@dataclass(frozen=True, slots=True)
class Party:
    """A professional as the report names them: name, then lines below."""

    name: str
    lines: tuple[str, ...]
    establishment: str
    service: str
    rpps: str


@dataclass(frozen=True, slots=True)
class Milestone:
    """One point of the chronology; `time` "" when it did not happen, `delay` counted from the sending."""

    label: str
    time: str
    delay: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, call or message: heading and text."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page, in the order it is printed."""

    numero: str
    workflow: str
    priority: str
    patient: str
    patient_lines: tuple[str, ...]
    ins: str
    requester: Party
    author: str
    expert: Party
    recipient: str
    milestones: tuple[Milestone, ...]
    form: tuple[tuple[str, str], ...]
    answers: tuple[Said, ...]
    exchanges: tuple[Said, ...]
    exams: tuple[tuple[str, str], ...]
    documents: tuple[str, ...]
    consent: str
    signature: str


def content(file: Teledossier, task: Resource, signer: Author, moment: Moment) -> Report:
    """The report of one recipient's answers."""
    zone, patient = moment.zone, file.patient or {}
    expert, requester = party(file, signer.who), party(file, file.requester)
    rpps = words.RPPS.format(number=expert.rpps) + ", " if expert.rpps else ""
    author = ""
    if file.author != file.requester:
        author = words.AUTHOR.format(author=file.name_of(file.author), requester=requester.name)
    return Report(
        numero=file.numero,
        workflow=display("workflow", file.workflow),
        priority=words.PRIORITY.get(str(file.request.get("priority", "")), ""),
        patient=patient_name(patient),
        patient_lines=tuple(_patient_lines(patient, file.request)),
        ins=_ins(patient),
        requester=requester,
        author=author,
        expert=expert,
        recipient=words.RECIPIENT.format(name=file.name_of(target(task.get("owner")))),
        milestones=tuple(_milestones(file, task, moment)),
        form=tuple(form_lines(file, zone)),
        answers=tuple(_answers(file, task, zone)),
        exchanges=tuple(_exchanges(file, zone)),
        exams=tuple(_exams(file, zone)),
        documents=tuple(_documents(file)),
        consent=_consent(file),
        signature=words.SIGNED.format(name=expert.name, rpps=rpps, time=say_time(moment.occurred, zone)),
    )


def say_time(instant: str, zone: ZoneInfo) -> str:
    """A FHIR instant as `08/08/2024 à 05:34`; a date stays a date; "" for none."""
    if len(instant) < 10:
        return instant
    if len(instant) == 10:
        return date.fromisoformat(instant).strftime(words.DATE)
    moment = datetime.fromisoformat(instant)
    moment = moment.astimezone(zone) if moment.tzinfo else moment
    return moment.strftime(words.TIME)


def party(file: Teledossier, role: str) -> Party:
    """A professional with RPPS, establishment, service and UF, telephone."""
    person = file.people.get(file.practitioner_of(role), {})
    organization = file.organization_of(role)
    service = target(value(file.people.get(role, {}), "service")) or organization
    establishment, chain = "", service or organization
    while chain:
        found = file.people.get(chain, {})
        if code_of(found.get("type"), "organization-type") == "etablissement":
            establishment = str(found.get("name", ""))
        chain = target(found.get("partOf"))
    rpps = next((str(one["value"]) for one in person.get("identifier", ()) if one.get("system") == RPPS), "")
    service_name = str(file.people.get(service, {}).get("name", "")) if service else ""
    telephone = next(
        (str(one["value"]) for one in person.get("telecom", ()) if one.get("system") == "phone"), ""
    )
    lines = [
        words.RPPS.format(number=rpps) if rpps else "",
        establishment,
        _service_line(file.people.get(service, {}), service_name),
        words.TELEPHONE.format(number=telephone) if telephone else "",
    ]
    name = file.name_of(role)
    return Party(name, tuple(line for line in lines if line), establishment, service_name, rpps)


def _service_line(service: Resource, name: str) -> str:
    uf = next(
        (
            str(one["value"])
            for one in service.get("identifier", ())
            if "/NamingSystem/uf/" in one.get("system", "")
        ),
        "",
    )
    return f"{name} ({words.UF.format(number=uf)})" if uf and name else name


def patient_name(patient: Resource) -> str:
    """`LABORDE Henri`."""
    _, given, family = family_and_given(patient)
    return f"{family} {given}".strip()


def _patient_lines(patient: Resource, request: Resource) -> Iterator[str]:
    gender, born = str(patient.get("gender", "")), str(patient.get("birthDate", ""))
    place = next(
        (
            str(one["valueAddress"].get("city", ""))
            for one in patient.get("extension", ())
            if one.get("url") == BIRTH_PLACE and "valueAddress" in one
        ),
        "",
    )
    parts = []
    if born:
        said = f"{words.BORN.get(gender, words.BORN[''])} {say_time(born, ZoneInfo('UTC'))}"
        parts.append(f"{said} {words.AT} {place}" if place else said)
        age = _age(born, str(request.get("authoredOn", "")))
        parts += [words.AGE.format(years=age)] if age is not None else []
    if gender:
        parts.append(words.GENDER.get(gender, gender))
    yield "  ·  ".join(parts)
    identifiers = [f"{words.INS} {_ins(patient)}"]
    status = value(patient, "identity-status")
    if status:
        identifiers[0] += f" ({display('identity-status', str(status)).lower()})"
    for one in patient.get("identifier", ()):
        if "/NamingSystem/ipp/" in one.get("system", ""):
            assigner = str(one.get("assigner", {}).get("display", ""))
            said = f"{words.IPP} {one['value']}"
            identifiers.append(f"{said} ({assigner})" if assigner else said)
    yield "  ·  ".join(identifiers)


def _age(born: str, at: str) -> int | None:
    """Whole years on that day; None for a partial birth date."""
    if len(born) != 10 or len(at) < 10:
        return None
    birth, day = date.fromisoformat(born), date.fromisoformat(at[:10])
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def _ins(patient: Resource) -> str:
    """The INS in the groups people read it by: `1 53 05 32 990 103 37`."""
    number = next(
        (str(one["value"]) for one in patient.get("identifier", ()) if one.get("system") in INS_SYSTEMS), ""
    )
    if len(number) != 15:
        return number or words.NO_INS
    return " ".join(
        number[start:end] for start, end in ((0, 1), (1, 3), (3, 5), (5, 7), (7, 10), (10, 13), (13, 15))
    )


def _milestones(file: Teledossier, task: Resource, moment: Moment) -> Iterator[Milestone]:
    sent, mark = str(task.get("authoredOn", "")), read_mark(task)
    taken = next(
        (one for one in file.of("Provenance") if _is_step(one, "take") and _is_about(one, task)), None
    )
    messages = _messages(file)
    answered = [
        messages[reference] for kind, reference in outputs(task) if kind == "answer" and reference in messages
    ]
    times = (
        sent,
        mark[1] if mark else "",
        str(taken["occurredDateTime"]) if taken else "",
        str(answered[0].get("sent", "")) if answered else "",
        moment.occurred,
    )
    for label, at in zip(words.TIMES, times, strict=True):
        yield Milestone(label, say_time(at, moment.zone), say_delay(sent, at) if at != sent else "")


def _is_step(provenance: Resource, step: str) -> bool:
    return code_of(provenance.get("activity"), "step") == step


def _is_about(provenance: Resource, task: Resource) -> bool:
    return any(target(one) == key(task) for one in provenance.get("target", ()))


def say_delay(start: str, end: str) -> str:
    """The time between two instants, as people say it; "" if either is missing."""
    if len(start) < 11 or len(end) < 11:
        return ""
    minutes = int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() // 60)
    if minutes < 60:
        return words.DELAY.format(minutes=minutes)
    if minutes < 48 * 60:
        return words.DELAY_HOURS.format(hours=minutes // 60, minutes=minutes % 60)
    return words.DELAY_DAYS.format(days=minutes // (24 * 60))


def form_lines(file: Teledossier, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    """(label, answer with its unit) of the form's answered items, in the form's order."""
    form = resources().get(f"Questionnaire/{file.workflow}")
    given = {item.get("linkId"): item.get("answer", ()) for item in (file.answers or {}).get("item", ())}
    for item in form["item"] if form else ():
        said = ", ".join(_say_answer(one, zone) for one in given.get(item["linkId"], ()))
        if said:
            unit = next(
                (one["valueCoding"]["display"] for one in item.get("extension", ()) if _is_unit(one)), ""
            )
            yield item["text"], f"{said} {unit}".strip()
    note = " ".join(str(one.get("text", "")) for one in file.request.get("note", ()))
    if note:
        yield display("communication", "information"), note


def _is_unit(extension: Resource) -> bool:
    return str(extension.get("url", "")).endswith("/questionnaire-unit")


def _say_answer(answer: Resource, zone: ZoneInfo) -> str:
    for field, given in answer.items():
        match field:
            case "valueCoding":
                return str(given.get("display") or given.get("code", ""))
            case "valueBoolean":
                return words.YES_NO[bool(given)]
            case "valueDate" | "valueDateTime":
                return say_time(str(given), zone)
            case "valueDecimal":
                return str(given).replace(".", ",")
            case _ if field.startswith("value") and isinstance(given, str | int):
                return str(given)
    return ""


def _messages(file: Teledossier) -> dict[str, Resource]:
    return {key(one): one for one in file.of("Communication")}


def _text(message: Resource) -> str:
    return "\n".join(str(part.get("contentString", "")) for part in message.get("payload", ()))


def _said_by(message: Resource, zone: ZoneInfo) -> str:
    name = str(message.get("sender", {}).get("display", ""))
    return words.SAID_BY.format(name=name, time=say_time(str(message.get("sent", "")), zone))


def _answers(file: Teledossier, task: Resource, zone: ZoneInfo) -> Iterator[Said]:
    messages = _messages(file)
    for kind, reference in outputs(task):
        if kind == "answer" and reference in messages:
            yield Said(_said_by(messages[reference], zone), _text(messages[reference]))


def _exchanges(file: Teledossier, zone: ZoneInfo) -> Iterator[Said]:
    for message in file.of("Communication"):
        category = code_of(message.get("category"), "communication")
        if category in ("answer", ""):
            continue
        label = display("communication", category)
        minutes = value(message, "duration-minutes")
        if category == "call":
            label = words.CALL_MINUTES.format(minutes=minutes) if minutes is not None else words.CALL
        yield Said(f"{label}  ·  {_said_by(message, zone)}", _text(message))


def _exams(file: Teledossier, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    """(title, detail) of every exam attached, then of those announced and not there yet."""
    attached = set()
    for study in file.of("ImagingStudy"):
        attached |= {str(one.get("value")) for one in study.get("identifier", ())}
        modality = "/".join(str(one.get("code", "")) for one in study.get("modality", ()))
        counts = words.IMAGES.format(
            series=study.get("numberOfSeries", 0), images=study.get("numberOfInstances", 0)
        )
        title = f"{modality}  {study.get('description', '')}".strip()
        yield (
            title,
            "  ·  ".join(one for one in (say_time(str(study.get("started", "")), zone), counts) if one),
        )
    for one in file.request.get("supportingInfo", ()):
        accession = str(one.get("identifier", {}).get("value", ""))
        if one.get("type") == "ImagingStudy" and accession not in attached:
            yield str(one.get("display") or accession), words.ANNOUNCED


def _documents(file: Teledossier) -> Iterator[str]:
    for document in file.of("DocumentReference"):
        for one in document.get("content", ()):
            title = one.get("attachment", {}).get("title") or document.get("description")
            if title:
                yield str(title)


def _consent(file: Teledossier) -> str:
    for consent in file.of("Consent"):
        state = value(consent, "consent-state")
        text = str(value(consent, "consent-text") or "")
        said = display("consent-state", str(state)) if state else ""
        return f"{said}. {text}".strip(". ") + "." if said or text else ""
    return ""
