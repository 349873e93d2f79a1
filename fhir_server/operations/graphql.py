"""`$graphql` of the system and of one resource: the request read, the answer as GraphQL has it.

FHIR R4 graphql.html; GraphQL over HTTP. Errors of the query are a 400 with the GraphQL `errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fhir_server.access import Access
from fhir_server.graphql.execute import Answer
from fhir_server.graphql.query import Query, read
from fhir_server.interactions import prepare
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.read import read as read_resource
from fhir_server.operations.registry import Level, Operation, OperationRequest, OperationResult
from profiles import codec
from profiles.outcomes import Invalid, operation_outcome

JSON = {"Content-Type": "application/json"}
READS = frozenset(("application/graphql", "application/json"))


async def graphql(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound, Gone, Forbidden of the one resource; all else is in the answer's errors."""
    resource = None
    if request.id:
        resource = prepare.body_of(await read_resource(engine, access, request.type, request.id))
    try:
        answer = Answer(engine, access, _query(request))
        data = await answer.system() if resource is None else await answer.instance(resource)
    except Invalid as error:
        outcome = operation_outcome(error.issues)
        told = {"message": str(error), "extensions": {"code": error.slug, "resource": outcome}}
        return OperationResult(400, codec.dump({"errors": [told]}), JSON)
    body = {"data": data, **({"errors": answer.errors} if answer.errors else {})}
    return OperationResult(200, codec.dump(body), JSON)


def _query(request: OperationRequest) -> Query:
    given: Mapping[str, Any] = dict(request.query)
    if request.content_type == "application/graphql":
        given = {**given, "query": _text(request.body)}
    elif request.content_type == "application/json":
        given = _object(request.body)
    variables = given.get("variables") or {}
    if isinstance(variables, str):
        variables = _object(variables.encode())
    text, name = given.get("query"), given.get("operationName") or ""
    if not isinstance(text, str) or not isinstance(name, str) or not isinstance(variables, dict):
        raise Invalid("graphql-request", "a request has 'query', a text, and may have 'variables', an object")
    return read(text, name, variables)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("not-utf-8", "the query is not UTF-8") from error


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid("graphql-request", "the request is not valid JSON") from error
    if not isinstance(found, dict):
        raise Invalid("graphql-request", "the request is not a JSON object")
    return found


_LEVELS: tuple[Level, ...] = ("system", "instance")
OPERATIONS: tuple[Operation, ...] = tuple(
    Operation(
        "graphql",
        level,
        frozenset(),
        graphql,
        affects_state=False,
        definition="http://hl7.org/fhir/OperationDefinition/Resource-graphql",
        reads=READS,
    )
    for level in _LEVELS
)
