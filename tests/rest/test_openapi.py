"""OpenAPI: what it describes is there, what is there is described."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.store.contract import Store
from profiles import definitions
from tests.rest.serving import Served, make_engine, serve


@pytest.fixture
async def served(tmp_path: Path, store: Store) -> Served:
    return serve(make_engine(tmp_path, store, operations=Operations(STANDARD)))


async def described(served: Served) -> dict[str, Any]:
    response = await served.client(None).get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    found: dict[str, Any] = response.json()
    return found


async def test_its_own_rules(served: Served) -> None:
    """Every reference leads somewhere, every name is given once, every variable of a path is declared."""
    document = await described(served)
    assert document["openapi"] == "3.1.0"
    names: list[str] = []

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            where: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                where = where[part]
            node = where
        return node

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            resolved(node)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(document)
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method, call in item.items():
            if method == "parameters":
                continue
            names.append(call["operationId"])
            given = [resolved(each) for each in [*shared, *call.get("parameters", [])]]
            keys = [(each["in"], each["name"]) for each in given]
            assert len(keys) == len(set(keys)), (path, method)
            assert {name for where, name in keys if where == "path"} == set(re.findall(r"{(\w+)}", path))
            assert call["responses"], path
    assert len(names) == len(set(names))
    assert len(names) > 12 * len(definitions.resource_types())


async def test_what_it_describes_is_there(served: Served) -> None:
    """No path that the routes do not know; of each method they say another thing than 'not allowed'."""
    document = await described(served)
    client = served.client()
    for path, item in document["paths"].items():
        if path.count("/") > 1 and not path.startswith(("/Patient", "/ValueSet", "/Group")):
            continue
        address = path.replace("{id}", "x").replace("{version}", "1")
        for method in item.keys() - {"parameters"}:
            response = await client.request(method, address)
            issues = response.json().get("issue", []) if response.content else []
            slug = issues[0]["details"]["coding"][0]["code"] if issues else ""
            assert response.status_code != 405, (method, path)
            assert slug not in ("unknown-address", "unknown-operation", "unknown-type"), (method, path)


async def test_it_says_what_the_capability_statement_says(served: Served) -> None:
    document = await described(served)
    (rest,) = (await served.client().get("/metadata")).json()["rest"]
    for resource in rest["resource"]:
        call = document["paths"][f"/{resource['type']}"]["get"]
        named = {each["name"] for each in call["parameters"]}
        assert {each["name"] for each in resource["searchParam"]} <= named
    offered = {path.rpartition("$")[2] for path in document["paths"] if "$" in path}
    assert {each["name"] for each in rest["operation"]} <= offered
