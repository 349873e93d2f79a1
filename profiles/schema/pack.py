"""A FHIR package file → a compact package: one zip, one JSON file per definition, and an index.

`python -m profiles.schema.pack PACKAGE.tgz OUTPUT.zip [RESOURCE TYPE …]` makes the built-in ones; the command
that installs a package makes the others. The same package gives the same bytes. Narratives, mappings and
descriptions stay out: what is kept is what validation and terminology read.

A package from outside is hostile until read: nothing is unpacked to disk, members are counted and measured
before they are read, and their names are never used as paths.

https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from profiles.outcomes import Invalid, TooLarge

Json = dict[str, Any]
KEPT_TYPES = (
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "SearchParameter",
    "ConceptMap",
    "Questionnaire",
)
MAX_MEMBERS = 20_000
MAX_MEMBER = 50_000_000
MAX_PACKAGE = 1_000_000_000
"""Bytes, unpacked."""

_TOP = (
    "resourceType", "id", "url", "version", "name", "title", "status", "type", "kind", "abstract",
    "derivation", "baseDefinition", "context", "contextInvariant", "fhirVersion", "code", "base",
    "expression", "target", "component", "modifier", "comparator", "compose", "content", "caseSensitive",
    "valueSet", "hierarchyMeaning", "supplements", "property", "filter", "concept", "group", "sourceUri",
    "targetUri", "sourceCanonical", "targetCanonical", "item", "subjectType", "versionNeeded", "expansion"
)  # fmt: skip
_ELEMENT = (
    "id", "path", "sliceName", "slicing", "min", "max", "type", "contentReference", "maxLength", "binding",
    "constraint", "isModifier"
)  # fmt: skip
_PREFIXES = ("fixed", "pattern", "minValue", "maxValue")
STRUCTURAL = frozenset({"ele-1", "ext-1"})
"""Invariants on every element, which the base structure check judges itself."""


def compact(resource: Json) -> Json:
    """What validation and terminology read of a definition."""
    kept = {key: resource[key] for key in _TOP if key in resource}
    for view in ("snapshot", "differential"):
        elements = (resource.get(view) or {}).get("element") or []
        if elements and not (view == "differential" and "snapshot" in kept):
            kept[view] = {"element": [_element(element) for element in elements]}
    return kept


def _element(element: Json) -> Json:
    kept = {key: element[key] for key in _ELEMENT if key in element}
    kept.update({key: value for key, value in element.items() if key.startswith(_PREFIXES)})
    if "constraint" in kept:
        wanted = ("key", "severity", "human", "_human", "expression")
        rows = [
            {key: row[key] for key in wanted if key in row}
            for row in kept["constraint"]
            if row.get("key") not in STRUCTURAL
        ]
        kept["constraint"] = rows
        if not rows:
            del kept["constraint"]
    if "binding" in kept:
        kept["binding"] = {k: v for k, v in kept["binding"].items() if k in ("strength", "valueSet")}
    return kept


def read(file: Path) -> tuple[Json, list[Json]]:
    """package.json and every definition of a package file, in the order of their names.

    Raises Invalid for what is no FHIR package, TooLarge for one beyond the limits.
    """
    manifest: Json | None = None
    found: list[tuple[str, Json]] = []
    for name, body in _members(file):
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Invalid("bad-package", f"{file.name}: {name} is not valid JSON") from None
        if name == "package/package.json":
            manifest = content if isinstance(content, dict) else None
        elif isinstance(content, dict) and content.get("resourceType") in KEPT_TYPES:
            found.append((name, content))
    if manifest is None or not isinstance(manifest.get("name"), str):
        raise Invalid("bad-package", f"{file.name} holds no package/package.json with a name")
    return manifest, [content for _name, content in sorted(found, key=lambda pair: pair[0])]


def _members(file: Path) -> Iterator[tuple[str, bytes]]:
    """The JSON files directly under `package/`: regular files alone, within the limits."""
    total = count = 0
    try:
        with tarfile.open(file, "r|gz") as package:
            for member in package:
                count += 1
                total += member.size
                if count > MAX_MEMBERS or total > MAX_PACKAGE or member.size > MAX_MEMBER:
                    raise TooLarge("package-too-large", f"{file.name} is larger than a FHIR package may be")
                name = member.name.removeprefix("./")
                plain = name.startswith("package/") and name.count("/") == 1 and name.endswith(".json")
                if not plain or not member.isreg() or name == "package/.index.json":
                    continue
                stream = package.extractfile(member)
                if stream is not None:
                    yield name, stream.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise Invalid("bad-package", f"{file.name} is not a FHIR package (a gzipped tar file)") from None


def build(manifest: Json, resources: Iterable[Json]) -> bytes:
    """The compact package: `index.json` (the manifest, and url → entry) and one file per definition."""
    entries: list[Json] = []
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zip:
        for place, resource in enumerate(resources):
            if not isinstance(resource.get("url"), str):
                continue
            name = f"{resource['resourceType']}/{place}.json"
            keys = ("resourceType", "url", "version", "type", "kind", "derivation", "abstract", "name")
            entries.append({key: resource[key] for key in keys if key in resource} | {"file": name})
            _write(zip, name, compact(resource))
        wanted = ("name", "version", "license", "canonical", "fhirVersions", "dependencies", "title")
        kept = {key: manifest[key] for key in wanted if key in manifest}
        _write(zip, "index.json", {"package": kept, "entries": entries})
    return out.getvalue()


def _write(zip: zipfile.ZipFile, name: str, content: Json) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    zip.writestr(info, orjson.dumps(content))


def main(package: Path, output: Path, types: tuple[str, ...]) -> None:
    """Make one compact package, of the named resource types alone when any is named."""
    manifest, resources = read(package)
    chosen = [one for one in resources if not types or one["resourceType"] in types]
    output.write_bytes(build(manifest, chosen))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python -m profiles.schema.pack PACKAGE.tgz OUTPUT.zip [RESOURCE TYPE …]")
    main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:]))
