"""$activate: a site's system may be called, or may not any more: the switch of R086.

The Endpoint's next version, the Provenance and the AuditEvent are one transaction. The right is that of who
administers the site; what one may not switch is answered like what is not there.
FHIR R4 endpoint.html (status)
"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.administration import administered, may
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.prepare import instant
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.teledossier.calling import again, new_id, write
from fhir_server.teledossier.parameters import Parameters
from fhir_server.teledossier.vocabulary import Resource as Json
from fhir_server.teledossier.vocabulary import ref, target
from fhir_server.teledossier.writing import AUDIT_TYPE, PLATFORM, Moment, Writing
from profiles import codec
from profiles.outcomes import Invalid, NotFound

OPERATIONS = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
INTERACTION = {"system": "http://hl7.org/fhir/restful-interaction", "code": "update"}


async def activate(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The Endpoint. Raises NotFound, Invalid, Conflict."""
    given = Parameters.of(request.parameters, ("active",))
    wanted = given.boolean("active")
    if wanted is None:
        raise Invalid("missing-active", "parameter 'active' says whether the system may be called")
    sites = await administered(engine.store, access, "u")

    async def attempt() -> Resource:
        endpoint = await _endpoint(engine, request.id, sites)
        status = "active" if wanted else "off"
        if endpoint["status"] == status:
            return endpoint
        now = instant(engine.now())
        writing = Writing(Moment(now, now, engine.settings.zone), new_id)
        writing.replace({**endpoint, "status": status})
        who = ref(access.subject) if access.subject.startswith("Practitioner/") else {"display": PLATFORM}
        for trace in (_provenance(endpoint, who, now), _audit(endpoint, who, now)):
            writing.create(trace)
        await write(engine, writing.bundle())
        return await _endpoint(engine, request.id, sites)

    return OperationResult(200, await again(attempt))


async def _endpoint(engine: Engine, id: str, sites: frozenset[str] | None) -> Json:
    """Raises NotFound, also for one of a site that is not the reader's to administer."""
    version = await engine.store.read("Endpoint", id)
    found = codec.parse(version.body) if version is not None and version.body is not None else None
    if found is None or not may(sites, target(found.get("managingOrganization"))):
        raise NotFound("no-such-endpoint", f"no Endpoint/{id} that this reader administers")
    return found


def _provenance(endpoint: Json, who: Json, now: str) -> Json:
    return {
        "resourceType": "Provenance",
        "target": [ref(f"Endpoint/{endpoint['id']}")],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": OPERATIONS, "code": "UPDATE"}]},
        "agent": [{"who": who}],
    }


def _audit(endpoint: Json, who: Json, now: str) -> Json:
    return {
        "resourceType": "AuditEvent",
        "type": AUDIT_TYPE,
        "subtype": [INTERACTION],
        "action": "U",
        "recorded": now,
        "outcome": "0",
        "agent": [{"requestor": True, "who": who}],
        "source": {"observer": {"display": PLATFORM}},
        "entity": [{"what": ref(f"Endpoint/{endpoint['id']}")}],
    }
