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
from smart_launch.app.views.exams import Exam, Proposal, awaited, exams, proposals
from smart_launch.app.views.patient import PatientView, patient_view
from smart_launch.app.views.people import Directory, Me, Post
from smart_launch.app.views.questionnaire import Answer, answered
from smart_launch.app.views.reading import (
    BASE,
    WORKFLOW,
    Json,
    by_type,
    code,
    extension,
    extensions,
    identifier,
    many,
    own_reference,
    reference,
    value_x,
)
from smart_launch.app.views.steps import Step, actors, editors, possible
from smart_launch.app.views.story import (
    Document,
    Event,
    Message,
    consent_words,
    documents,
    messages,
    report,
    timeline,
)
from smart_launch.app.views.worklist import read_mark, recipient_tasks, state_of, task_state


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
        # nobody is offered a call to himself
        reader_phone="" if reader.practitioner == setting.me.practitioner else reader.phone,
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
