"""The list of télédossiers, home of everyone (R098–R101): what to ask FHIR, and the rows that come of it.

Order: vital and unread first, then newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from urllib.parse import urlencode

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.exams import awaited, awaited_words, image_words
from smart_launch.app.views.patient import PatientView, patient_view
from smart_launch.app.views.people import Directory, Me
from smart_launch.app.views.reading import (
    BASE,
    WORKFLOW,
    Json,
    code,
    extensions,
    identifier,
    many,
    own_reference,
    reference,
)

TABS: Mapping[str, str] = {
    "a-traiter": "À traiter",
    "recus": "Reçus",
    "envoyes": "Envoyés",
    "clos": "Clos",
    "tous": "Tous",
}
COUNT = 30
WAITING_MOST = 300  # of each side: what waits is shown whole
RANK = ("brouillon", "reoriente", "annule", "refuse", "envoye", "lu", "complement-demande", "pris-en-charge")
RANK_LAST = ("repondu", "clos")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the reader asked for; every value is checked against its table, anything else is dropped."""

    tab: str = "a-traiter"
    workflow: str = ""
    state: str = ""
    priority: str = ""
    text: str = ""
    cursor: str = ""

    @property
    def narrowed(self) -> bool:
        return bool(self.workflow or self.state or self.priority or self.text)

    def query(self, **changes: str) -> str:
        """The page's own query for these filters, without the name searched for: addresses carry no patient
        data.
        """
        values = {"vue": self.tab, "workflow": self.workflow, "etat": self.state, "priorite": self.priority}
        return urlencode([(name, value) for name, value in (values | changes).items() if value])


def filters(query: Mapping[str, str]) -> Filters:
    tab = query.get("vue", "a-traiter")
    return Filters(
        tab=tab if tab in TABS else "a-traiter",
        workflow=_known(query.get("workflow", ""), words.WORKFLOWS),
        state=_known(query.get("etat", ""), words.STATES),
        priority=_known(query.get("priorite", ""), words.PRIORITIES),
        text=query.get("patient", "").strip()[:80],
        cursor=query.get("page", "")[:2000],
    )


def _known(value: str, table: Mapping[str, str]) -> str:
    return value if value in table else ""


def search_params(
    wanted: Filters, received_by: Iterable[str], sent_by: Iterable[str], side: str = ""
) -> list[tuple[str, str]]:
    """The FHIR search of a tab. `received_by`: my communities and posts; `sent_by`: the posts that write
    for them; `side`: `recipient` or `sender`, for the two halves of what waits.
    """
    params: list[tuple[str, str]] = []
    status = {"a-traiter": "active", "recus": "active,completed", "clos": "completed,revoked"}.get(
        wanted.tab, ""
    )
    if wanted.state == "brouillon":
        params.append(("status", "draft"))
    elif status:
        params.append(("status", status))
    if wanted.tab == "recus" or side == "recipient":
        params.append(("performer", ",".join(sorted(received_by)) or "Organization/-"))
    if wanted.tab == "envoyes" or side == "sender":
        params.append(("requester", ",".join(sorted(sent_by)) or "PractitionerRole/-"))
    if wanted.workflow:
        params.append(("category", f"{WORKFLOW}|{wanted.workflow}"))
    if wanted.priority:
        params.append(("priority", wanted.priority))
    state = wanted.state or ",".join(
        {"recipient": WAITING_FOR_RECIPIENT, "sender": WAITING_FOR_SENDER}.get(side, ())
    )
    if state and state != "brouillon":
        params.append(("_has:Task:focus:business-status", state))
    for word in wanted.text.split():
        params.append(("subject:Patient.name", word.replace(",", "\\,")))
    return params


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list. `when` is the sending (or last change of a draft)."""

    id: str
    number: str
    patient: PatientView
    workflow: str
    workflow_code: str
    priority: str
    priority_label: str
    state: str
    state_label: str
    tone: str
    unread: bool
    mine: bool
    sender: str
    recipients: str
    read_mark: str
    when: str
    when_iso: str
    when_full: str
    images: str
    awaited: str
    href: str

    @property
    def urgent_unread(self) -> bool:
        return self.priority == "stat" and self.unread


@dataclass(frozen=True, slots=True)
class Worklist:
    """One page of rows, and the cursor of the next."""

    rows: list[Row] = field(default_factory=list)
    next: str = ""


def state_of(request: Json, tasks: Iterable[Json]) -> str:
    """The state of the whole télédossier: of its recipients, the one who is furthest."""
    status = request.get("status")
    if status == "draft":
        return "brouillon"
    if status == "entered-in-error":
        return "erreur-de-dossier"
    states = [task_state(task) for task in tasks]
    order = (*RANK, *RANK_LAST)
    known = [state for state in states if state in order]
    if status == "completed":
        return "clos"
    if status == "revoked":
        return max(known, key=order.index) if known else "annule"
    return max(known, key=order.index) if known else "envoye"


def task_state(task: Json) -> str:
    return code(task.get("businessStatus"), f"{BASE}/CodeSystem/business-status") or code(
        task.get("businessStatus")
    )


def read_mark(task: Json) -> tuple[str, str]:
    """The first reading by a recipient: (PractitionerRole reference, instant), or two empty strings
    (R103).
    """
    for mark in extensions(task, "read-mark"):
        parts = {item.get("url", "").rsplit("/", 1)[-1]: item for item in many(mark, "extension")}
        who = reference(parts.get("by", {}).get("valueReference"))
        return who, str(
            parts.get("at", {}).get("valueInstant") or parts.get("at", {}).get("valueDateTime") or ""
        )
    return "", ""


def recipient_tasks(tasks: Iterable[Json], request: str) -> list[Json]:
    """The Tasks of a télédossier's recipients, without the proposals of exams."""
    return [
        task
        for task in tasks
        if reference(task.get("focus")) == request
        and code(task.get("code"), f"{BASE}/CodeSystem/task") != "associate-exam"
    ]


WAITING_FOR_RECIPIENT = ("envoye", "lu", "pris-en-charge", "complement-demande")
WAITING_FOR_SENDER = ("repondu", "complement-demande")


def waits(tasks: Iterable[Json], said: Iterable[Json], me: Me, *, sender: bool) -> bool:
    """Whether a télédossier waits for this reader: as recipient until answered; as sender while more is
    asked, or the last answer is not acknowledged. `tasks` its recipients', `said` its Communications.
    """
    tasks = list(tasks)
    mine = [task for task in tasks if me.is_recipient(reference(task.get("owner")))]
    if any(task_state(task) in WAITING_FOR_RECIPIENT for task in mine):
        return True
    states = {task_state(task) for task in tasks}
    if not sender or not states & set(WAITING_FOR_SENDER):
        return False
    if "complement-demande" in states:
        return True
    last = dict.fromkeys(("answer", "acknowledgement"), "")
    for item in said:
        kind = code(item.get("category"), f"{BASE}/CodeSystem/communication")
        if kind in last:
            last[kind] = max(last[kind], str(item.get("sent", "")))
    return not last["acknowledgement"] or last["answer"] > last["acknowledgement"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the rows are made of."""

    tasks: list[Json]
    studies: list[Json]
    patients: Mapping[str, Json]
    directory: Directory


def row(request: Json, sources: Sources, me: Me, zone: tzinfo, now: datetime) -> Row:
    """One télédossier as a line."""
    ref = own_reference(request)
    tasks = recipient_tasks(sources.tasks, ref)
    state = state_of(request, tasks)
    requester = sources.directory.post(reference(request.get("requester")))
    workflow = code(request.get("category"), WORKFLOW)
    sent = [task.get("authoredOn") for task in tasks] + [request.get("authoredOn")]
    changed = request.get("meta", {}).get("lastUpdated")
    at = next((found for text in [*sent, changed] if (found := times.moment(text, zone))), None)
    studies = [
        study for study in sources.studies if ref in [reference(item) for item in many(study, "basedOn")]
    ]
    priority = str(request.get("priority", "routine"))
    performers = [sources.directory.who(reference(item)) for item in many(request, "performer")]
    return Row(
        id=str(request["id"]),
        number=identifier(request, [f"{BASE}/NamingSystem/numero"]),
        patient=patient_view(sources.patients.get(reference(request.get("subject")), {}), now.date()),
        workflow=words.label(words.WORKFLOWS, workflow),
        workflow_code=workflow,
        priority=priority,
        priority_label=words.label(words.PRIORITIES, priority),
        state=state,
        state_label=words.label(words.STATES, state),
        tone=words.STATE_TONES.get(state, "neutre"),
        unread=state == "envoye",
        mine=any(me.is_recipient(reference(task.get("owner"))) for task in tasks),
        sender=requester.place or requester.short_name,
        recipients=", ".join(name for name in performers if name),
        read_mark=_read_words(tasks, sources.directory, zone, now),
        when=times.ago(at, now) if at else "",
        when_iso=at.isoformat() if at else "",
        when_full=times.date_at_time(at) if at else "",
        images=image_words(studies),
        awaited=awaited_words(len(awaited(request, studies))),
        href=f"/dossiers/{request['id']}/formulaire"
        if state == "brouillon"
        else f"/dossiers/{request['id']}",
    )


def _read_words(tasks: list[Json], directory: Directory, zone: tzinfo, now: datetime) -> str:
    """`Lu par Dr Durand à 05h34`, dated when it was not today."""
    marks = sorted((at, who) for who, at in (read_mark(task) for task in tasks) if at)
    if not marks:
        return ""
    instant, who = marks[0]
    at = times.moment(instant, zone)
    if at is None:
        return ""
    name = directory.who(who)
    if at.date() == now.astimezone(zone).date():
        return words.READ_BY_SHORT.format(name=name, time=times.time_of(at))
    return words.READ_BY_SHORT_DATED.format(name=name, date=times.date_of(at), time=times.time_of(at))


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Vital and unread first, then newest; equal rows keep their order."""
    newest = sorted(rows, key=lambda line: line.when_iso, reverse=True)
    return sorted(newest, key=lambda line: not line.urgent_unread)
