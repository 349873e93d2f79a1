"""The OpenAPI description of the FHIR routes, from the same tables that route and search.

A path for each resource type, with its search parameters, and for each operation on offer. Bodies are told by
resource type only: their rules are FHIR's own and in the StructureDefinitions. OpenAPI 3.1.0
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fhir_server.conformance.search_parameters import OwnParameters
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import Operation
from fhir_server.rest.capability import software_version
from fhir_server.search.bind import offered
from profiles import codec, definitions, patch

Json = dict[str, Any]
_FHIR = ("application/fhir+json", "application/fhir+xml")
_RESULT = ("_include", "_revinclude", "_sort", "_count", "_total", "_summary", "_elements")
_ERRORS = ("400", "401", "403", "404")


def document(engine: Engine, own: OwnParameters) -> bytes:
    """The JSON, a megabyte: made when first asked for. `own`: search parameters beside the built-in ones."""
    types = sorted(definitions.resource_types())
    paths: dict[str, Json] = {"/metadata": {"get": _call("metadata", "The CapabilityStatement", "", "200")}}
    paths["/"] = {
        "get": _call("searchSystem", "Search over types", "", "200", _search_parameters(())),
        "post": _call("bundle", "A batch or a transaction", "", "200", body="Bundle"),
    }
    paths["/_history"] = {"get": _call("historySystem", "Everything's history", "", "200", _history())}
    for operation in engine.operations.at("system"):
        paths[f"/${operation.name}"] = _operation(operation, "")
    for type in types:
        paths |= _of_type(engine, type, own)
    return codec.dump(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Télédossier FHIR",
                "version": software_version(),
                "description": "FHIR R4. The CapabilityStatement at /metadata says the same in FHIR's terms.",
            },
            "servers": [{"url": engine.settings.fhir_base}],
            "security": [{"smart": []}],
            "paths": paths,
            "components": _components(types),
        }
    )


def _of_type(engine: Engine, type: str, own: OwnParameters) -> dict[str, Json]:
    """The paths of one resource type."""
    matching = [_query(parameter.code, parameter.type) for parameter in _offered(type, own)]
    found: dict[str, Json] = {
        f"/{type}": {
            "get": _call(f"search{type}", f"Search {type}", type, "200", _search_parameters(matching)),
            "post": _call(f"create{type}", f"Create a {type}", type, "201", [_ref("IfNoneExist")], body=type),
            "put": _call(
                f"updateMatching{type}", "Update the one that matches", type, "200", matching, body=type
            ),
            "patch": _patched(
                _call(f"patchMatching{type}", "Patch the one that matches", type, "200", matching)
            ),
            "delete": _call(f"deleteMatching{type}", "Delete the one that matches", type, "204", matching),
        },
        f"/{type}/_search": {"post": _posted(_call(f"searchByPost{type}", f"Search {type}", type, "200"))},
        f"/{type}/_history": {
            "get": _call(f"history{type}", f"The history of {type}", type, "200", _history())
        },
        f"/{type}/{{id}}": {
            "parameters": [_ref("Id")],
            "get": _call(f"read{type}", f"Read a {type}", type, "200", [_ref("IfNoneMatch")]),
            "put": _call(f"update{type}", f"Update a {type}", type, "200", [_ref("IfMatch")], body=type),
            "patch": _patched(_call(f"patch{type}", f"Patch a {type}", type, "200", [_ref("IfMatch")])),
            "delete": _call(f"delete{type}", f"Delete a {type}", type, "204", [_ref("IfMatch")]),
        },
        f"/{type}/{{id}}/_history": {
            "parameters": [_ref("Id")],
            "get": _call(f"historyOf{type}", f"The history of one {type}", type, "200", _history()),
        },
        f"/{type}/{{id}}/_history/{{version}}": {
            "parameters": [_ref("Id"), _ref("Version")],
            "get": _call(f"vread{type}", f"Read one version of a {type}", type, "200"),
        },
    }
    for operation in engine.operations.at("type", type):
        found[f"/{type}/${operation.name}"] = _operation(operation, type)
    for operation in engine.operations.at("instance", type):
        place = _operation(operation, type)
        found[f"/{type}/{{id}}/${operation.name}"] = {"parameters": [_ref("Id")], **place}
    return found


def _offered(type: str, own: OwnParameters) -> list[definitions.SearchParameter]:
    parameters = own.searchable(type).values()
    return sorted((each for each in parameters if offered(each)), key=lambda each: each.code)


def _operation(operation: Operation, type: str) -> Json:
    name = f"{operation.level}_{type}_{operation.name.replace('-', '_')}".replace("__", "_")
    made = {"post": _call(f"post_{name}", f"${operation.name}", type, "200", body="Parameters")}
    if not operation.affects_state:
        made["get"] = _call(f"get_{name}", f"${operation.name}", type, "200")
    for each in made.values():
        if operation.definition:
            each["externalDocs"] = {"url": operation.definition}
    return made


def _call(
    name: str, summary: str, tag: str, status: str, parameters: Iterable[Json] = (), *, body: str = ""
) -> Json:
    made: Json = {"operationId": name, "summary": summary, "tags": [tag or "system"]}
    if given := list(parameters):
        made["parameters"] = given
    if body:
        made["requestBody"] = {"required": True, "content": _content(body)}
    answer: Json = {"description": "Done"}
    if status != "204":
        answer["content"] = _content(body if body not in ("", "Parameters") else "Resource")
    made["responses"] = {
        status: answer,
        **{code: {"$ref": "#/components/responses/Problem"} for code in _ERRORS},
    }
    return made


def _content(type: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{type}"}
    return {kind: {"schema": schema} for kind in _FHIR}


def _patched(call: Json) -> Json:
    content: Json = {kind: {"schema": {}} for kind in patch.FORMATS}
    return {**call, "requestBody": {"required": True, "content": content}}


def _posted(call: Json) -> Json:
    form = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    return {**call, "requestBody": {"content": form}}


def _search_parameters(matching: Iterable[Json]) -> list[Json]:
    return [*matching, *(_query(name, "result") for name in _RESULT)]


def _history() -> list[Json]:
    return [_query(name, "result") for name in ("_since", "_at", "_count")]


def _query(name: str, kind: str) -> Json:
    """A search parameter may come several times, and with modifiers that OpenAPI has no words for."""
    schema = {"type": "array", "items": {"type": "string"}}
    return {"name": name, "in": "query", "description": kind, "schema": schema, "explode": True}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _components(types: Iterable[str]) -> Json:
    text = {"type": "string"}
    schemas: Json = {
        type: {
            "type": "object",
            "required": ["resourceType"],
            "properties": {"resourceType": {"const": type}, "id": {"type": "string"}},
            "externalDocs": {"url": f"http://hl7.org/fhir/R4/{type.lower()}.html"},
        }
        for type in types
    }
    schemas["Resource"] = {"type": "object", "required": ["resourceType"]}
    return {
        "schemas": schemas,
        "parameters": {
            "Id": {"name": "id", "in": "path", "required": True, "schema": text},
            "Version": {"name": "version", "in": "path", "required": True, "schema": text},
            "IfMatch": {"name": "If-Match", "in": "header", "schema": text, "example": 'W/"3"'},
            "IfNoneMatch": {"name": "If-None-Match", "in": "header", "schema": text, "example": 'W/"3"'},
            "IfNoneExist": {"name": "If-None-Exist", "in": "header", "schema": text},
        },
        "responses": {"Problem": {"description": "What is wrong", "content": _content("OperationOutcome")}},
        "securitySchemes": {
            "smart": {"type": "http", "scheme": "bearer", "description": "SMART App Launch 2.2"}
        },
    }
