"""What a reference leads to without a server: contained resources and the entries of the Bundle around.

FHIR R4 bundle.html#references
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Json = dict[str, Any]


def resolver(root: Json, bundle: Json | None) -> Callable[[str], Json | None]:
    """A function from a reference's text to the resource, None where it is not at hand."""

    def resolve(text: str) -> Json | None:
        if text.startswith("#"):
            if text == "#":
                return root
            inside = root.get("contained")
            for one in inside if isinstance(inside, list) else ():
                if isinstance(one, dict) and one.get("id") == text[1:]:
                    return one
            return None
        for url, resource in entries(bundle) if bundle is not None else ():
            if url == text or (url.endswith("/" + text) and "/" in text):
                return resource
        return None

    return resolve


def entries(bundle: Json) -> Iterator[tuple[str, Json]]:
    """(fullUrl, resource) of each entry that has both."""
    found = bundle.get("entry")
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            url = entry.get("fullUrl")
            if isinstance(url, str):
                yield url, entry["resource"]
