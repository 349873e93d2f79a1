"""The write rule of ServiceRequest: who may see a télédossier is worked out here, whatever a client writes.

The platform's own transactions (the operations) bring the audience they computed. Any other writer's is
thrown away and computed from requester, author, visibility and recipients; a request that comes without
`numero` gets one.
"""

from __future__ import annotations

from datetime import datetime

from fhir_server.access import SYSTEM, Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.prepare import instant
from fhir_server.teledossier.actors import audience_of
from fhir_server.teledossier.file import directory
from fhir_server.teledossier.opening import free_numero
from fhir_server.teledossier.vocabulary import NUMERO, ref, target, value, with_extension


async def service_request(engine: Engine, access: Access, old: Resource | None, new: Resource) -> Resource:
    """What is stored of a ServiceRequest that `access` writes over `old`."""
    if access == SYSTEM:
        return new
    named = [target(new.get("requester")), target(value(new, "author"))]
    named += [target(one) for one in new.get("performer", ())]
    people = await directory(engine.store, named)
    kept = audience_of(new, people)
    stored = with_extension(new, "audience", *({"valueReference": ref(one)} for one in kept))
    if any(one.get("system") == NUMERO for one in stored.get("identifier", ())):
        return stored
    known = [one for one in (old or {}).get("identifier", ()) if one.get("system") == NUMERO]
    numero = known or [{"system": NUMERO, "value": await free_numero(engine, _when(engine, new))}]
    return {**stored, "identifier": [*numero, *stored.get("identifier", ())]}


def _when(engine: Engine, request: Resource) -> str:
    """The instant that gives the number its year: authoredOn if it is one, else now."""
    said = str(request.get("authoredOn", ""))
    try:
        return said if datetime.fromisoformat(said).tzinfo else instant(engine.now())
    except ValueError:
        return instant(engine.now())


WRITE_RULES = {"ServiceRequest": service_request}
