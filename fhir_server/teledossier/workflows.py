"""Workflows as tables: what a PlanDefinition of ours says, read into frozen values, and what is possible
when.

A transition names the states it leaves from, the state it goes to (none: it stays; `reprise`: back to where
the file was before it was put on hold) and who may make it. A new specialty is a new PlanDefinition and
Questionnaire.
FHIR R4 plandefinition.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fhir_server.teledossier.definitions import concepts, properties, resources
from fhir_server.teledossier.vocabulary import Resource, code_of, extensions, value
from profiles.outcomes import Invalid

DRAFT = "brouillon"
RESUME = "reprise"


@dataclass(frozen=True, slots=True)
class Transition:
    """From one of `sources` to `to` ("" = no change), by a person of one of the `actors`' qualities."""

    sources: frozenset[str]
    to: str
    actors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one workflow. `needs`: text, reason, recipient, patient, form; `message`: the category of
    the Communication it writes, "" for none."""

    code: str
    transitions: tuple[Transition, ...]
    needs: frozenset[str]
    message: str

    @property
    def actors(self) -> frozenset[str]:
        """Everyone who may ever make it."""
        return frozenset(actor for transition in self.transitions for actor in transition.actors)

    def leave(self, state: str, qualities: frozenset[str]) -> Transition | None:
        """The transition out of `state` for a person of these qualities."""
        for transition in self.transitions:
            if state in transition.sources and transition.actors & qualities:
                return transition
        return None


@dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow: its steps in the table's order, the priority it starts with, its form's id."""

    code: str
    title: str
    priority: str
    form: str
    steps: tuple[Step, ...]

    def step(self, code: str) -> Step | None:
        return next((step for step in self.steps if step.code == code), None)


def _step(action: Resource) -> Step:
    transitions = []
    for one in extensions(action, "transition"):
        parts = [(part["url"], part["valueCode"]) for part in one["extension"]]
        named = {
            name: frozenset(code for url, code in parts if url == name) for name in ("from", "to", "actor")
        }
        transitions.append(Transition(named["from"], next(iter(named["to"]), ""), named["actor"]))
    return Step(
        code_of(action["code"], "step"),
        tuple(transitions),
        frozenset(one["valueCode"] for one in extensions(action, "needs")),
        str(value(action, "message") or ""),
    )


@cache
def workflow(code: str) -> Workflow:
    """The table of one workflow. Raises Invalid for a code without one."""
    plan = resources().get(f"PlanDefinition/{code}")
    if plan is None:
        raise Invalid("unknown-workflow", f"no workflow {code!r}; known: {', '.join(workflow_codes())}")
    return Workflow(
        code,
        plan["title"],
        str(value(plan, "default-priority") or "routine"),
        plan["relatedArtifact"][0]["resource"].rsplit("/", 1)[1],
        tuple(_step(action) for action in plan["action"]),
    )


@cache
def workflow_codes() -> tuple[str, ...]:
    """The workflows a télédossier can be started in."""
    return tuple(code for code in concepts("workflow") if f"PlanDefinition/{code}" in resources())


def is_live(state: str) -> bool:
    """Whether a recipient's part still waits for something."""
    return bool(properties("business-status", state).get("live", False))


def rank(state: str) -> int:
    """How far a state has come; the furthest recipient gives the file its state."""
    return int(properties("business-status", state).get("rank", 0))


def task_status(state: str) -> str:
    """Task.status of a state."""
    return str(properties("business-status", state)["task-status"])
