"""`$reindex` and `$reindex-status` of SearchParameters: what is stored becomes searchable by one's own.

The work begins by itself when a SearchParameter is written; the operation does it over again. Both are for
who sees everything, since they tell how much there is.

OperationDefinitions of our own
"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.conformance import reindex
from fhir_server.conformance.held import REINDEX
from fhir_server.conformance.search_parameters import Own
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import current, require
from fhir_server.operations.accepting import accepted
from fhir_server.operations.registry import Level, Operation, OperationRequest, OperationResult
from profiles import codec
from profiles.outcomes import Conflict, Forbidden

_LEVELS: tuple[Level, ...] = ("type", "instance")


async def again(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """202: begun, with the address that tells how far it is. Of an instance that parameter, else all. Raises
    Forbidden, NotFound, Conflict for one without effect."""
    own = await _meant(engine, access, request, "u")
    await reindex.again(engine, own)
    job = await engine.jobs.submit("reindex", access, {}, most=5)
    return accepted(engine, job, "the search parameters are being indexed")


async def status(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """For each parameter its URL, code, state (waiting, running, ready) and how many resources were looked
    at. Raises as `again`."""
    own = await _meant(engine, access, request, "r")
    states = (await engine.held.current()).states
    ready = (await engine.held.current()).search_parameters.ready
    rows = []
    for each in own:
        state = await engine.store.get_record(REINDEX, each.url) or states.get(each.url, {})
        mine = state.get("print") == each.print
        how = "ready" if each.print in ready else "running" if mine else "waiting"
        parts = [
            {"name": "url", "valueUri": each.url},
            {"name": "code", "valueCode": each.parameter.code},
            *({"name": "type", "valueCode": type} for type in each.types),
            {"name": "state", "valueCode": how},
            {"name": "done", "valueInteger": int(state.get("done", 0)) if mine else 0},
        ]
        rows.append({"name": "parameter", "part": parts})
    return OperationResult(200, {"resourceType": "Parameters", "parameter": rows})


async def _meant(engine: Engine, access: Access, request: OperationRequest, letter: str) -> list[Own]:
    require(access, "SearchParameter", letter)
    if access.audience is not None:
        raise Forbidden("partial-view", "the index is the affair of readers who see all of it")
    own = (await engine.held.current()).search_parameters.all
    if not request.id:
        return list(own)
    body = (await current(engine, access, request.type, request.id)).body
    assert body is not None
    url = codec.parse(body).get("url")
    found = [each for each in own if each.url == url]
    if not found:
        raise Conflict("no-effect", "this SearchParameter has no effect: it is retired, or its code is taken")
    return found


_TYPES = frozenset({"SearchParameter"})
OPERATIONS: tuple[Operation, ...] = (
    *(Operation("reindex", level, _TYPES, again, affects_state=True) for level in _LEVELS),
    *(Operation("reindex-status", level, _TYPES, status, affects_state=False) for level in _LEVELS),
)
