"""The forms and the transition tables of the workflows. FHIR R4 questionnaire.html; plandefinition.html"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from profiles.packages.making.common import BASE, Json, coding, extension_url, head, source

CORE = "http://hl7.org/fhir/StructureDefinition"
UCUM = "http://unitsofmeasure.org"
_KINDS = {"integer": "valueInteger", "decimal": "valueDecimal"}


def questionnaires() -> Iterator[Json]:
    for id, entry in source("questionnaires").items():
        made = head("Questionnaire", id, entry["title"], entry.get("description", ""))
        made["subjectType"] = ["Patient"]
        made["item"] = [_item(link, one) for link, one in entry["items"].items()]
        yield made


def _item(link: str, entry: Json) -> Json:
    """`clinical`: a field that a doctor has yet to review."""
    extensions: list[Json] = []
    if entry.get("clinical"):
        extensions.append({"url": extension_url("clinical-validation"), "valueCode": "a-valider"})
    if "unit" in entry:
        code, display = entry["unit"]
        unit = {"system": UCUM, "code": code, "display": display}
        extensions.append({"url": f"{CORE}/questionnaire-unit", "valueCoding": unit})
    for name, limit in (("min", "minValue"), ("max", "maxValue")):
        if name in entry:
            extensions.append({"url": f"{CORE}/{limit}", _KINDS[entry["type"]]: entry[name]})
    if "format" in entry:
        extensions.append({"url": f"{CORE}/entryFormat", "valueString": entry["format"]})
    made: Json = {"linkId": link}
    if extensions:
        made["extension"] = extensions
    made |= {"text": entry["text"], "type": entry["type"]}
    if entry.get("required"):
        made["required"] = True
    if "longest" in entry:
        made["maxLength"] = entry["longest"]
    if "options" in entry:
        made["answerOption"] = [{"valueCoding": _option(code)} for code in entry["options"]]
    return made


def _option(code: str) -> Json:
    return coding("answer-option", code, words("answer-option", code))


def words(code_system: str, code: str) -> str:
    """The French display of one of our codes."""
    concept = source("code_systems")[code_system]["concepts"][code]
    return str(concept if isinstance(concept, str) else concept["display"])


def plan_definitions() -> Iterator[Json]:
    for id, entry in source("plan_definitions")["workflows"].items():
        made = head("PlanDefinition", id, entry["title"])
        kind = {"system": "http://terminology.hl7.org/CodeSystem/plan-definition-type"}
        made["type"] = {"coding": [{**kind, "code": "workflow-definition"}]}
        made["extension"] = [{"url": extension_url("default-priority"), "valueCode": entry["priority"]}]
        usage = {"system": "http://terminology.hl7.org/CodeSystem/usage-context-type", "code": "workflow"}
        made["useContext"] = [{"code": usage, "valueCodeableConcept": {"coding": [coding("workflow", id)]}}]
        form = f"{BASE}/Questionnaire/{id}"
        made["relatedArtifact"] = [{"type": "depends-on", "label": "form", "resource": form}]
        made["action"] = [_action(code, one) for code, one in entry["steps"].items()]
        yield made


def _action(code: str, entry: Json) -> Json:
    extensions = [_transition(move) for move in entry["moves"]]
    extensions += [{"url": extension_url("needs"), "valueCode": one} for one in entry.get("needs", ())]
    if "message" in entry:
        extensions.append({"url": extension_url("message"), "valueCode": entry["message"]})
    title = words("step", code)
    made: Json = {"id": code, "extension": extensions, "title": title}
    if "says" in entry:
        made["description"] = entry["says"]
    made["code"] = [{"coding": [coding("step", code, title)]}]
    return made


def _transition(move: str) -> Json:
    """`envoye, lu -> annule: requester, author`: from, to ("" stays), by whom."""
    states, _, actors = move.partition(":")
    sources, _, to = states.partition("->")
    parts = [{"url": "from", "valueCode": one} for one in _listed(sources)]
    parts += [{"url": "to", "valueCode": one} for one in _listed(to)]
    parts += [{"url": "actor", "valueCode": one} for one in _listed(actors)]
    return {"url": extension_url("transition"), "extension": parts}


def _listed(text: Any) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]
