"""Who calls an operation: a person by their session or token, or a machine that takes over history for a
person.

People act as themselves, now. Only a machine (an Access without audience, with the scope to write
ServiceRequests) may say who did something and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.prepare import instant
from fhir_server.teledossier.membership import read_all, roles
from fhir_server.teledossier.parameters import Parameters
from fhir_server.teledossier.vocabulary import key, target
from fhir_server.teledossier.writing import Moment
from profiles.outcomes import Forbidden, Invalid

MACHINES_ONLY = ("occurred", "who", "numero")


@dataclass(frozen=True, slots=True)
class Caller:
    """`practitioner` as `Practitioner/id`; `roles` their active PractitionerRoles."""

    practitioner: str
    roles: tuple[Resource, ...]

    def role(self, reference: str) -> Resource | None:
        return next((one for one in self.roles if key(one) == reference), None)


def is_machine(access: Access) -> bool:
    """A reader of everything: a system client or the platform itself."""
    return access.audience is None


async def caller(engine: Engine, access: Access, given: Parameters) -> Caller:
    """The person on whose right the call stands. Raises Forbidden, Invalid."""
    if is_machine(access):
        if not access.allows("ServiceRequest", "u"):
            raise Forbidden("scope", "no granted scope allows to update ServiceRequest")
        return await _named(engine, given.reference("who") or given.reference("author"))
    for name in MACHINES_ONLY:
        if given.has(name):
            raise Forbidden("machines-only", f"parameter '{name}' is for machines that take over history")
    type, _, id = access.subject.partition("/")
    if type != "Practitioner":
        raise Forbidden("not-a-professional", "only professionals take part in a télédossier")
    return Caller(access.subject, tuple(await roles(engine.store, id)))


async def _named(engine: Engine, who: str) -> Caller:
    """The person that a machine speaks for."""
    if not who.startswith(("PractitionerRole/", "Practitioner/")):
        raise Invalid(
            "missing-who", "a machine names in 'who' the Practitioner or PractitionerRole that did it"
        )
    found = (await read_all(engine.store, [who])).get(who)
    if found is None:
        raise Invalid("unknown-who", "parameter 'who' names nobody known here")
    practitioner = who if who.startswith("Practitioner/") else target(found.get("practitioner"))
    return Caller(practitioner, tuple(await roles(engine.store, practitioner.rpartition("/")[2])))


def moment(engine: Engine, given: Parameters) -> Moment:
    """Now, or when a machine says it happened: with a zone, and not in the future. Raises Invalid."""
    now = engine.now()
    recorded = instant(now)
    said = given.one("occurred", ("valueDateTime", "valueInstant"), str)
    if said is None:
        return Moment(recorded, recorded, engine.settings.zone)
    try:
        occurred = datetime.fromisoformat(said)
    except ValueError as error:
        raise Invalid(
            "bad-occurred", "parameter 'occurred' is an instant such as 2024-08-08T05:34:00+02:00"
        ) from error
    if occurred.tzinfo is None or len(said) < 19:
        raise Invalid("bad-occurred", "parameter 'occurred' has seconds and a time zone")
    if occurred > datetime.fromtimestamp(now / 1_000_000, UTC):
        raise Invalid("bad-occurred", "parameter 'occurred' is not in the future")
    return Moment(said, recorded, engine.settings.zone)
