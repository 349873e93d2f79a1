"""What a person is in one télédossier: on the sender's side, on a recipient's, or both; and who may see it.

Qualities (CodeSystem `actor`) come from a person's roles by the properties of CodeSystem `role`. Author and
requester are never experts of their own request, whatever their communities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhir_server.teledossier.definitions import properties
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.membership import is_community
from fhir_server.teledossier.vocabulary import Resource, key, system, target, value


@dataclass(frozen=True, slots=True)
class Position:
    """One place a person stands in: through which PractitionerRole, with which qualities."""

    role: str
    qualities: frozenset[str]


NOWHERE = Position("", frozenset())


@dataclass(frozen=True, slots=True)
class Actor:
    """A person in one télédossier. `recipients`: Task id → where they stand for that recipient."""

    practitioner: str
    sender: Position
    recipients: Mapping[str, Position]
    own: bool

    @property
    def qualities(self) -> frozenset[str]:
        """Everything they are in this file."""
        return self.sender.qualities.union(*(one.qualities for one in self.recipients.values()))


def role_codes(role: Resource) -> list[str]:
    """The codes of our CodeSystem `role` that a PractitionerRole carries."""
    return [
        str(coding.get("code"))
        for concept in role.get("code", ())
        for coding in concept.get("coding", ())
        if coding.get("system") == system("role")
    ]


def _qualities(role: Resource, side: str) -> frozenset[str]:
    found = (properties("role", code).get(side) for code in role_codes(role))
    return frozenset(str(one) for one in found if one)


def actor(file: Teledossier, practitioner: str, roles: Sequence[Resource]) -> Actor:
    """Where this person stands. `roles`: their active PractitionerRoles."""
    own = practitioner in (file.practitioner_of(file.author), file.practitioner_of(file.requester))
    recipients: dict[str, Position] = {}
    for task in file.tasks if not own else ():
        position = _as_recipient(task, roles)
        if position.qualities:
            recipients[task["id"]] = position
    return Actor(practitioner, _as_sender(file, practitioner, roles), recipients, own)


def _as_sender(file: Teledossier, practitioner: str, roles: Sequence[Resource]) -> Position:
    """Requester before author before member of the sender's community."""
    by_reference = {key(role): role for role in roles}
    if practitioner == file.practitioner_of(file.requester):
        return Position(file.requester, frozenset({"requester"}))
    if practitioner == file.practitioner_of(file.author):
        role = by_reference.get(file.author, {})
        return Position(file.author, _qualities(role, "as-sender") or frozenset({"author"}))
    if value(file.request, "visibility") == "community":
        community = file.organization_of(file.requester)
        for role in roles:
            if community and target(role.get("organization")) == community:
                return Position(key(role), _qualities(role, "as-sender"))
    return NOWHERE


def _as_recipient(task: Resource, roles: Sequence[Resource]) -> Position:
    """As member of the addressed community, as the addressed person, or as the one it was assigned to."""
    owner, assignee = target(task.get("owner")), target(value(task, "assignee"))
    for role in roles:
        if owner in (key(role), target(role.get("organization"))):
            return Position(key(role), _qualities(role, "as-recipient"))
    for role in roles:
        if assignee == key(role):
            return Position(assignee, frozenset({"expert"}))
    return NOWHERE


def audience_of(request: Resource, people: Mapping[str, Resource]) -> list[str]:
    """Who may see this ServiceRequest: a draft, its author and requester; once sent, also the sender's
    community when it is visible there, and every recipient. `people` holds the roles and organizations it
    names."""

    def person(reference: str) -> str:
        if reference.startswith("Practitioner/"):
            return reference
        return target(people.get(reference, {}).get("practitioner"))

    requester = target(request.get("requester"))
    seen = [person(target(value(request, "author"))), person(requester)]
    if request.get("status") != "draft":
        if value(request, "visibility") == "community":
            community = target(people.get(requester, {}).get("organization"))
            seen.append(community if is_community(people.get(community)) else "")
        for one in request.get("performer", ()):
            reference = target(one)
            seen.append(reference if reference.startswith("Organization/") else person(reference))
    return _distinct(seen)


def _distinct(references: Iterable[str]) -> list[str]:
    return [one for one in dict.fromkeys(references) if one]
