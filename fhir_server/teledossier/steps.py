"""A step: from the télédossier as it stands to the one transaction that moves it.

Pure: (file, workflow, actor, what was given, when) → Bundle, or a refusal. What a step needs, says and where
it leads is the table's (workflows); what it leaves in FHIR resources is here, once for all workflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from fhir_server.teledossier.actors import Actor, audience_of
from fhir_server.teledossier.completeness import check_complete, missing_answers
from fhir_server.teledossier.definitions import display, say
from fhir_server.teledossier.file import Teledossier, read_mark, state_of
from fhir_server.teledossier.judgement import Move, is_settled, judge
from fhir_server.teledossier.signing import sign
from fhir_server.teledossier.vocabulary import Resource, concept, key, ref, target, value, with_extension
from fhir_server.teledossier.workflows import RESUME, Step, Workflow, is_live, task_status, workflow
from fhir_server.teledossier.writing import PLATFORM, Author, Moment, Writing
from profiles.outcomes import Issue, Unprocessable


@dataclass(frozen=True, slots=True)
class Given:
    """What came with the step. `reason` is a CodeableConcept; `closes` None: the rule decides. `recipients`:
    `Type/id`, already resolved."""

    text: str = ""
    reason: Resource | None = None
    minutes: int | None = None
    closes: bool | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Making:
    """One step being made: everything its parts look at."""

    file: Teledossier
    step: Step
    moves: tuple[Move, ...]
    given: Given
    author: Author
    writing: Writing

    @property
    def moment(self) -> Moment:
        return self.writing.moment


def take_step(
    file: Teledossier,
    flow: Workflow,
    code: str,
    actor: Actor,
    given: Given,
    moment: Moment,
    new_id: Callable[[], str],
) -> Resource:
    """The transaction of one step. Raises Invalid, Forbidden, Conflict (judgement), Unprocessable (something
    it needs is missing)."""
    step, moves = judge(file, flow, code, actor)
    if given.recipients:
        file = _addressed(file, given.recipients)
    check_needs(step, given, file, flow)
    author = author_of(file, actor, moves[0])
    making = Making(file, step, tuple(moves), given, author, Writing(moment, new_id))
    if step.code == "read" and not any(move.to for move in moves):
        making.writing.audit("read", author, [file.reference, target(file.request.get("subject"))])
        return making.writing.bundle()
    written = _send(making) if step.code == "send" else _move(making)
    making.writing.trace(step.code, author, [file.reference, *written], reason=given.reason)
    _close_if_done(making, written)
    making.writing.audit(step.code, author, [file.reference, target(file.request.get("subject"))])
    return making.writing.bundle()


def author_of(file: Teledossier, actor: Actor, move: Move) -> Author:
    """Who makes the move, and for whom when a delegate does."""
    delegated = move.position.role == file.author != file.requester
    who = move.position.role or actor.practitioner
    name = file.name_of(who) or file.name_of(actor.practitioner)
    return Author(who, name, actor.practitioner, file.requester if delegated else "")


def check_needs(step: Step, given: Given, file: Teledossier, flow: Workflow) -> None:
    """Raises Unprocessable with everything that is missing at once."""
    issues = []
    for need, got in (("text", given.text.strip()), ("reason", given.reason)):
        if need in step.needs and not got:
            text = say(f"missing-{need}", step=display("step", step.code))
            issues.append(
                Issue("error", "required", f"missing-{need}", f"step '{step.code}' needs a {need}", text=text)
            )
    issues += check_complete(file, flow, step.needs)
    if issues:
        raise Unprocessable(issues[0].slug, issues[0].diagnostics, issues=issues)


def _addressed(file: Teledossier, recipients: Iterable[str]) -> Teledossier:
    """The file with other recipients."""
    performer = [ref(one, file.name_of(one)) for one in recipients]
    return replace(file, request={**file.request, "performer": performer})


def _send(making: Making) -> list[str]:
    """The draft becomes active: one Task per recipient, the audience opens, the form is completed."""
    file, writing = making.file, making.writing
    request = {**file.request, "status": "active", "authoredOn": making.moment.occurred}
    request = with_extension(
        request, "audience", *({"valueReference": ref(one)} for one in audience_of(request, file.people))
    )
    writing.replace(request)
    written = []
    for recipient in request.get("performer", ()):
        task = {
            "resourceType": "Task",
            "status": task_status("envoye"),
            "businessStatus": status_of("envoye"),
            "intent": "order",
            "priority": request.get("priority", "routine"),
            "code": concept("task", "respond", display("task", "respond")),
            "focus": ref(file.reference),
            "for": request["subject"],
            "authoredOn": making.moment.occurred,
            "lastModified": making.moment.occurred,
            "requester": request["requester"],
            "owner": recipient,
        }
        written.append(key(writing.create(task)))
    if file.answers and file.answers.get("status") != "completed":
        missing = next(missing_answers(workflow(file.workflow).form, file.answers), None)
        status = "completed" if missing is None else "in-progress"  # a vital emergency goes without waiting
        writing.replace({**file.answers, "status": status, "authored": making.moment.occurred})
    return written


def _move(making: Making) -> list[str]:
    """A message if the step says something, then each Task it moves, then the request itself: its version is
    what two people racing for the same file collide on."""
    written = []
    message = _message(making) if making.step.message else None
    if message:
        written.append(key(message))
    output = (making.step.message, key(message)) if message else None
    if making.step.code == "sign-report":
        made = sign(making.file, _stamped(making), making.author, making.writing)
        written += made
        output = ("report", made[0])
    closed = False
    tasks: dict[str, Resource] = {}
    for move in making.moves:
        if move.task is not None:
            task = _moved(making, move, output)
            tasks[task["id"]] = task
            closed = closed or (state_of(task) == "clos")
            making.writing.replace(task)
            written.append(key(task))
    making.writing.replace({**making.file.request, "status": request_status(making.file, tasks)})
    return written


def _stamped(making: Making) -> Resource:
    """The Task the report is about."""
    return next(move.task for move in making.moves if move.task is not None)


def _moved(making: Making, move: Move, output: tuple[str, str] | None) -> Resource:
    """The next version of one recipient's Task."""
    assert move.task is not None
    task, code, state = dict(move.task), making.step.code, state_of(move.task)
    if output and output[0] in ("answer", "acknowledgement", "report"):
        made = {"type": concept("task-part", output[0]), "valueReference": ref(output[1])}
        task["output"] = [*task.get("output", ()), made]
    if code == "read" and read_mark(task) is None:
        mark = [
            {"url": "by", "valueReference": ref(move.position.role, making.author.name)},
            {"url": "at", "valueInstant": making.moment.occurred},
        ]
        task = with_extension(task, "read-mark", {"extension": mark})
    if code in ("take", "answer") and value(task, "assignee") is None:
        task = with_extension(
            task, "assignee", {"valueReference": ref(move.position.role, making.author.name)}
        )
    if code == "request-information":
        task = with_extension(task, "held-from", {"valueCode": state})
    if making.given.reason:
        task["statusReason"] = making.given.reason
    return _in_state(task, _next_state(making, move, task), making.moment)


def _next_state(making: Making, move: Move, task: Resource) -> str:
    """Where the Task goes: by the table, by the rule that a settled file closes, or as the person says
    (`closes`)."""
    state, closes, code = state_of(task), making.given.closes, making.step.code
    if move.to == RESUME:
        return str(value(task, "held-from") or "lu")
    if code == "acknowledge":
        if closes is False:
            return state
        if closes:
            return "clos"
    if code in ("acknowledge", "sign-report") and is_settled(task) and closes is not False:
        return "clos"
    return move.to or state


def _in_state(task: Resource, state: str, moment: Moment) -> Resource:
    return {
        **task,
        "status": task_status(state),
        "businessStatus": status_of(state),
        "lastModified": moment.occurred,
    }


def status_of(state: str) -> Resource:
    """Task.businessStatus of a state, with its French words."""
    return concept("business-status", state, display("business-status", state))


def request_status(file: Teledossier, changed: Mapping[str, Resource]) -> str:
    """ServiceRequest.status once these Tasks are written: active while one recipient is still at it,
    completed if one came to an end, else revoked."""
    if not file.tasks:
        return str(file.request["status"])
    states = [state_of(changed.get(task["id"], task)) for task in file.tasks]
    if any(is_live(state) for state in states):
        return "active"
    return "completed" if "clos" in states else "revoked"


def _message(making: Making) -> Resource:
    """The Communication of a step that says something."""
    given, file = making.given, making.file
    category = making.step.message
    about = [ref(key(move.task)) for move in making.moves if move.task is not None]
    message: Resource = {
        "resourceType": "Communication",
        "basedOn": [ref(file.reference)],
        "status": "completed",
        "category": [concept("communication", category, display("communication", category))],
        "subject": file.request["subject"],
        "sent": making.moment.occurred,
        "sender": ref(making.author.who, making.author.name),
    }
    if about:
        message["about"] = about
    if given.text.strip():
        message["payload"] = [{"contentString": given.text.strip()}]
    if making.step.code == "log-call" and given.minutes is not None:
        message = with_extension(message, "duration-minutes", {"valueInteger": given.minutes})
    return making.writing.create(message)


def _close_if_done(making: Making, written: Iterable[str]) -> None:
    """Closing by itself is the platform's own entry in the timeline."""
    ended = [
        entry["resource"]
        for entry in making.writing.entries
        if entry.get("resource", {}).get("resourceType") == "Task" and state_of(entry["resource"]) == "clos"
    ]
    if ended and making.step.code != "close":
        making.writing.trace("close", Author("", PLATFORM), [making.file.reference, *map(key, ended)])
