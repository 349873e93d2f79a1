"""Code systems and value sets as tables; forms, operations and workflows as rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smart_launch.app.guide.artefacts import all_of_them, displays, named
from smart_launch.app.guide.structures import Link, link

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Code:
    """One code, in French; `properties` by name."""

    system: Link
    code: str
    display: str
    definition: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def codes(resource: Json) -> list[Code]:
    """The codes of a code system of ours, or of a value set."""
    if resource["resourceType"] == "CodeSystem":
        return [_code(resource["url"], one) for one in resource["concept"]]
    return [one for include in resource["compose"]["include"] for one in _included(include)]


def _included(include: Json) -> Iterator[Code]:
    ours = named(include["system"])
    concepts = {one["code"]: one for one in ours.resource["concept"]} if ours else {}
    for one in include.get("concept") or concepts.values():
        known = {**concepts.get(one["code"], {}), **one}
        french = [each["value"] for each in one.get("designation", ()) if each["language"] == "fr"]
        yield _code(include["system"], {**known, **({"display": french[0]} if french else {})})


def _code(system: str, concept: Json) -> Code:
    rows = tuple((one["code"], _plain(one)) for one in concept.get("property", ()))
    display = concept.get("display", "")
    return Code(link(system), concept["code"], display, concept.get("definition", ""), rows)


def _plain(element: Json) -> str:
    value = next(value for name, value in element.items() if name.startswith("value"))
    return {True: "oui", False: "non"}.get(value, str(value)) if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a form; `clinical`: a doctor has yet to review it."""

    link: str
    text: str
    type: str
    required: bool
    clinical: bool
    limits: str
    unit: str
    options: tuple[str, ...]


def questions(form: Json) -> list[Question]:
    return [_question(one) for one in form["item"]]


def _question(item: Json) -> Question:
    told = {one["url"].rpartition("/")[2]: one for one in item.get("extension", ())}
    limits = [_plain(told[name]) if name in told else "" for name in ("minValue", "maxValue")]
    unit = told.get("questionnaire-unit", {}).get("valueCoding", {}).get("display", "")
    options = tuple(one["valueCoding"]["display"] for one in item.get("answerOption", ()))
    return Question(
        item["linkId"],
        item["text"],
        item["type"],
        item.get("required", False),
        "clinical-validation" in told,
        " à ".join(limits) if any(limits) else "",
        unit,
        options,
    )


@dataclass(frozen=True, slots=True)
class Move:
    """One way of making a step: from states, to a state ("" stays), by people of a quality."""

    sources: tuple[str, ...]
    to: str
    actors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    code: str
    title: str
    says: str
    moves: tuple[Move, ...]
    needs: tuple[str, ...]
    message: str


def steps(plan: Json) -> list[Step]:
    """A workflow's table, in French words."""
    return [_step(action) for action in plan["action"]]


def _step(action: Json) -> Step:
    told: dict[str, list[Json]] = {}
    for one in action["extension"]:
        told.setdefault(one["url"].rpartition("/")[2], []).append(one)
    return Step(
        action["id"],
        action["title"],
        action.get("description", ""),
        tuple(_move(one) for one in told.get("transition", ())),
        tuple(displays("step-need")[one["valueCode"]] for one in told.get("needs", ())),
        next((displays("communication")[one["valueCode"]] for one in told.get("message", ())), ""),
    )


def _move(extension: Json) -> Move:
    parts = [(one["url"], one["valueCode"]) for one in extension["extension"]]
    states, actors = displays("business-status"), displays("actor")
    sources = tuple(states[code] for name, code in parts if name == "from")
    to = next((states.get(code, code) for name, code in parts if name == "to"), "")
    return Move(sources, to, tuple(actors[code] for name, code in parts if name == "actor"))


def form_of(plan: Json) -> Link:
    """The form of a workflow."""
    return link(plan["relatedArtifact"][0]["resource"])


def plan_of(form: Json) -> Link | None:
    """The workflow of a form: that of the same id."""
    found = all_of_them().get(f"PlanDefinition/{form['id']}")
    return Link(found.title, found.address) if found else None


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    depth: int
    card: str
    type: str
    targets: tuple[Link, ...]
    words: str
    value_set: Link | None


def parameters(operation: Json, use: str) -> list[Parameter]:
    """What goes in, or comes out; parts below what they are parts of."""
    found = [one for one in operation.get("parameter", ()) if one["use"] == use]
    return [row for one in found for row in _parameter(one, 0)]


def _parameter(entry: Json, depth: int) -> Iterator[Parameter]:
    binding = entry.get("binding")
    yield Parameter(
        entry["name"],
        depth,
        f"{entry['min']}..{entry['max']}",
        entry.get("type", ""),
        tuple(link(url) for url in entry.get("targetProfile", ())),
        entry.get("documentation", ""),
        link(binding["valueSet"]) if binding else None,
    )
    for part in entry.get("part", ()):
        yield from _parameter(part, depth + 1)


def call(operation: Json) -> str:
    """How it is called: `POST /fhir/ServiceRequest/[id]/$step`."""
    method = "POST" if operation["affectsState"] else "GET"
    type = "".join(f"/{one}" for one in operation.get("resource", ()))
    id = "/[id]" if operation["instance"] else ""
    return f"{method} /fhir{type}{id}/${operation['code']}"
