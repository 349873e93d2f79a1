"""The built-in terminology, made from the official package: `python -m terminology.generate PACKAGE.tgz`.

Writes `terminology/packages/NAME.zip`, a compact package of every CodeSystem and ValueSet (the form of
`profiles.schema.pack`), the same bytes for the same package. Codes, displays, hierarchies, properties and
compositions stay; narratives, descriptions and definitions do not.

FHIR R4 package hl7.fhir.r4.core 4.0.1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from profiles.schema import pack

PACKAGES = Path(__file__).parent / "packages"
_CONCEPT = ("code", "display", "designation", "property")
Json = dict[str, Any]


def compact(resource: Json) -> Json:
    """A CodeSystem or ValueSet without what no question about codes reads."""
    kept = dict(resource)
    kept.pop("extension", None)
    if "concept" in kept:
        kept["concept"] = [_concept(one) for one in kept["concept"]]
    if "property" in kept:
        kept["property"] = [
            {k: one[k] for k in ("code", "uri", "type") if k in one} for one in kept["property"]
        ]
    if "compose" in kept:
        kept["compose"] = _compose(kept["compose"])
        kept.pop("expansion", None)
    return kept


def _concept(concept: Json) -> Json:
    kept = {key: concept[key] for key in _CONCEPT if key in concept}
    if "concept" in concept:
        kept["concept"] = [_concept(one) for one in concept["concept"]]
    return kept


def _compose(compose: Json) -> Json:
    kept: Json = {key: compose[key] for key in ("lockedDate", "inactive") if key in compose}
    for part in ("include", "exclude"):
        if part in compose:
            kept[part] = [_include(one) for one in compose[part]]
    return kept


def _include(include: Json) -> Json:
    kept: Json = {key: include[key] for key in ("system", "version", "valueSet", "filter") if key in include}
    if "concept" in include:
        wanted = ("code", "display", "designation")
        kept["concept"] = [{key: one[key] for key in wanted if key in one} for one in include["concept"]]
    return kept


def _whole(chosen: list[Json]) -> list[Json]:
    """The value sets that a code system names as all of its codes, and the package does not hold."""
    there = {one["url"] for one in chosen}
    found: dict[str, Json] = {}
    for one in chosen:
        url = one.get("valueSet", "").partition("|")[0] if one["resourceType"] == "CodeSystem" else ""
        if url and url not in there:
            include = {"system": one["url"]}
            found[url] = {"resourceType": "ValueSet", "url": url, "compose": {"include": [include]}}
    return list(found.values())


def main(package: Path) -> None:
    """Read the package, write its terminology."""
    manifest, resources = pack.read(package)
    chosen = [compact(one) for one in resources if one["resourceType"] in ("CodeSystem", "ValueSet")]
    chosen += _whole(chosen)
    PACKAGES.mkdir(exist_ok=True)
    (PACKAGES / f"{manifest['name']}.zip").write_bytes(pack.build(manifest, chosen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
