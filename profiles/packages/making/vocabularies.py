"""Code systems, value sets, naming systems. FHIR R4 codesystem.html; valueset.html; namingsystem.html"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from profiles.packages.making.common import BASE, DATE, Json, computable, head, source

_VALUES = {bool: "valueBoolean", int: "valueInteger"}


def code_systems() -> Iterator[Json]:
    """One per entry of `code_systems.yaml`: complete, and their value set of all codes named."""
    for id, entry in source("code_systems").items():
        properties = entry.get("properties", {})
        made = head("CodeSystem", id, entry["title"], entry.get("description", ""))
        made |= {"caseSensitive": True, "valueSet": f"{BASE}/ValueSet/{id}", "content": "complete"}
        made["count"] = len(entry["concepts"])
        if properties:
            made["property"] = [
                {"code": code, "description": one["description"], "type": one["type"]}
                for code, one in properties.items()
            ]
        made["concept"] = [_concept(str(code), one, properties) for code, one in entry["concepts"].items()]
        yield made


def _concept(code: str, entry: str | Json, properties: Json) -> Json:
    if isinstance(entry, str):
        return {"code": code, "display": entry}
    made = {"code": code, "display": entry["display"]}
    if "definition" in entry:
        made["definition"] = entry["definition"]
    rows = [{"code": name, **_value(entry[name])} for name in properties if name in entry]
    return {**made, "property": rows} if rows else made


def _value(value: Any) -> Json:
    return {_VALUES.get(type(value), "valueCode"): value}


def value_sets() -> Iterator[Json]:
    """All codes of each of our code systems, then those of `value_sets.yaml`: some codes of some systems."""
    for id, entry in source("code_systems").items():
        made = head("ValueSet", id, entry["title"], f"Tous les codes de « {entry['title']} ».")
        made["compose"] = {"include": [{"system": f"{BASE}/CodeSystem/{id}"}]}
        yield made
    for id, entry in source("value_sets").items():
        made = head("ValueSet", id, entry["title"], entry.get("description", ""))
        made["compose"] = {"include": [_include(system, one) for system, one in entry["codes"].items()]}
        yield made


def _include(system: str, codes: Json | list[str]) -> Json:
    """Codes of ours have their French display; one of another system keeps its own and gets a French
    designation."""
    if isinstance(codes, list):
        return {"system": system, "concept": [{"code": code} for code in codes]}
    concepts = [
        {"code": code, "designation": [{"language": "fr", "value": words}]} for code, words in codes.items()
    ]
    return {"system": system, "concept": concepts}


def naming_systems() -> Iterator[Json]:
    """The identifier systems of our own."""
    for id, entry in source("naming_systems").items():
        made = {
            "resourceType": "NamingSystem",
            "id": id,
            "language": "fr",
            "name": computable(id),
            "status": "active",
            "kind": "identifier",
            "date": DATE,
            "publisher": "Télédossier",
            "description": entry["description"],
            "uniqueId": [{"type": "uri", "value": f"{BASE}/NamingSystem/{id}", "preferred": True}],
        }
        yield made
