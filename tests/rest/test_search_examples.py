"""HL7's R4 examples: each is found by each search parameter that has a value in it.

What is asked is worked out by the general FHIRPath engine and written as a client would write it, so it does
not lean on the index. The selection in `data/` has every parameter that any of the examples has a value for;
TELEDOSSIER_R4_EXAMPLES names the whole archive (tar) or folder, to ask all of them.

FHIR R4 search.html, searchparameter-registry.html
"""

from __future__ import annotations

import json
import lzma
import os
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_server.search.index import extract
from fhir_server.store.contract import Put
from profiles import codec, definitions
from profiles.definitions import SearchParameter
from profiles.fhirpath.compiler import compile
from profiles.fhirpath.nodes import Environment, resource_node
from profiles.folding import fold
from tests.rest.serving import BASE, Served

ARCHIVE = os.environ.get("TELEDOSSIER_R4_EXAMPLES", "")
SELECTION = Path(__file__).parent / "data" / "r4-examples.ndjson.xz"
MOST = 6  # ways of asking by one parameter for one resource
Json = dict[str, Any]
Node = tuple[Any, str]


def examples() -> Iterator[Json]:
    """Resources, each type and id once."""
    seen = set()
    for number, body in enumerate(_bodies()):
        resource = codec.parse(body)
        resource.setdefault("id", f"without-{number}")
        if (resource["resourceType"], resource["id"]) not in seen and len(resource["id"]) <= 64:
            seen.add((resource["resourceType"], resource["id"]))
            yield resource


def _bodies() -> Iterator[bytes]:
    path = Path(ARCHIVE)
    if not ARCHIVE:
        yield from lzma.decompress(SELECTION.read_bytes()).splitlines()
    elif path.is_dir():
        yield from (file.read_bytes() for file in sorted(path.rglob("*.json")))
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None and member.name.endswith(".json"):
                    yield file.read()


def found_by(expression: str, node: Node, resource: Json) -> list[Node]:
    """(value, type) of what an expression finds from a node."""
    result = compile(expression)((node[0], node[1], None), Environment(resource=resource))
    return [(value, type.removeprefix("System.")) for value, type, _ in result if value is not None]


def escaped(text: object) -> str:
    written = str(text)
    for character in "\\,|$":
        written = written.replace(character, "\\" + character)
    return written


def asked(parameter: SearchParameter, resource: Json) -> Iterator[list[str]]:
    """What a client would write to find the resource by this parameter: each a list of values to be ANDed."""
    root = (resource, resource_node(resource)[1])
    if parameter.code == "relationship":
        return  # the standard printed its expressions the wrong way round: tests/search/test_values
    if parameter.type == "composite":
        for focus in found_by(parameter.expression, root, resource):
            parts = [_component(url, expression, focus, resource) for url, expression in parameter.components]
            if all(parts):
                yield ["$".join(part[0] for part in parts)]
        return
    for node in found_by(parameter.expression, root, resource):
        yield from written(parameter.type, node)


def _component(url: str, expression: str, focus: Node, resource: Json) -> list[str]:
    parameter = definitions.search_parameter(url)
    assert parameter is not None
    values = [
        each for node in found_by(expression, focus, resource) for each in written(parameter.type, node)
    ]
    return [value[0] for value in values if len(value) == 1]


def written(kind: str, node: Node) -> Iterator[list[str]]:
    """The values by which one found value can be asked for."""
    value, type = node
    if type == "Extension":
        for member in value:
            if member.startswith("value"):
                yield from written(kind, (value[member], member[5:]))
        return
    yield from ([each] if isinstance(each, str) else each for each in _WRITERS[kind](value, type) if each)


def _token(value: Any, type: str) -> Iterator[str]:
    match type:
        case "Coding":
            if "code" in value:
                yield f"{escaped(value.get('system', ''))}|{escaped(value['code'])}"
                yield escaped(value["code"])
        case "CodeableConcept":
            for coding in value.get("coding", ()):
                yield from _token(coding, "Coding")
        case "Identifier":
            if "value" in value:
                yield f"{escaped(value.get('system', ''))}|{escaped(value['value'])}"
        case "ContactPoint":
            yield escaped(value.get("value", ""))
        case "boolean" | "Boolean":
            yield "true" if value else "false"
        case _ if not isinstance(value, dict):
            yield escaped(value)


def _reference(value: Any, type: str) -> Iterator[str]:
    if isinstance(value, str):
        yield "" if value.startswith("#") else escaped(value)
    elif type == "Reference":
        text = value.get("reference", "")
        yield "" if text.startswith("#") or not text else escaped(text)
    elif "id" in value:
        yield f"{value['resourceType']}/{value['id']}"


def _date(value: Any, type: str) -> Iterator[str | list[str]]:
    if type in ("date", "dateTime", "instant"):
        yield value
    elif type == "Period":
        yield [f"{prefix}{value[end]}" for prefix, end in (("ge", "start"), ("le", "end")) if end in value]
    elif type == "Timing" and value.get("event"):
        yield [f"ge{min(value['event'])}", f"le{max(value['event'])}"]


def _string(value: Any, type: str) -> Iterator[str]:
    if isinstance(value, str):
        yield escaped(value[:200]) if fold(value) else ""
        return
    texts = [value.get(part) for part in ("text", "family", "city", "state", "postalCode", "country")]
    texts += [each for part in ("given", "prefix", "suffix", "line") for each in value.get(part) or ()]
    texts += [coding.get("display") for coding in value.get("coding", ())]
    for text in texts:
        if text:
            yield from _string(text, "string")


def _quantity(value: Any, type: str) -> Iterator[str]:
    if type == "Range":
        for prefix, end in (("ge", "low"), ("le", "high")):
            if "value" in value.get(end, {}):
                yield f"{prefix}{value[end]['value']}"
    elif type == "SampledData":
        yield f"ge{value['origin']['value']}" if "data" in value else ""
    elif "value" in value:
        prefix = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}.get(value.get("comparator", ""), "")
        yield f"{prefix}{value['value']}"
        if not prefix and "code" in value:
            yield f"{value['value']}|{escaped(value.get('system', ''))}|{escaped(value['code'])}"


def _plain(value: Any, type: str) -> Iterator[str]:
    yield escaped(value)


def _near(value: Any, type: str) -> Iterator[str]:
    yield f"{value['latitude']}|{value['longitude']}|1|m"


_WRITERS: dict[str, Any] = {
    "token": _token,
    "reference": _reference,
    "date": _date,
    "string": _string,
    "quantity": _quantity,
    "number": _plain,
    "uri": _plain,
    "special": _near,
}


async def stored(served: Served, resources: list[Json]) -> None:
    """Put as they are: several of the examples are not valid, which is not the question here."""
    zone = served.engine.settings.zone
    puts = [
        Put(r["resourceType"], r["id"], 0, 0, "create", codec.dump(r), extract(r, BASE, zone))
        for r in resources
    ]
    for at in range(0, len(puts), 500):
        await served.engine.store.commit(puts[at : at + 500])


async def missed(
    client: httpx.AsyncClient, parameter: SearchParameter, resource: Json
) -> tuple[int, list[str]]:
    """How many searches were asked, and those that did not find the resource."""
    asks = dict.fromkeys(islice((tuple(values) for values in asked(parameter, resource)), MOST))
    type, wrong = resource["resourceType"], []
    for values in asks:
        query = [("_id", resource["id"]), ("_total", "none"), *((parameter.code, value) for value in values)]
        response = await client.get(f"/{type}", params=query)
        found = [e["resource"]["id"] for e in response.json().get("entry", ()) if "resource" in e]
        if response.status_code != 200 or found != [resource["id"]]:
            wrong.append(f"{type}/{resource['id']}?{parameter.code}={values} {response.status_code}")
    return len(asks), wrong


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not (ARCHIVE or SELECTION.exists()), reason="no examples")
async def test_each_example_is_found_by_each_of_its_parameters(served: Served) -> None:
    resources = list(examples())
    await stored(served, resources)
    client = served.client()
    wrong: list[str] = []
    count, used = 0, set()
    for resource in resources:
        for parameter in definitions.search_parameters(resource["resourceType"]).values():
            if not parameter.expression:
                continue
            asks, missing = await missed(client, parameter, resource)
            count += asks
            wrong += missing
            if asks:
                used.add(parameter.url)
    assert wrong == [], f"{len(wrong)} of {count}: " + json.dumps(wrong[:40], indent=1)
    assert count > 2_000
    assert len(used) > 700
