"""What a reference leads to without a server: contained resources and the entries of the Bundle around.

FHIR R4 bundle.html#references
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]
Resolve = Callable[[str], "Json | None"]


def resolver(root: Json, around: Mapping[str, Json]) -> Resolve:
    """A function from a reference's text to the resource, None where it is not at hand. `around` is what
    `index` makes of the Bundle."""

    inside: dict[str, Json] = {"#": root}

    def resolve(text: str) -> Json | None:
        if not text.startswith("#"):
            return around.get(text)
        if len(inside) == 1:
            contained = root.get("contained")
            for one in contained if isinstance(contained, list) else ():
                if isinstance(one, dict) and isinstance(one.get("id"), str):
                    inside.setdefault("#" + one["id"], one)
        return inside.get(text)

    return resolve


def index(bundle: Json) -> dict[str, Json]:
    """The resources of a Bundle's entries by full URL and, for those of a server, by `Type/id`; of several,
    the first."""
    found: dict[str, Json] = {}
    for url, resource in entries(bundle):
        found.setdefault(url, resource)
        if "/" in url:
            found.setdefault("/".join(url.rsplit("/", 2)[-2:]), resource)
    return found


def entries(bundle: Json) -> Iterator[tuple[str, Json]]:
    """(fullUrl, resource) of each entry that has both."""
    found = bundle.get("entry")
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            url = entry.get("fullUrl")
            if isinstance(url, str):
                yield url, entry["resource"]
