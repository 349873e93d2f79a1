"""A small terminology of its own: nine colours in a hierarchy, and what is asked of it."""

from __future__ import annotations

from typing import Any

from terminology.library import Library, of_packages
from terminology.service import Terminology

Json = dict[str, Any]
COLOURS = "https://example.org/CodeSystem/colours"

SYSTEM: Json = {
    "resourceType": "CodeSystem",
    "url": COLOURS,
    "version": "2",
    "name": "Colours",
    "status": "active",
    "content": "complete",
    "caseSensitive": True,
    "valueSet": "https://example.org/ValueSet/all-colours",
    "hierarchyMeaning": "is-a",
    "property": [{"code": "warm", "type": "boolean"}, {"code": "like", "type": "code"}],
    "concept": [
        {
            "code": "any",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {
                    "code": "red",
                    "display": "Red",
                    "designation": [{"language": "fr", "value": "Rouge"}],
                    "property": [{"code": "warm", "valueBoolean": True}],
                    "concept": [
                        {"code": "crimson", "display": "Crimson"},
                        {
                            "code": "pink",
                            "display": "Pink",
                            "property": [{"code": "like", "valueCode": "rose"}],
                        },
                    ],
                },
                {
                    "code": "blue",
                    "display": "Blue",
                    "concept": [
                        {"code": "navy", "display": "Navy blue"},
                        {"code": "sky", "display": "Sky blue"},
                    ],
                },
                {"code": "mauve", "display": "Mauve", "property": [{"code": "parent", "valueCode": "red"}]},
            ],
        },
        {"code": "sepia", "display": "Sepia", "property": [{"code": "inactive", "valueBoolean": True}]},
    ],
}


def include(**parts: Any) -> Json:
    """A ValueSet of one include."""
    return value_set({"include": [parts]})


def value_set(compose: Json, name: str = "sent-along") -> Json:
    """A ValueSet resource."""
    return {
        "resourceType": "ValueSet",
        "url": f"https://example.org/ValueSet/{name}",
        "status": "active",
        "compose": compose,
    }


def chosen(property: str, op: str, value: str) -> Json:
    """The colours that pass one filter."""
    return include(system=COLOURS, filter=[{"property": property, "op": op, "value": value}])


def library(*resources: Json) -> Library:
    """What is built in, under these resources."""
    overlay: dict[tuple[str, str], dict[str, Any]] = {}
    for one in (SYSTEM, *resources):
        versions = overlay.setdefault((one["resourceType"], one["url"]), {})
        versions[one.get("version", "")] = lambda one=one: one
    whole = {one["valueSet"]: one["url"] for one in (SYSTEM, *resources) if "valueSet" in one}
    return of_packages(()).overlaid(overlay, whole)


def terminology(*resources: Json) -> Terminology:
    return Terminology(library(*resources))
