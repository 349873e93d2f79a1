"""A télédossier as one frozen view: the request and everything that hangs on it, read from the store.

The view is what steps and the report are computed from. It is not one snapshot: the resources are read one
after the other; every write that follows from it names the request's version (If-Match), so a view overtaken
meanwhile writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhir_server.search.nodes import Reference, Select
from fhir_server.store.contract import Store
from fhir_server.teledossier.membership import read_all
from fhir_server.teledossier.vocabulary import (
    NUMERO,
    Resource,
    code_of,
    extensions,
    full_name,
    key,
    target,
    value,
)
from fhir_server.teledossier.workflows import DRAFT, is_live, rank
from profiles import codec
from profiles.outcomes import NotFound

MOST = 2000
"""How many resources of one type a télédossier may carry into its view."""

HANGING: Mapping[str, str] = {
    "Task": "focus",
    "QuestionnaireResponse": "based-on",
    "Communication": "based-on",
    "ImagingStudy": "basedon",
    "DocumentReference": "related",
    "DiagnosticReport": "based-on",
    "Consent": "data",
    "Provenance": "target",
}
"""type → the search entry that leads to its ServiceRequest."""


@dataclass(frozen=True, slots=True)
class Teledossier:
    """`request` the ServiceRequest; `hanging` the rest by type, oldest first; `people` every
    PractitionerRole, Practitioner and Organization they name, by `Type/id`."""

    request: Resource
    patient: Resource | None = None
    hanging: Mapping[str, tuple[Resource, ...]] = field(default_factory=dict)
    people: Mapping[str, Resource] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return key(self.request)

    @property
    def workflow(self) -> str:
        return code_of(self.request.get("category"), "workflow")

    @property
    def numero(self) -> str:
        found = (one["value"] for one in self.request.get("identifier", ()) if one.get("system") == NUMERO)
        return next(found, "")

    def of(self, type: str) -> tuple[Resource, ...]:
        """What hangs on it of one type."""
        return self.hanging.get(type, ())

    @property
    def tasks(self) -> tuple[Resource, ...]:
        """One per recipient, in the order they were addressed; proposals of exams are not among them."""
        order = [target(one) for one in self.request.get("performer", ())]
        mine = [task for task in self.of("Task") if code_of(task.get("businessStatus"), "business-status")]
        known = {reference: place for place, reference in enumerate(order)}
        return tuple(sorted(mine, key=lambda task: known.get(target(task.get("owner")), len(order))))

    @property
    def state(self) -> str:
        """The code of `business-status` that its furthest live recipient is in; a file of which none is left
        stands where the furthest ended."""
        if self.request.get("status") == "draft":
            return DRAFT
        states = [state_of(task) for task in self.tasks]
        return max([state for state in states if is_live(state)] or states, key=rank, default="envoye")

    @property
    def answers(self) -> Resource | None:
        """The form's QuestionnaireResponse."""
        found = self.of("QuestionnaireResponse")
        return found[-1] if found else None

    def practitioner_of(self, role: str) -> str:
        """`Practitioner/id` behind a PractitionerRole (or the reference itself if it is one), "" if
        unknown."""
        if role.startswith("Practitioner/"):
            return role
        return target(self.people.get(role, {}).get("practitioner"))

    def organization_of(self, role: str) -> str:
        """`Organization/id` of a PractitionerRole, "" if it has none."""
        return target(self.people.get(role, {}).get("organization"))

    def name_of(self, reference: str) -> str:
        """The name of a person, role or organization as shown to people; "" if unknown."""
        if reference.startswith("Organization/"):
            return str(self.people.get(reference, {}).get("name", ""))
        person = self.people.get(self.practitioner_of(reference))
        return full_name(person) if person else ""

    @property
    def requester(self) -> str:
        return target(self.request.get("requester"))

    @property
    def author(self) -> str:
        return target(value(self.request, "author")) or self.requester


def state_of(task: Resource) -> str:
    """The code of a recipient's businessStatus."""
    return code_of(task.get("businessStatus"), "business-status")


def read_mark(task: Resource) -> tuple[str, str] | None:
    """(PractitionerRole reference, instant) of the first reading by this recipient, None if unread."""
    for mark in extensions(task, "read-mark"):
        parts = {part["url"]: part for part in mark.get("extension", ())}
        return target(parts["by"]["valueReference"]), str(parts["at"]["valueInstant"])
    return None


def outputs(task: Resource) -> list[tuple[str, str]]:
    """(kind, reference) of a Task's outputs in the order they came: answer, acknowledgement, report."""
    return [
        (code_of(one.get("type"), "task-part"), target(one.get("valueReference")))
        for one in task.get("output", ())
    ]


async def load(store: Store, id: str) -> Teledossier:
    """The view of one télédossier. Raises NotFound."""
    found = await read_all(store, [f"ServiceRequest/{id}"])
    request = found.get(f"ServiceRequest/{id}")
    if request is None:
        raise NotFound("no-such-resource", f"ServiceRequest/{id} is not known")
    hanging = {type: await _hanging(store, type, entry, key(request)) for type, entry in HANGING.items()}
    subject = target(request.get("subject"))
    patient = (await read_all(store, [subject])).get(subject)
    people = await directory(store, _named(request, hanging))
    return Teledossier(request, patient, hanging, people)


async def _hanging(store: Store, type: str, entry: str, request: str) -> tuple[Resource, ...]:
    rows = await store.search(Select(type, Reference(entry, (request,)), count=MOST))
    oldest_first = sorted((row.version for row in rows), key=lambda version: version.seq)
    return tuple(codec.parse(version.body) for version in oldest_first if version.body is not None)


def _named(request: Resource, hanging: Mapping[str, tuple[Resource, ...]]) -> Iterable[str]:
    """The references to people and organizations in a télédossier."""
    yield target(request.get("requester"))
    yield target(value(request, "author"))
    yield from (target(one) for one in request.get("performer", ()))
    for task in hanging.get("Task", ()):
        yield target(task.get("owner"))
        yield target(value(task, "assignee"))
        mark = read_mark(task)
        if mark:
            yield mark[0]
    for message in hanging.get("Communication", ()):
        yield target(message.get("sender"))
    for report in hanging.get("DiagnosticReport", ()):
        yield from (target(one) for one in report.get("resultsInterpreter", ()))
    for trace in hanging.get("Provenance", ()):
        yield from (target(agent.get("who")) for agent in trace.get("agent", ()))


async def directory(store: Store, references: Iterable[str]) -> dict[str, Resource]:
    """These PractitionerRoles, Practitioners and Organizations and those they lead to: a role's person,
    community and service, a service's establishment."""
    people: dict[str, Resource] = {}
    wanted = {
        one for one in references if one.startswith(("PractitionerRole/", "Practitioner/", "Organization/"))
    }
    while wanted:
        found = await read_all(store, sorted(wanted))
        people.update(found)
        wanted = {further for one in found.values() for further in _leads(one)} - people.keys() - wanted
    return people


def _leads(resource: Resource) -> Iterable[str]:
    several = (
        resource.get("practitioner"),
        resource.get("organization"),
        resource.get("partOf"),
        value(resource, "service"),
    )
    return [target(one) for one in several if one and target(one)]
