"""Search parameters, operations, subscription topics.

FHIR R4 searchparameter.html; operationdefinition.html; Subscriptions R5 Backport 1.1 (topics as Basic)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from profiles.packages.making.common import BASE, DATE, PUBLISHER, VERSION, Json, computable, head, source

_FROM_R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_FROM_R4B = "http://hl7.org/fhir/4.3/StructureDefinition/extension-SubscriptionTopic."
_CORE = "http://hl7.org/fhir/StructureDefinition"
_PARAMETER = re.compile(r"(\d+)\.\.(\d+|\*) ([A-Za-z-]+)(?:\(([^)]*)\))? (.+)")


def search_parameters() -> Iterator[Json]:
    """The id says what it is for: `Task-assignee` is the parameter `assignee` of Task."""
    for id, entry in source("search_parameters").items():
        base, _, code = id.partition("-")
        made = head("SearchParameter", id, "", entry["description"])
        made |= {"name": computable(id), "code": code, "base": [base], "type": entry["type"]}
        made |= {"expression": entry["expression"]}
        if "targets" in entry:
            made["target"] = entry["targets"]
        yield made


def operations() -> Iterator[Json]:
    """One OperationDefinition per operation of our own."""
    for id, entry in source("operations").items():
        made = head("OperationDefinition", id, entry["title"], entry["description"])
        levels = entry["level"].split(", ")
        made |= {"kind": "operation", "affectsState": entry["affects_state"], "code": id}
        made |= {"resource": [entry.get("resource", "ServiceRequest")]} if levels != ["system"] else {}
        made |= {level: level in levels for level in ("system", "type", "instance")}
        rows = [_parameter(name, "in", one) for name, one in entry.get("in", {}).items()]
        rows += [_parameter(name, "out", one) for name, one in entry.get("out", {}).items()]
        made["parameter"] = rows
        yield made


def _parameter(name: str, use: str, entry: str | Json) -> Json:
    """`0..1 Reference(Practitioner) Qui`; a type `-` has parts. Raises ValueError for one that is not so."""
    more: dict[str, Any] = {} if isinstance(entry, str) else entry
    written = entry if isinstance(entry, str) else entry["is"]
    found = _PARAMETER.fullmatch(written)
    if found is None:
        raise ValueError(f"the parameter {name} is written 'min..max type words', not {written!r}")
    least, most, kind, targets, words = found.groups()
    made: Json = {"name": name, "use": use, "min": int(least), "max": most, "documentation": words}
    if kind != "-":
        made["type"] = kind
    if targets:
        made["targetProfile"] = [f"{_CORE}/{one.strip()}" for one in targets.split("|")]
    if "binding" in more:
        strength, _, value_set = more["binding"].partition(" ")
        made["binding"] = {"strength": strength, "valueSet": f"{BASE}/ValueSet/{value_set}"}
    if "parts" in more:
        made["part"] = [_parameter(part, use, one) for part, one in more["parts"].items()]
    return made


def topics() -> Iterator[Json]:
    """R4 has no SubscriptionTopic: the backport guide writes it as a Basic with the later versions' elements
    as extensions."""
    for code, words in source("topics").items():
        url = f"{BASE}/SubscriptionTopic/{code}"
        current = "%current.target.where(reference.contains('ServiceRequest/')).exists()"
        if code != "etape":
            step = f"system = '{BASE}/CodeSystem/step' and code = '{code}'"
            current = f"%current.activity.coding.where({step}).exists()"
        said = [
            _of_r5("url", "valueUri", url),
            _of_r5("version", "valueString", VERSION),
            _of_r5("name", "valueString", computable(code)),
            _of_r5("title", "valueString", words),
            _of_r5("status", "valueCode", "active"),
            _of_r5("date", "valueDateTime", DATE),
            _of_r5("publisher", "valueString", PUBLISHER),
            {"url": _FROM_R4B + "resourceTrigger", "extension": _trigger(words, current)},
            {"url": _FROM_R4B + "canFilterBy", "extension": _filter()},
        ]
        kind = {"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}
        yield {
            "resourceType": "Basic",
            "id": f"topic-{code}",
            "language": "fr",
            "extension": said,
            "code": {"coding": [kind]},
        }


def _of_r5(name: str, field: str, value: str) -> Json:
    return {"url": _FROM_R5 + name, field: value}


def _trigger(words: str, current: str) -> list[Json]:
    return [
        {"url": "description", "valueMarkdown": words},
        {"url": "resource", "valueUri": f"{_CORE}/Provenance"},
        {"url": "supportedInteraction", "valueCode": "create"},
        {"url": "fhirPathCriteria", "valueString": current},
    ]


def _filter() -> list[Json]:
    """A subscriber may follow one télédossier."""
    return [
        {"url": "description", "valueMarkdown": "Les étapes d'un seul télédossier"},
        {"url": "resource", "valueUri": f"{_CORE}/Provenance"},
        {"url": "filterParameter", "valueString": "target"},
    ]
