"""The resources a step writes, and the transaction that carries them.

Everything a step writes goes into one Bundle: what existed with the version it was seen at (If-Match), what
is new under an id of ours, and with them the Provenance and the AuditEvent, so that none is ever there
without the others.
FHIR R4 http.html#transaction · provenance.html · auditevent.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from fhir_server.teledossier.definitions import display
from fhir_server.teledossier.vocabulary import Resource, coding, concept, key, ref

PLATFORM = "Plateforme"
AUDIT_TYPE = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}


@dataclass(frozen=True, slots=True)
class Moment:
    """`occurred`: when it happened (a FHIR instant); `recorded`: when we learned of it. They differ only
    where a machine takes over history. `zone` is the one that times are printed in."""

    occurred: str
    recorded: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Author:
    """Who does it: `who` a PractitionerRole (or other reference, "" for the platform), its name, and in
    delegation the PractitionerRole of the doctor it is done for. `practitioner` is the person, for the
    audit."""

    who: str
    name: str
    practitioner: str = ""
    on_behalf_of: str = ""


@dataclass(slots=True)
class Writing:
    """One transaction in the making, in the order things are written."""

    moment: Moment
    new_id: Callable[[], str]
    entries: list[Resource] = field(default_factory=list)

    def create(self, resource: Resource) -> Resource:
        """A new resource; gets an id unless it has one. Returns it with the id."""
        id = resource.get("id") or self.new_id()
        made = {"resourceType": resource["resourceType"], **resource, "id": id}
        self.entries.append({"resource": made, "request": {"method": "PUT", "url": key(made)}})
        return made

    def replace(self, resource: Resource) -> Resource:
        """The next version of a resource as it was read: fails as a whole if it changed meanwhile."""
        match = f'W/"{resource["meta"]["versionId"]}"'
        self.entries.append(
            {"resource": resource, "request": {"method": "PUT", "url": key(resource), "ifMatch": match}}
        )
        return resource

    def delete(self, reference: str) -> None:
        self.entries.append({"request": {"method": "DELETE", "url": reference}})

    def trace(
        self, step: str, author: Author, targets: Sequence[str], *, reason: Resource | None = None
    ) -> None:
        """The Provenance of a step: what it wrote, when, who, in whose name."""
        agent: Resource = {"who": ref(author.who, author.name) if author.who else {"display": author.name}}
        if author.on_behalf_of:
            agent["onBehalfOf"] = ref(author.on_behalf_of)
        provenance: Resource = {
            "resourceType": "Provenance",
            "target": [ref(one) for one in dict.fromkeys(targets)],
            "occurredDateTime": self.moment.occurred,
            "recorded": self.moment.recorded,
            "activity": concept("step", step, display("step", step)),
            "agent": [agent],
        }
        if reason:
            provenance["reason"] = [reason]
        self.create(provenance)

    def audit(self, step: str, author: Author, entities: Sequence[str]) -> None:
        """The AuditEvent of a step: it succeeded, or the transaction would not be there."""
        who = author.practitioner or author.who
        agent: Resource = {"requestor": True, "who": ref(who) if who else {"display": author.name}}
        self.create(
            {
                "resourceType": "AuditEvent",
                "type": AUDIT_TYPE,
                "subtype": [coding("step", step, display("step", step))],
                "action": "R" if step == "read" else "U",
                "recorded": self.moment.recorded,
                "outcome": "0",
                "agent": [agent],
                "source": {"observer": {"display": PLATFORM}},
                "entity": [{"what": ref(one)} for one in entities if one],
            }
        )

    def bundle(self) -> Resource:
        """The transaction Bundle."""
        return {"resourceType": "Bundle", "type": "transaction", "entry": list(self.entries)}
