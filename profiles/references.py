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


def walk(resource: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Reference of a resource that has a literal reference: (FHIRPath, the Reference's own dict, to be
    changed in place if wished). Goes into contained resources, extensions, and the entries of a Bundle."""
    for path, holder, key, value in _strings(resource, str(resource.get("resourceType", ""))):
        if key == "reference" and isinstance(value, str):
            yield path.removesuffix(".reference"), holder


def rewrite(resource: dict[str, Any], replace: Callable[[str], str | None]) -> None:
    """Put `replace(link)` in the place of every link, where it is not None: in References, in elements of the
    types uri, url, oid, uuid and canonical, and in the href and src of narratives. In place. FHIR R4
    http.html#trules"""
    for _path, holder, key, value in _strings(resource, ""):
        if key == "div":
            holder[key] = _ATTRIBUTE.sub(lambda found: _relink(found, replace), value)
        elif _is_link(key):
            new = replace(value)
            if new is not None:
                holder[key] = new


def _is_link(key: str) -> bool:
    return key == "reference" or key.endswith(
        ("url", "Url", "uri", "Uri", "valueOid", "valueUuid", "Canonical")
    )


def _relink(found: re.Match[str], replace: Callable[[str], str | None]) -> str:
    new = replace(found[3])
    return found[0] if new is None else f"{found[1]}{found[2]}{new}{found[2]}"


def _strings(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """(path, holding dict, key, text) of every string member, depth first. Lists of strings are passed over:
    FHIR has repeating uris only for namings (`instantiatesUri`, `profile`), which are not links to
    entries."""
    for key, value in list(node.items()):
        here = f"{path}.{key}"
        if isinstance(value, str):
            yield here, node, key, value
        elif isinstance(value, dict):
            yield from _strings(value, here)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _strings(item, f"{here}[{place}]")
