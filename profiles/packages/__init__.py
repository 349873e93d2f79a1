"""Our own definitions: one folder per package, one JSON file per resource, named `<Type>-<id>.json`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import orjson

OWN = "teledossier"


@cache
def search_parameters() -> tuple[dict[str, Any], ...]:
    """The SearchParameter resources of the télédossier guide, in the order of their file names.

    Raises ValueError naming the file when one is not a usable SearchParameter.
    """
    found = []
    for name, body in _files("SearchParameter-"):
        resource = orjson.loads(body)
        missing = [key for key in ("code", "type", "base", "url") if not resource.get(key)]
        if missing:
            raise ValueError(f"profiles/packages/{OWN}/{name}: a SearchParameter needs {', '.join(missing)}")
        found.append(resource)
    return tuple(found)


@cache
def resources() -> tuple[dict[str, Any], ...]:
    """Every resource of the télédossier guide, in the order of their file names."""
    return tuple(orjson.loads(body) for _name, body in _files(""))


def _files(prefix: str) -> list[tuple[str, bytes]]:
    folder = files("profiles.packages").joinpath(OWN)
    if not folder.is_dir():
        return []
    chosen = [
        file for file in folder.iterdir() if file.name.startswith(prefix) and file.name.endswith(".json")
    ]
    return [(file.name, file.read_bytes()) for file in sorted(chosen, key=lambda file: file.name)]
