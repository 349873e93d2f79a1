"""Profiles and extensions: an entry names an element and says in a few words what is asked of it; the
differential's element follows from that and from the type's own definition.

`identifier:numero.system: {card: 1..1, fixed: …}` is the element `ServiceRequest.identifier:numero.system`;
`1..1 Le numéro` is short for a cardinality and a title.
FHIR R4 structuredefinition.html; elementdefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from profiles import definitions
from profiles.packages.making.common import BASE, Json, extension_url, head, source

CORE = "http://hl7.org/fhir/StructureDefinition"
_CARD = re.compile(r"(\d*)\.\.(\d+|\*)?(?: +(.*))?")
_DISCRIMINATED = {"value", "pattern", "type", "profile", "exists"}


def profiles() -> Iterator[Json]:
    """One StructureDefinition per entry of `profiles.yaml`."""
    for id, entry in source("profiles").items():
        type = entry["type"]
        made = head("StructureDefinition", id, entry["title"], entry["description"])
        made |= _kind("resource", type)
        rules = dict(entry.get("rules", {}))
        root: Json = {"id": type, "path": type}
        at_root = [_constraint(key, one, made["url"]) for key, one in rules.items() if "at" not in one]
        if at_root:
            root["constraint"] = at_root
        elements = [root, *(_element(type, at, _spelt(one)) for at, one in entry["elements"].items())]
        _constrain(elements, type, rules, made["url"])
        made["differential"] = {"element": elements}
        yield made


def _kind(kind: str, type: str) -> Json:
    return {
        "fhirVersion": definitions.FHIR_VERSION,
        "kind": kind,
        "abstract": False,
        "type": type,
        "baseDefinition": f"{CORE}/{type}",
        "derivation": "constraint",
    }


def _constrain(elements: list[Json], type: str, rules: Json, url: str) -> None:
    """Puts the invariants that have a place of their own onto its element. Raises ValueError when that
    element is not in the differential."""
    known = {one["id"]: one for one in elements}
    for key, rule in rules.items():
        places = rule.get("at", [])
        for at in [places] if isinstance(places, str) else places:
            element = known.get(f"{type}.{at}")
            if element is None:
                raise ValueError(f"the rule {key} is at {at}, which is no element of {url}")
            element.setdefault("constraint", []).append(_constraint(key, rule, url))


def _constraint(key: str, rule: Json, url: str) -> Json:
    """An invariant: English words, and French ones as a translation."""
    language = {"url": "lang", "valueCode": "fr"}
    content = {"url": "content", "valueString": rule["fr"]}
    translation = {"url": f"{CORE}/translation", "extension": [language, content]}
    return {
        "key": key,
        "severity": rule.get("severity", "error"),
        "human": rule["en"],
        "_human": {"extension": [translation]},
        "expression": " ".join(rule["expression"].split()),
        "source": url,
    }


def _spelt(entry: str | Json | None) -> Json:
    """`1..1 Le numéro` as {card, short}."""
    if not isinstance(entry, str):
        return dict(entry or {})
    found = _CARD.fullmatch(entry)
    if found is None:
        return {"short": entry}
    least, most, short = found.groups()
    made: Json = {"card": f"{least}..{most or ''}"}
    return {**made, "short": short} if short else made


def _element(type: str, at: str, entry: Json) -> Json:
    """One element of the differential."""
    path = ".".join([type, *(step.partition(":")[0] for step in at.split("."))])
    slice = at.rpartition(".")[2].partition(":")[2]
    key = type_at(type, at)
    made: Json = {"id": f"{type}.{at}", "path": path}
    if slice:
        made["sliceName"] = slice
    if "slicing" in entry:
        made["slicing"] = _slicing(entry["slicing"])
    for name in ("short", "definition", "comment"):
        if name in entry:
            made[name] = entry[name]
    if "card" in entry:
        least, _, most = entry["card"].partition("..")
        made |= {"min": int(least)} if least else {}
        made |= {"max": most} if most else {}
    types = _types(at, key, entry)
    if types:
        made["type"] = types
    for name in ("fixed", "pattern"):
        if name in entry:
            made[name + key[:1].upper() + key[1:]] = entry[name]
    if "longest" in entry:
        made["maxLength"] = entry["longest"]
    if "." not in at and made.get("max") != "0":
        made["mustSupport"] = True
    if "binding" in entry:
        strength, _, value_set = entry["binding"].partition(" ")
        found = value_set if ":" in value_set else f"{BASE}/ValueSet/{value_set}"
        made["binding"] = {"strength": strength, "valueSet": found}
    return made


def _slicing(written: str) -> Json:
    """`value:system` or `value:system, closed`."""
    by, _, rules = written.partition(",")
    kind, _, path = by.partition(":")
    if kind not in _DISCRIMINATED:
        raise ValueError(f"a discriminator is one of {', '.join(sorted(_DISCRIMINATED))}, not {kind}")
    return {"discriminator": [{"type": kind, "path": path}], "rules": rules.strip() or "open"}


def _types(at: str, key: str, entry: Json) -> list[Json]:
    """The type of an element, where the entry narrows it: an extension's definition, a reference's targets,
    one type of a choice."""
    if "extension" in entry:
        name = entry["extension"]
        return [{"code": "Extension", "profile": [name if ":" in name else extension_url(name)]}]
    if "targets" in entry:
        return [{"code": "Reference", "targetProfile": [f"{CORE}/{one}" for one in entry["targets"]]}]
    return [{"code": one} for one in entry.get("types", ())]


def type_at(type: str, at: str) -> str:
    """The type key of the element that a path leads to. Raises ValueError naming it when there is none."""
    key = type
    for step in at.split("."):
        name = step.partition(":")[0]
        key = "Element" if key in definitions.primitives() else key
        found = {element.name: element.types for element in definitions.elements(key).values()}
        member = definitions.properties(key).get(name)
        if member is not None:
            key = member[1]
        elif name.removesuffix("[x]") in found:
            key = found[name.removesuffix("[x]")][0]
        else:
            raise ValueError(f"{type}.{at}: {key} has no element {name}")
    return key


def extensions() -> Iterator[Json]:
    """One StructureDefinition per entry of `extensions.yaml`."""
    for id, entry in source("extensions").items():
        made = head("StructureDefinition", id, entry["title"], entry.get("description", entry["title"]))
        made |= _kind("complex-type", "Extension")
        made["context"] = [{"type": "element", "expression": one} for one in entry["context"]]
        parts = entry.get("parts")
        elements = [{"id": "Extension", "path": "Extension", "short": entry["title"], "max": entry["max"]}]
        elements += _complex(parts) if parts else [_no_parts()]
        elements.append({"id": "Extension.url", "path": "Extension.url", "fixedUri": made["url"]})
        elements.append(_no_value() if parts else _value("Extension", entry))
        made["differential"] = {"element": elements}
        yield made


def _complex(parts: Json) -> list[Json]:
    """The parts of a complex extension, each a slice with its URL and its value."""
    made: list[Json] = []
    for name, part in parts.items():
        id = f"Extension.extension:{name}"
        least, _, most = part["card"].partition("..")
        path = "Extension.extension"
        whole = {"id": id, "path": path, "sliceName": name, "short": part["short"]}
        made += [
            {**whole, "min": int(least), "max": most},
            {"id": f"{id}.extension", "path": f"{path}.extension", "max": "0"},
            {"id": f"{id}.url", "path": f"{path}.url", "fixedUri": name},
            _value(id, part),
        ]
    return made


def _value(id: str, entry: Json) -> Json:
    """`value: Reference(Practitioner | Organization)`, and its binding."""
    kind, _, targets = entry["value"].rstrip(")").partition("(")
    path = "Extension.extension.value[x]" if ":" in id else "Extension.value[x]"
    of: Json = {"code": kind}
    if targets:
        of["targetProfile"] = [f"{CORE}/{one.strip()}" for one in targets.split("|")]
    made: Json = {"id": f"{id}.value[x]", "path": path, "min": 1, "type": [of]}
    if "binding" in entry:
        strength, _, value_set = entry["binding"].partition(" ")
        made["binding"] = {"strength": strength, "valueSet": f"{BASE}/ValueSet/{value_set}"}
    return made


def _no_value() -> Json:
    return {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"}


def _no_parts() -> Json:
    return {"id": "Extension.extension", "path": "Extension.extension", "max": "0"}
