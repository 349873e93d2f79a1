"""An open télédossier as its page shows it: from the resources of `$everything` to plain values (R093,
R104, R121).

One pure function, `dossier`, over parts with one function each. Templates compute nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.patient import PatientView, patient_view
from smart_launch.app.views.people import Directory, Me, Post
from smart_launch.app.views.questionnaire import Answer, answered
from smart_launch.app.views.reading import (
    BASE,
    WORKFLOW,
    Json,
    by_type,
    code,
    display,
    extension,
    extensions,
    identifier,
    many,
    own_reference,
    reference,
    short_reference,
    value_x,
)
from smart_launch.app.views.steps import Step, actors, editors, possible
from smart_launch.app.views.worklist import grouped, read_mark, recipient_tasks, state_of, task_state


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient's line: its state, its read mark, whom to call."""

    name: str
    establishment: str
    state: str
    state_label: str
    tone: str
    read: str = ""
    read_iso: str = ""
    reader_phone: str = ""
    reader: str = ""
    waiting: str = ""
    waiting_iso: str = ""
    assignee: str = ""


@dataclass(frozen=True, slots=True)
class Exam:
    """One ImagingStudy; `href` opens the viewer."""

    uid: str
    title: str
    modality: str
    date: str
    series: str
    images: str
    thumbnail: str
    href: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """An exam that may belong here: a person decides (never attached by a near match alone)."""

    study: str
    title: str
    why: str


@dataclass(frozen=True, slots=True)
class Document:
    """A joined file, or the report."""

    title: str
    href: str
    kind: str
    size: str
    by: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A Communication: an answer, a call, an information."""

    kind: str
    by: Post
    when: str
    when_iso: str
    text: str
    minutes: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline: who, what, when; the text when there is one."""

    step: str
    title: str
    who: str
    place: str
    when: str
    when_iso: str
    time: str
    text: str
    on_behalf: str = ""
    day: str = ""


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything the page says."""

    id: str
    version: str
    number: str
    title: str
    workflow: str
    workflow_code: str
    priority: str
    priority_label: str
    state: str
    state_label: str
    tone: str
    closed: bool
    sent: str
    sent_iso: str
    visibility: str
    comment: str
    consent: str
    consent_text: str
    patient: PatientView
    requester: Post
    author: Post
    delegated: bool
    recipients: list[Recipient] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    exams: list[Exam] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)
    report: Document | None = None
    timeline: list[Event] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    to_read: bool = False
    notices: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    @property
    def read(self) -> bool:
        return any(recipient.read for recipient in self.recipients)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page is made with: who reads, where, when, by which definitions."""

    me: Me
    directory: Directory
    zone: tzinfo
    now: datetime
    plan: Json
    questionnaire: Json


def references(resources: Iterable[Json]) -> set[str]:
    """Every directory reference the page will want a name for."""
    found: set[str] = set()
    for resource in resources:
        kind = resource.get("resourceType")
        if kind == "ServiceRequest":
            found |= {reference(resource.get("requester")), reference(extension(resource, "author"))}
            found |= {reference(item) for item in many(resource, "performer")}
        elif kind == "Task":
            found |= {
                reference(resource.get("owner")),
                read_mark(resource)[0],
                reference(extension(resource, "assignee")),
            }
        elif kind == "Communication":
            found.add(reference(resource.get("sender")))
        elif kind == "Provenance":
            for agent in many(resource, "agent"):
                found |= {reference(agent.get("who")), reference(agent.get("onBehalfOf"))}
        elif kind == "DiagnosticReport":
            found |= {reference(item) for item in many(resource, "resultsInterpreter")}
        elif kind == "DocumentReference":
            found |= {reference(item) for item in many(resource, "author")}
    return {ref for ref in found if ref}


def request_of(resources: Iterable[Json], id: str) -> Json:
    """The ServiceRequest with this id, or `{}`."""
    return next((item for item in by_type(resources, "ServiceRequest") if item.get("id") == id), {})


def dossier(request: Json, resources: list[Json], setting: Setting) -> Dossier:
    """The page's values. `resources` is the whole of `$everything`."""
    ref = own_reference(request)
    tasks = recipient_tasks(by_type(resources, "Task"), ref)
    state = state_of(request, tasks)
    workflow = code(request.get("category"), WORKFLOW)
    directory, zone = setting.directory, setting.zone
    requester_ref, author_ref = reference(request.get("requester")), reference(extension(request, "author"))
    patients = {own_reference(item): item for item in by_type(resources, "Patient")}
    responses = by_type(resources, "QuestionnaireResponse")
    priority = str(request.get("priority", "routine"))
    consent, consent_text = consent_words(by_type(resources, "Consent"))
    sent = next(
        (at for text in [*(task.get("authoredOn") for task in tasks)] if (at := times.moment(text, zone))),
        None,
    )
    recipients = [recipient(task, setting) for task in tasks] or [
        Recipient(place.name, place.establishment, state, words.label(words.STATES, state), "neutre")
        for place in (directory.place(reference(item)) for item in many(request, "performer"))
    ]
    return Dossier(
        id=str(request.get("id", "")),
        version=str(request.get("meta", {}).get("versionId", "")),
        number=identifier(request, [f"{BASE}/NamingSystem/numero"]),
        title=str(extension(request, "title") or ""),
        workflow=words.label(words.WORKFLOWS, workflow),
        workflow_code=workflow,
        priority=priority,
        priority_label=words.label(words.PRIORITIES, priority),
        state=state,
        state_label=words.label(words.STATES, state),
        tone=words.STATE_TONES.get(state, "neutre"),
        closed=request.get("status") in ("completed", "revoked", "entered-in-error"),
        sent=times.date_at_time(sent) if sent else "",
        sent_iso=sent.isoformat() if sent else "",
        visibility=words.label(words.VISIBILITIES, str(extension(request, "visibility") or "")),
        comment="\n".join(str(note.get("text", "")) for note in many(request, "note")),
        consent=consent,
        consent_text=consent_text,
        patient=patient_view(patients.get(reference(request.get("subject")), {}), setting.now.date()),
        requester=directory.post(requester_ref),
        author=directory.post(author_ref or requester_ref),
        delegated=bool(author_ref) and author_ref != requester_ref,
        recipients=recipients,
        answers=[answer for item in responses for answer in answered(setting.questionnaire, item, zone)],
        exams=exams(by_type(resources, "ImagingStudy"), ref, str(request.get("id", "")), zone),
        proposals=proposals(resources, ref),
        documents=documents(by_type(resources, "DocumentReference"), directory, zone),
        replies=messages(by_type(resources, "Communication"), directory, zone),
        report=report(by_type(resources, "DiagnosticReport"), directory, zone),
        timeline=timeline(resources, directory, zone),
        steps=allowed(request, tasks, setting),
        to_read=to_read(tasks, setting.me),
        notices=[str(value_x(item)) for item in extensions(request, "notice")],
        announced=awaited(request, by_type(resources, "ImagingStudy")),
    )


def recipient(task: Json, setting: Setting) -> Recipient:
    """One Task as a line. The read mark is the sentence of R104."""
    directory, zone = setting.directory, setting.zone
    place = directory.place(reference(task.get("owner")))
    state = task_state(task)
    who, instant = read_mark(task)
    at, sent = times.moment(instant, zone), times.moment(task.get("authoredOn"), zone)
    reader = directory.post(who) if who else Post()
    assignee = reference(extension(task, "assignee"))
    read = ""
    if at:
        read = words.READ_BY.format(name=reader.short_name, date=times.date_of(at), time=times.time_of(at))
    return Recipient(
        name=place.name or reader.short_name,
        establishment=place.establishment,
        state=state,
        state_label=words.label(words.STATES, state),
        tone=words.STATE_TONES.get(state, "neutre"),
        read=read,
        read_iso=at.isoformat() if at else "",
        reader=reader.short_name,
        reader_phone=reader.phone,
        waiting=times.date_at_time(sent) if sent and not at else "",
        waiting_iso=sent.isoformat() if sent and not at else "",
        assignee=directory.who(assignee) if assignee else "",
    )


def to_read(tasks: Iterable[Json], me: Me) -> bool:
    """Whether opening this page is the first reading by one of its recipients."""
    return any(
        task_state(task) == "envoye" and me.is_recipient(reference(task.get("owner"))) for task in tasks
    )


def allowed(request: Json, tasks: list[Json], setting: Setting) -> list[Step]:
    """The steps with an editor that the workflow's plan gives this reader now."""
    requester = reference(request.get("requester"))
    senders = []
    if extension(request, "visibility") == "community":
        senders = [setting.directory.post(requester).community_ref]
    owners = [reference(task.get("owner")) for task in tasks]
    mine = actors(
        setting.me,
        owners,
        requester,
        reference(extension(request, "author")),
        [ref for ref in senders if ref],
    )
    own = [task for task in tasks if setting.me.is_recipient(reference(task.get("owner")))]
    at_recipient = possible(setting.plan, {task_state(task) for task in own}, mine & {"expert", "secretary"})
    at_sender = possible(setting.plan, {task_state(task) for task in tasks}, mine - {"expert", "secretary"})
    return editors({step.code: step for step in [*at_sender, *at_recipient]}.values())


def exams(studies: Iterable[Json], ref: str, id: str, zone: tzinfo) -> list[Exam]:
    """The attached exams, oldest first, with the counts of the grey band."""
    found: list[Exam] = []
    for study in sorted(studies, key=lambda item: str(item.get("started", ""))):
        if ref not in [reference(item) for item in many(study, "basedOn")]:
            continue
        uid = study_uid(study)
        series = int(study.get("numberOfSeries") or len(many(study, "series")))
        images = int(study.get("numberOfInstances") or 0)
        at = times.moment(study.get("started"), zone)
        found.append(
            Exam(
                uid=uid,
                title=exam_title(study),
                modality=modality(study),
                date=times.date_at_time(at) if at else times.day(study.get("started")),
                series=f"{series} série{'s' if series > 1 else ''}",
                images=f"{grouped(images)} image{'s' if images > 1 else ''}",
                thumbnail=f"/dicom-web/studies/{uid}/thumbnail" if uid else "",
                href=f"/dossiers/{id}/images/{uid}" if uid else "",
            )
        )
    return found


def announced(request: Json) -> list[str]:
    """The accession numbers of the exams a requester said would come (logical references)."""
    return [
        str(item["identifier"].get("value", ""))
        for item in many(request, "supportingInfo")
        if item.get("type") == "ImagingStudy" and isinstance(item.get("identifier"), dict)
    ]


def awaited(request: Json, studies: Iterable[Json]) -> list[str]:
    """Those announced that have not come yet."""
    here = {str(item.get("value", "")) for study in studies for item in many(study, "identifier")}
    return [number for number in announced(request) if number not in here]


def study_uid(study: Json) -> str:
    """The Study Instance UID, without `urn:oid:`."""
    return identifier(study, ["urn:dicom:uid"]).removeprefix("urn:oid:")


def modality(study: Json) -> str:
    """The French name of the first modality that is not a mere capture."""
    found = [str(item.get("code", "")) for item in many(study, "modality")]
    found += [str(item.get("modality", {}).get("code", "")) for item in many(study, "series")]
    first = next((name for name in found if name not in ("", "SC", "OT", "PR", "SR")), next(iter(found), ""))
    return words.label(words.MODALITIES, first)


def exam_title(study: Json) -> str:
    return str(study.get("description") or modality(study) or words.EXAM)


def proposals(resources: list[Json], ref: str) -> list[Proposal]:
    """Exams proposed by a near match and not yet decided."""
    studies = {own_reference(item): item for item in by_type(resources, "ImagingStudy")}
    found: list[Proposal] = []
    for task in by_type(resources, "Task"):
        if code(task.get("code"), f"{BASE}/CodeSystem/task") != "associate-exam":
            continue
        if reference(task.get("focus")) != ref or task.get("status") != "requested":
            continue
        for item in many(task, "input"):
            study = reference(item.get("valueReference"))
            if study:
                title = exam_title(studies.get(study, {}))
                found.append(Proposal(study, title, str(task.get("description", ""))))
    return found


def binary_href(url: str) -> str:
    """The address of a Binary on this host, or empty when the attachment is elsewhere: we link to nobody
    else.
    """
    ref = short_reference(url)
    return f"/fhir/{ref}" if ref.startswith("Binary/") else ""


def size_words(size: object) -> str:
    """`210 Ko`, `1,4 Go`."""
    try:
        value = float(str(size))
    except ValueError:
        return ""
    units = iter(words.BYTES)
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    text = f"{value:.1f}".replace(".", ",") if unit == "Go" else f"{value:.0f}"
    return f"{text}\u00a0{unit}"


def _document(attachment: Json, title: str, by: str, at: datetime | None) -> Document:
    name = str(attachment.get("title") or title)
    kind = name.rsplit(".", 1)[-1].upper()[:4] if "." in name else ""
    if not kind and attachment.get("contentType"):
        kind = str(attachment["contentType"]).split("/")[-1].upper()[:4]
    return Document(
        title=name,
        href=binary_href(str(attachment.get("url", ""))),
        kind=kind,
        size=size_words(attachment["size"]) if attachment.get("size") else "",
        by=by,
        when=times.date_at_time(at) if at else "",
    )


def documents(found: Iterable[Json], directory: Directory, zone: tzinfo) -> list[Document]:
    """The joined documents in the order they came."""
    listed: list[Document] = []
    for item in sorted(found, key=lambda each: str(each.get("date", ""))):
        by = next((directory.who(reference(who)) for who in many(item, "author")), "")
        for content in many(item, "content"):
            attachment = content.get("attachment", {})
            title = str(item.get("description") or words.DOCUMENT)
            listed.append(_document(attachment, title, by, times.moment(item.get("date"), zone)))
    return listed


def report(found: Iterable[Json], directory: Directory, zone: tzinfo) -> Document | None:
    """The last signed report as a PDF to open."""
    for item in sorted(found, key=lambda each: str(each.get("issued", "")), reverse=True):
        for form in many(item, "presentedForm"):
            by = next((directory.who(reference(who)) for who in many(item, "resultsInterpreter")), "")
            return _document(form, words.REPORT, by, times.moment(item.get("issued"), zone))
    return None


def messages(found: Iterable[Json], directory: Directory, zone: tzinfo) -> list[Message]:
    """The Communications in time."""
    return [
        message(item, directory, zone) for item in sorted(found, key=lambda each: str(each.get("sent", "")))
    ]


def message(item: Json, directory: Directory, zone: tzinfo) -> Message:
    at = times.moment(item.get("sent"), zone)
    texts = [str(part["contentString"]) for part in many(item, "payload") if part.get("contentString")]
    return Message(
        kind=code(item.get("category"), f"{BASE}/CodeSystem/communication"),
        by=directory.post(reference(item.get("sender"))),
        when=times.date_at_time(at) if at else "",
        when_iso=at.isoformat() if at else "",
        text="\n".join(texts),
        minutes=int(extension(item, "duration-minutes") or 0),
    )


def consent_words(found: Iterable[Json]) -> tuple[str, str]:
    """The consent's state in words and what was said about it (R151)."""
    state, text = consent_codes(found)
    return (words.label(words.CONSENTS, state) if state else ""), text


def consent_codes(found: Iterable[Json]) -> tuple[str, str]:
    """The consent's state as a code, and its text."""
    for item in found:
        state = str(extension(item, "consent-state") or "") or code(
            item.get("category"), f"{BASE}/CodeSystem/consent-state"
        )
        text = str(extension(item, "consent-text") or "")
        return state, text or " ".join(str(note.get("text", "")) for note in many(item, "note"))
    return "", ""


def timeline(resources: list[Json], directory: Directory, zone: tzinfo) -> list[Event]:
    """The Provenances in the order of what they tell."""
    by_ref = {own_reference(item): item for item in resources}
    found = [event(item, by_ref, directory, zone) for item in by_type(resources, "Provenance")]
    return sorted(found, key=lambda each: each.when_iso)


def event(item: Json, by_ref: dict[str, Json], directory: Directory, zone: tzinfo) -> Event:
    step = code(item.get("activity"), f"{BASE}/CodeSystem/step") or code(item.get("activity"))
    at = times.moment(item.get("occurredDateTime") or item.get("recorded"), zone)
    agent: Json = next(iter(many(item, "agent")), {})
    who = reference(agent.get("who"))
    behalf = reference(agent.get("onBehalfOf"))
    post = directory.post(who) if who else Post()
    targets = [by_ref.get(reference(target), {}) for target in many(item, "target")]
    return Event(
        step=step,
        title=words.STEPS_DONE.get(step) or display(item.get("activity")) or step,
        who=post.short_name or str(agent.get("who", {}).get("display", "")) or words.PLATFORM,
        place=post.service or post.community or post.establishment,
        when=times.date_at_time(at) if at else "",
        when_iso=at.isoformat() if at else "",
        time=times.time_of(at) if at else "",
        text=event_text(targets),
        on_behalf=directory.who(behalf) if behalf and behalf != who else "",
        day=times.date_of(at) if at else "",
    )


def event_text(targets: Iterable[Json]) -> str:
    """What a step wrote, in a line: its message, the exam's or document's title."""
    texts: list[str] = []
    for target in targets:
        kind = target.get("resourceType")
        if kind == "Communication":
            minutes = extension(target, "duration-minutes")
            texts += [f"{minutes} min"] if minutes else []
            texts += [
                str(part["contentString"]) for part in many(target, "payload") if part.get("contentString")
            ]
        elif kind == "ImagingStudy":
            texts.append(exam_title(target))
        elif kind == "DocumentReference":
            attachment: Json = next((part.get("attachment", {}) for part in many(target, "content")), {})
            texts.append(str(attachment.get("title") or target.get("description") or words.DOCUMENT))
    return " · ".join(text for text in texts if text)
