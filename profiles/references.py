"""Reference strings, and the walk over those of a resource.

    Patient/12                              relative: a resource of this server
    Patient/12/_history/3                   the same, one version
    https://here/fhir/Patient/12            absolute; relative when it starts with the server's own base
    https://there/fhir/Patient/12           absolute, elsewhere
    urn:uuid:… urn:oid:…                    an entry of the same Bundle, or a thing named elsewhere
    #p1  #                                  contained, or the container itself
    Patient?identifier=…                    conditional, in a transaction only

FHIR R4 references.html#literal; bundle.html#references; http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["local", "absolute", "urn", "fragment", "conditional", "other"]

_RESTFUL = re.compile(
    r"(?P<base>https?://[^?#]+/)?(?P<type>[A-Z][A-Za-z]{1,63})/(?P<id>[A-Za-z0-9.\-]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9.\-]{1,64}))?(?:#.*)?"
)
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]{1,63})\?.+")
_ATTRIBUTE = re.compile(r"""(\b(?:href|src)\s*=\s*)("|')(.*?)\2""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference string taken apart. `target` is what an index holds: "Type/id" for this server's resources,
    else the text as written."""

    kind: Kind
    target: str
    type: str = ""
    id: str = ""
    version: str = ""


def parse(text: str, own_base: str = "") -> Reference:
    """Never raises: what follows no form is of kind "other". `own_base` has no final slash."""
    if text.startswith("#"):
        return Reference("fragment", text, id=text[1:])
    if text.startswith("urn:"):
        return Reference("urn", text)
    match = _RESTFUL.fullmatch(text)
    if match is None:
        conditional = _CONDITIONAL.fullmatch(text)
        if conditional is not None:
            return Reference("conditional", text, type=conditional[1])
        return Reference("absolute" if "://" in text else "other", text)
    base, type, id, version = match.groups()
    if base is None or (own_base and base == own_base + "/"):
        return Reference("local", f"{type}/{id}", type, id, version or "")
    return Reference("absolute", text, type, id, version or "")


Place = tuple[Any, ...]
"""Where a member stands: (the place of its holder, its name or its number in the list). `told` spells it."""


def walk(resource: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every Reference of a resource that has a literal reference: (its place, the Reference's own dict, to be
    changed in place if wished). Goes into contained resources, extensions, and the entries of a Bundle."""
    found: list[_Text] = []
    _gather(resource, (str(resource.get("resourceType", "")),), found)
    for place, holder, key, _value in found:
        if key == "reference":
            yield place, holder


def told(place: Place) -> str:
    """The place as a FHIRPath: `Patient.contact[0].organization`."""
    if len(place) == 1:
        return str(place[0])
    step = place[1]
    return f"{told(place[0])}[{step}]" if isinstance(step, int) else f"{told(place[0])}.{step}"


def rewrite(resource: dict[str, Any], replace: Callable[[str], str | None]) -> None:
    """Put `replace(link)` in the place of every link, where it is not None: in References, in elements of the
    types uri, url, oid, uuid and canonical, and in the href and src of narratives. In place. FHIR R4
    http.html#trules"""
    found: list[_Text] = []
    _gather(resource, (), found)
    for _place, holder, key, value in found:
        if key == "div":
            holder[key] = _ATTRIBUTE.sub(lambda found: _relink(found, replace), value)
        else:
            new = replace(value)
            if new is not None:
                holder[key] = new


_LINKS = ("url", "Url", "uri", "Uri", "valueOid", "valueUuid", "Canonical")


def _is_link(key: str) -> bool:
    return key == "reference" or key.endswith(_LINKS)


def _relink(found: re.Match[str], replace: Callable[[str], str | None]) -> str:
    new = replace(found[3])
    return found[0] if new is None else f"{found[1]}{found[2]}{new}{found[2]}"


_Text = tuple[Place, dict[str, Any], str, str]
"""(where the holder stands, the holder, key, text)"""


def _gather(node: dict[str, Any], place: Place, found: list[_Text]) -> None:
    """Every text that is a link or a narrative, depth first. Lists of strings are passed over: FHIR has
    repeating uris only for namings (`instantiatesUri`, `profile`), which are not links to entries."""
    for key, value in node.items():
        if isinstance(value, str):
            if key == "div" or _is_link(key):
                found.append((place, node, key, value))
        elif isinstance(value, dict):
            _gather(value, (place, key), found)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                if isinstance(item, dict):
                    _gather(item, ((place, key), at), found)
