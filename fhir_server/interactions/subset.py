"""`_summary` and `_elements`: part of a resource, marked SUBSETTED so that nobody stores it back.

FHIR R4 search.html#summary, search.html#elements
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from profiles import codec, definitions
from profiles.outcomes import Invalid

_ALWAYS = frozenset({"resourceType", "id", "meta"})
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
SUMMARIES = ("true", "text", "data", "count", "false")


@dataclass(frozen=True, slots=True)
class Subset:
    """What to leave: `summary` is "true", "text", "data" or ""; `elements` are (type or "", top-level
    element)."""

    summary: str = ""
    elements: tuple[tuple[str, str], ...] = ()

    def apply(self, body: bytes) -> bytes:
        """The part of a stored resource; the bytes untouched when all is asked for."""
        if not self.summary and not self.elements:
            return body
        resource = codec.parse(body)
        keep = self._rule(resource["resourceType"])
        part = {
            key: value for key, value in resource.items() if key in _ALWAYS or keep(key.removeprefix("_"))
        }
        if self.summary == "true" and not self.elements:
            part = _summary(part, resource["resourceType"])
        meta = dict(resource.get("meta") or {})
        meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
        return codec.dump({**part, "meta": meta})

    def _rule(self, type: str) -> Callable[[str], bool]:
        known = definitions.elements(type)
        if self.elements:
            named = {name for of, name in self.elements if of in ("", type)}
            return lambda name: name in named or (name in known and known[name].min > 0)
        if self.summary == "data":
            return lambda name: name != "text"
        if self.summary == "text":
            return lambda name: name == "text" or (name in known and known[name].min > 0)
        return lambda name: True


def _summary(node: dict[str, Any], key: str) -> dict[str, Any]:
    """The members that the definitions mark as summary, through backbones; data types are kept whole."""
    properties = definitions.properties(key)
    part: dict[str, Any] = {}
    for name, value in node.items():
        if name in _ALWAYS:
            part[name] = value
            continue
        element, of_type = properties.get(name.removeprefix("_"), (None, ""))
        if element is None or not (element.summary or element.modifier):
            continue
        if "." in of_type and isinstance(value, list):
            part[name] = [_summary(item, of_type) if isinstance(item, dict) else item for item in value]
        elif "." in of_type and isinstance(value, dict):
            part[name] = _summary(value, of_type)
        else:
            part[name] = value
    return part


def subset_of(params: Sequence[tuple[str, str]]) -> Subset:
    """From the parameters of a read or a search. Raises Invalid. `_summary=count` is the search's own
    business."""
    summary, elements = "", []
    for name, value in params:
        if name == "_summary":
            if value not in SUMMARIES:
                raise Invalid("bad-summary", f"_summary is one of {', '.join(SUMMARIES)}")
            summary = value if value not in ("false", "count") else ""
        elif name == "_elements":
            for part in value.split(","):
                type, dot, element = part.strip().partition(".")
                if part.strip():
                    elements.append((type, element) if dot and type[:1].isupper() else ("", type))
    if summary and elements:
        raise Invalid("summary-and-elements", "_summary and _elements exclude each other")
    return Subset(summary, tuple(elements))
