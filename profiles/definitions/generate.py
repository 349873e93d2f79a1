"""The compact R4 tables, made from the official package: `python -m profiles.definitions.generate
PACKAGE.tgz`.

Writes into `profiles/definitions/tables/`, the same bytes for the same package:

    elements.json.gz     type or backbone path → [kind, base, [[name, min, max, types, flags, value set,
    targets], …]]
                         max 0 = unbounded; flags: m modifier, s summary, c choice; a backbone's type is its
                         path
    primitives.json.gz   primitive → [base, regex]
    search.json.gz       one list per search parameter, see SEARCH_FIELDS
    codes.json.gz        value set of a required binding → {code system: [codes]}, or null where not
    enumerable here compartments.json.gz compartment → {type: [search parameter codes]}

No narrative, no descriptions. FHIR R4 package hl7.fhir.r4.core 4.0.1
"""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "tables"
SEARCH_FIELDS = ("code", "base", "type", "expression", "target", "url", "component", "modifier", "comparator")
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
REGEX = "http://hl7.org/fhir/StructureDefinition/regex"
DEFINITION = "http://hl7.org/fhir/StructureDefinition/"
Json = dict[str, Any]


def read_package(path: Path) -> list[Json]:
    """Every resource of a FHIR package."""
    with tarfile.open(path) as package:
        names = sorted(
            name for name in package.getnames() if name.startswith("package/") and name.count("/") == 1
        )
        files = (package.extractfile(name) for name in names if name.endswith(".json"))
        found = [json.load(file) for file in files if file is not None]
    return [resource for resource in found if isinstance(resource, dict) and "resourceType" in resource]


def elements_table(structures: Iterable[Json]) -> Json:
    """The types and their backbones."""
    table: Json = {}
    for structure in structures:
        if (
            structure["kind"] not in ("resource", "complex-type")
            or structure.get("derivation") == "constraint"
        ):
            continue
        snapshot = structure["snapshot"]["element"]
        base = structure.get("baseDefinition", "").removeprefix(DEFINITION)
        parents = {element["path"].rpartition(".")[0] for element in snapshot[1:]}
        table[structure["type"]] = [structure["kind"], base, []]
        for element in snapshot[1:]:
            path = element["path"]
            if path in parents:
                table[path] = ["backbone", element["type"][0]["code"], []]
            table[path.rpartition(".")[0]][2].append(_element(element, path in parents, structure["kind"]))
    return table


def _element(element: Json, is_backbone: bool, kind: str) -> list[Any]:
    path = element["path"]
    name = path.rpartition(".")[2]
    types = [path] if is_backbone else _types(element)
    if name == "id" and kind == "resource" and path.count(".") == 1:
        types = ["id"]
    flags = (
        "m" * bool(element.get("isModifier"))
        + "s" * bool(element.get("isSummary"))
        + "c" * name.endswith("[x]")
    )
    binding = element.get("binding", {})
    value_set = binding.get("valueSet", "") if binding.get("strength") == "required" else ""
    targets = sorted(
        {
            profile.removeprefix(DEFINITION)
            for type in element.get("type", [])
            if type["code"] in ("Reference", "canonical")
            for profile in type.get("targetProfile", [])
        }
    )
    maximum = 0 if element["max"] == "*" else int(element["max"])
    return [
        name.removesuffix("[x]"),
        element["min"],
        maximum,
        types,
        flags,
        value_set.partition("|")[0],
        targets,
    ]


def _types(element: Json) -> list[str]:
    if "contentReference" in element:
        return [element["contentReference"].removeprefix("#")]
    return [_type(type) for type in element["type"]]


def _type(type: Json) -> str:
    if type["code"].startswith("http://hl7.org/fhirpath/"):
        named = [
            e.get("valueUrl") or e.get("valueUri") for e in type.get("extension", []) if e["url"] == FHIR_TYPE
        ]
        return str(named[0]) if named else "string"
    return str(type["code"])


def primitives_table(structures: Iterable[Json]) -> Json:
    """Each primitive's base type and its regex, "" where the standard gives none."""
    table: Json = {}
    for structure in structures:
        if structure["kind"] != "primitive-type":
            continue
        value = structure["snapshot"]["element"][-1]
        found = [e["valueString"] for e in value["type"][0].get("extension", []) if e["url"] == REGEX]
        base = structure["baseDefinition"].removeprefix(DEFINITION)
        table[structure["type"]] = [base, found[0] if found else ""]
    return table


def search_table(parameters: Iterable[Json]) -> list[list[Any]]:
    """Those with an expression, and the ones of the search itself (`_text`, `_content`, `_filter`,
    `_query`)."""
    rows = []
    for parameter in parameters:
        special = parameter["code"] in ("_text", "_content", "_filter", "_query")
        if (
            parameter["id"] == "example"
            or not parameter.get("base")
            or not ("expression" in parameter or special)
        ):
            continue
        row = {**parameter, "type": "special" if special else parameter["type"]}
        row["component"] = [
            [part["definition"], part["expression"]] for part in parameter.get("component", [])
        ]
        rows.append([row.get(field, "" if field == "expression" else []) for field in SEARCH_FIELDS])
    return sorted(rows, key=lambda row: (row[5], row[0]))


def compartments_table(definitions: Iterable[Json]) -> Json:
    """Which parameters put a resource into a compartment; `{def}` (the compartment's own resource) is left
    out."""
    table: Json = {}
    for definition in definitions:
        if definition["id"] == "example":
            continue
        table[definition["code"]] = {
            member["code"]: [code for code in member["param"] if not code.startswith("{")]
            for member in definition["resource"]
            if member.get("param")
        }
    return table


class Codes:
    """Enumerates value sets from the package's code systems."""

    def __init__(self, resources: Iterable[Json]) -> None:
        resources = list(resources)
        self.systems = {r["url"]: r for r in resources if r["resourceType"] == "CodeSystem"}
        self.value_sets = {r["url"]: r for r in resources if r["resourceType"] == "ValueSet"}

    def table(self, urls: Iterable[str]) -> Json:
        table: Json = {}
        for url in sorted(set(urls)):
            members = self.expand(url)
            table[url] = None if members is None else _by_system(members)
        return table

    def expand(self, url: str) -> set[tuple[str, str]] | None:
        """Its (system, code) pairs, None where the package cannot tell."""
        value_set = self.value_sets.get(url.partition("|")[0])
        if value_set is None:
            return None
        members: set[tuple[str, str]] = set()
        for include in value_set["compose"]["include"]:
            found = self._include(include)
            if found is None:
                return None
            members |= found
        for exclude in value_set["compose"].get("exclude", []):
            found = self._include(exclude)
            if found is None:
                return None
            members -= found
        return members

    def _include(self, include: Json) -> set[tuple[str, str]] | None:
        sets: list[set[tuple[str, str]]] = []
        for url in include.get("valueSet", []):
            found = self.expand(url)
            if found is None:
                return None
            sets.append(found)
        if "system" in include:
            of_system = self._of_system(include)
            if of_system is None:
                return None
            sets.append(of_system)
        return set.intersection(*sets) if sets else None

    def _of_system(self, include: Json) -> set[tuple[str, str]] | None:
        url = include["system"]
        if "concept" in include:
            return {(url, concept["code"]) for concept in include["concept"]}
        system = self.systems.get(url)
        if system is None or system.get("content") != "complete":
            return None
        concepts = list(_concepts(system.get("concept", []), ()))
        for filter in include.get("filter", []):
            if filter["op"] not in ("is-a", "descendent-of") or filter["property"] != "concept":
                return None
            own = filter["op"] == "is-a"
            root = filter["value"]
            concepts = [(code, above) for code, above in concepts if root in above or (own and code == root)]
        return {(url, code) for code, _above in concepts}


def _concepts(concepts: Iterable[Json], above: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(code, codes above it), by nesting and by the property `subsumedBy`."""
    for concept in concepts:
        parents = [p["valueCode"] for p in concept.get("property", []) if p["code"] == "subsumedBy"]
        yield concept["code"], (*above, *parents)
        yield from _concepts(concept.get("concept", []), (*above, concept["code"]))


def _by_system(members: set[tuple[str, str]]) -> dict[str, list[str]]:
    by_system: dict[str, list[str]] = {}
    for system, code in sorted(members):
        by_system.setdefault(system, []).append(code)
    return by_system


def write(name: str, table: object) -> int:
    """Write one table; the same input gives the same bytes. Returns its size."""
    data = gzip.compress(json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0)
    (TABLES / f"{name}.json.gz").write_bytes(data)
    return len(data)


def main(package: Path) -> None:
    """Make all tables."""
    resources = read_package(package)
    by_type: dict[str, list[Json]] = {}
    for resource in resources:
        by_type.setdefault(resource["resourceType"], []).append(resource)
    structures = by_type["StructureDefinition"]
    elements = elements_table(structures)
    bound = {row[5] for _kind, _base, rows in elements.values() for row in rows if row[5]}
    tables = {
        "elements": elements,
        "primitives": primitives_table(structures),
        "search": search_table(by_type["SearchParameter"]),
        "compartments": compartments_table(by_type["CompartmentDefinition"]),
        "codes": Codes(resources).table(bound),
    }
    TABLES.mkdir(exist_ok=True)
    for name, table in tables.items():
        print(f"{name}: {len(table)} rows, {write(name, table)} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m profiles.definitions.generate PACKAGE.tgz")
    main(Path(sys.argv[1]))
