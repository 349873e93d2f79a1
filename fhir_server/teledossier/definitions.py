"""The télédossier's own definitions as they lie in `profiles/packages/teledossier`: read once, served as
FHIR.

The domain takes its French words, its roles and its transition tables from here; nothing of them is in the
code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.teledossier.vocabulary import Resource
from profiles import codec


@cache
def resources() -> Mapping[str, Resource]:
    """Every definition by `Type/id`."""
    folder = files("profiles.packages") / "teledossier"
    found = [codec.parse(item.read_bytes()) for item in folder.iterdir() if item.name.endswith(".json")]
    return {f"{one['resourceType']}/{one['id']}": one for one in found}


@cache
def concepts(code_system: str) -> Mapping[str, Resource]:
    """The concepts of one of our CodeSystems by code, in the order of definition."""
    return {one["code"]: one for one in resources()[f"CodeSystem/{code_system}"]["concept"]}


def display(code_system: str, code: str) -> str:
    """The French words of a code; the code itself if it has none."""
    return str(concepts(code_system).get(code, {}).get("display", code))


@cache
def properties(code_system: str, code: str) -> Mapping[str, Any]:
    """The properties of a concept: name → value."""
    found = {}
    for one in concepts(code_system).get(code, {}).get("property", ()):
        found[one["code"]] = next(content for field, content in one.items() if field.startswith("value"))
    return found


def say(slug: str, **names: str) -> str:
    """The French sentence of one of our issues, its names filled in."""
    return display("issue", slug).format(**names)


async def install(engine: Engine) -> int:
    """Puts every definition that is missing or differs into the store, so that clients can read them; returns
    how many were written. Safe to run at each start."""
    fhir, written = Fhir(engine, SYSTEM), 0
    keys = [(one["resourceType"], one["id"]) for one in resources().values()]
    stored = await engine.store.read_many(keys)
    for definition in resources().values():
        version = stored.get((definition["resourceType"], definition["id"]))
        if (
            version is None
            or version.body is None
            or _content(codec.parse(version.body)) != _content(definition)
        ):
            await fhir.update(definition)
            written += 1
    return written


def _content(resource: Resource) -> Resource:
    """Without what the server stamps."""
    return {field: content for field, content in resource.items() if field != "meta"}
