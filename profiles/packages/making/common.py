"""What every definition of the guide begins with, the reading of the sources, and the way JSON is laid out.

FHIR R4 metadatatypes.html
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

Json = dict[str, Any]

BASE = "https://teledossier.example/fhir"
VERSION = "1"
DATE = "2026-11-21"
PUBLISHER = "Télédossier"
WIDTH = 110
"""Characters of a line in which a whole JSON object may stand."""


@cache
def source(name: str) -> Json:
    """A file of `profiles/packages/source`; `~/x` in its strings stands for our canonical base."""
    text = files("profiles.packages").joinpath("source", f"{name}.yaml").read_text(encoding="utf-8")
    loaded = _whole(yaml.safe_load(text))
    if not isinstance(loaded, dict):
        raise ValueError(f"source/{name}.yaml is a mapping of ids")
    return loaded


def _whole(value: Any) -> Any:
    match value:
        case str():
            return value.replace("~/", BASE + "/")
        case list():
            return [_whole(one) for one in value]
        case dict():
            return {_whole(key): _whole(one) for key, one in value.items()}
    return value


def head(type: str, id: str, title: str, description: str = "") -> Json:
    """The elements that all our conformance resources share."""
    made = {
        "resourceType": type,
        "id": id,
        "language": "fr",
        "url": f"{BASE}/{type}/{id}",
        "version": VERSION,
        "name": computable(id),
        "title": title,
        "status": "active",
        "experimental": False,
        "date": DATE,
        "publisher": PUBLISHER,
        "description": " ".join(description.split()),
    }
    return {name: value for name, value in made.items() if value != ""}


def computable(id: str) -> str:
    """`avis-urgences` → `AvisUrgences`: a name that a program can use (`inv-0`)."""
    return "".join(part[:1].upper() + part[1:] for part in id.split("-"))


def extension_url(name: str) -> str:
    """One of our extensions or profiles."""
    return f"{BASE}/StructureDefinition/{name}"


def coding(name: str, code: str, display: str = "") -> Json:
    """A Coding of our CodeSystem `name`."""
    made = {"system": f"{BASE}/CodeSystem/{name}", "code": code}
    return {**made, "display": display} if display else made


def laid_out(value: Any, indent: str = "") -> str:
    """JSON of two spaces, in which what fits on a line stands on one."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (indent and len(indent) + len(short) <= WIDTH):
        return short
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [
            f"{deeper}{json.dumps(key, ensure_ascii=False)}: {laid_out(one, deeper)}"
            for key, one in value.items()
        ]
    else:
        rows = [deeper + laid_out(one, deeper) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(rows) + "\n" + indent + closing
