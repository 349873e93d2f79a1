"""Which steps a person can take now, read from the workflow's PlanDefinition: the server's own table, not a
copy.

The server judges again when the step comes; this only decides which buttons to show. A transition names the
states it leaves from and the actors who may take it; an action without a transition from the present state
is not offered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smart_launch.app.views.people import Me
from smart_launch.app.views.reading import Json, code, extensions, many, value_x

STEP = "https://teledossier.example/fhir/CodeSystem/step"
EXPERT_ROLES = frozenset({"requis", "tiers", "coordonnateur-rcp"})
SECRETARY_ROLES = frozenset({"secretariat-rcp", "secretariat-recours"})
AUTHOR_ROLES = frozenset({"auteur-delegue", "secretariat-requerant"})
# editors of this page, in the order shown; what is not here has no editor yet
EDITORS = (
    "answer",
    "sign-report",
    "log-call",
    "take",
    "acknowledge",
    "request-information",
    "add-information",
    "agree-protocol",
    "close",
    "refuse",
    "cancel",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step as offered: `needs` are `text`, `reason`, `recipient`…"""

    code: str
    title: str
    needs: tuple[str, ...] = ()


def actors(
    me: Me, owners: Iterable[str], requester: str, author: str, senders: Iterable[str]
) -> frozenset[str]:
    """What I am in this télédossier. `owners`: the recipients; `senders`: the sender's communities, when
    they share.
    """
    found: set[str] = set()
    roles = {role for post in me.posts for role in post.roles}
    if any(me.is_recipient(owner) for owner in owners):
        found |= {"secretary"} if roles & SECRETARY_ROLES else set()
        found |= {"expert"} if roles & EXPERT_ROLES else set()
    if me.is_author(requester):
        found.add("requester")
    if me.is_author(author):
        found.add("author")
    if {post.community_ref for post in me.posts} & set(senders):
        found |= {"requester"} if "requerant" in roles else set()
        found |= {"author"} if roles & AUTHOR_ROLES else set()
        found |= {"radiographer"} if "manipulateur" in roles else set()
    return frozenset(found)


def possible(plan: Json, states: Iterable[str], mine: frozenset[str]) -> list[Step]:
    """The steps of the plan that one of these states (one per recipient) allows to one of these actors."""
    present = set(states)
    found: list[Step] = []
    for action in many(plan, "action"):
        step = code(action.get("code"), STEP) or str(action.get("id", ""))
        if any(_leaves(transition, present, mine) for transition in extensions(action, "transition")):
            needs = tuple(str(value_x(item)) for item in extensions(action, "needs"))
            found.append(Step(step, str(action.get("title", step)), needs))
    return found


def _leaves(transition: Json, present: set[str], mine: frozenset[str]) -> bool:
    parts = [(item.get("url"), value_x(item)) for item in many(transition, "extension")]
    froms = {value for name, value in parts if name == "from"}
    who = {value for name, value in parts if name == "actor"}
    return bool(froms & present) and bool(who & mine)


def editors(steps: Iterable[Step]) -> list[Step]:
    """Those with an editor, in the page's order."""
    by_code = {step.code: step for step in steps}
    return [by_code[name] for name in EDITORS if name in by_code]
