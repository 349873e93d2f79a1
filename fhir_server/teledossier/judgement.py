"""Whether a step is possible now, for this person: the table applied to one télédossier.

Pure. A refusal says why, in French for the people on the screen, and lists what is possible instead: one
issue of slug `possible-step` per step, its code in `diagnostics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.teledossier.actors import Actor, Position
from fhir_server.teledossier.definitions import concepts, display, say
from fhir_server.teledossier.file import Teledossier, outputs, state_of
from fhir_server.teledossier.vocabulary import Resource, target, value
from fhir_server.teledossier.workflows import DRAFT, Step, Workflow, workflow_codes
from fhir_server.teledossier.workflows import workflow as workflow_of
from profiles.outcomes import Conflict, Forbidden, Invalid, Issue, TeledossierError

NOT_STEPS = frozenset({"start", "save", "discard", "attach"})
"""Codes of CodeSystem `step` that belong to other operations."""


@dataclass(frozen=True, slots=True)
class Move:
    """One recipient's Task (None: the draft) going to state `to` ("" = it stays), by a person in
    `position`."""

    task: Resource | None
    to: str
    position: Position


def moves(file: Teledossier, step: Step, actor: Actor) -> list[Move]:
    """Every way this person can make this step now. The sender's side moves all recipients at once, a
    recipient only their own part."""
    found: list[Move] = []
    if file.state == DRAFT:
        transition = step.leave(DRAFT, actor.sender.qualities)
        return [Move(None, transition.to, actor.sender)] if transition else []
    for task in file.tasks:
        for position in (actor.sender, actor.recipients.get(task["id"])):
            transition = step.leave(state_of(task), position.qualities) if position else None
            if transition and position and not _nothing_new(step.code, task):
                found.append(Move(task, transition.to, position))
                break
    return found


def _nothing_new(step: str, task: Resource) -> bool:
    """A report is signed when there is an answer that the last report does not hold."""
    kinds = [kind for kind, _ in outputs(task) if kind in ("answer", "report")]
    return step == "sign-report" and kinds[-1:] != ["answer"]


def is_settled(task: Resource) -> bool:
    """The last answer is in a signed report and was acknowledged: nothing is left to do."""
    kinds = [kind for kind, _ in outputs(task)]
    if "answer" not in kinds:
        return False
    since = kinds[len(kinds) - 1 - kinds[::-1].index("answer") :]
    return "report" in since and "acknowledgement" in since


def possible(file: Teledossier, flow: Workflow, actor: Actor) -> tuple[str, ...]:
    """The codes of the steps this person can make now, in the table's order."""
    return tuple(step.code for step in flow.steps if moves(file, step, actor))


def judge(file: Teledossier, flow: Workflow, code: str, actor: Actor) -> tuple[Step, list[Move]]:
    """The step and its moves. Raises Invalid (no such step), Forbidden (never this person's), Conflict (not
    now)."""
    step = flow.step(code)
    if step is None:
        if code not in concepts("step") or code in NOT_STEPS:
            raise Invalid("unknown-step", f"no step {code!r}; known: {', '.join(known_steps())}")
        built = any(workflow_of(other).step(code) for other in workflow_codes())
        raise refusal(Conflict, "not-in-workflow" if built else "not-built", file, flow, code, actor)
    if not step.actors & actor.qualities:
        words = "own-request" if actor.own and step.actors <= {"expert", "secretary"} else "not-your-step"
        raise refusal(Forbidden, words, file, flow, code, actor)
    found = moves(file, step, actor)
    if not found:
        raise refusal(Conflict, _why_not(file, code, actor), file, flow, code, actor)
    return step, found


def known_steps() -> list[str]:
    """The codes `$step` knows, built or not."""
    return [code for code in concepts("step") if code not in NOT_STEPS]


def _why_not(file: Teledossier, code: str, actor: Actor) -> str:
    """Which sentence explains it best."""
    mine = [task for task in file.tasks if task["id"] in actor.recipients]
    if code == "take" and any(_taker(file, task) for task in mine):
        return "taken-by-other"
    if code == "sign-report" and any(_nothing_new(code, task) and is_reported(task) for task in mine):
        return "report-up-to-date"
    return "illegal-step"


def is_reported(task: Resource) -> bool:
    """Whether a report was ever signed for this recipient."""
    return any(kind == "report" for kind, _ in outputs(task))


def _taker(file: Teledossier, task: Resource) -> str:
    return file.name_of(target(value(task, "assignee")))


def refusal(
    kind: type[TeledossierError], words: str, file: Teledossier, flow: Workflow, code: str, actor: Actor
) -> TeledossierError:
    """The error with its reason in both languages and what is possible now."""
    now = possible(file, flow, actor)
    takers = [
        name for name in (_taker(file, task) for task in file.tasks if task["id"] in actor.recipients) if name
    ]
    text = say(
        words,
        step=display("step", code),
        state=display("business-status", file.state),
        possible=", ".join(display("step", one) for one in now) or say("nothing"),
        name=", ".join(takers),
    )
    slug = "not-your-step" if kind is Forbidden else "illegal-step"
    by = f" ({words}: {', '.join(takers)})" if words == "taken-by-other" else f" ({words})"
    diagnostics = (
        f"step '{code}' is refused in state '{file.state}'{by if words != slug else ''}; "
        f"possible now: {', '.join(now) or 'nothing'}"
    )
    return kind(slug, diagnostics, issues=_issues(kind.code, slug, diagnostics, text, now))


def _issues(kind: str, slug: str, diagnostics: str, text: str, now: Sequence[str]) -> list[Issue]:
    first = Issue("error", kind, slug, diagnostics, text=text)
    return [first] + [
        Issue("information", "informational", "possible-step", one, text=display("step", one)) for one in now
    ]
