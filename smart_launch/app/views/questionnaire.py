"""A FHIR Questionnaire as fields of a page, and a submitted page as the items of a QuestionnaireResponse.
Pure.

What a person typed is kept as text (`Field.value`) whatever it is worth, so that a refused page shows it
again. FHIR R4 questionnaire.html; questionnaireresponse.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from smart_launch.app import words
from smart_launch.app.views.reading import Json, extension, many, value_x

UNIT = "http://hl7.org/fhir/StructureDefinition/questionnaire-unit"
MINIMUM = "http://hl7.org/fhir/StructureDefinition/minValue"
MAXIMUM = "http://hl7.org/fhir/StructureDefinition/maxValue"
FORMAT = "http://hl7.org/fhir/StructureDefinition/entryFormat"
NUMBERS = frozenset({"integer", "decimal", "quantity"})
PREFIX = "q-"


@dataclass(frozen=True, slots=True)
class Condition:
    """One enableWhen: the field it looks at, how, and the answer as text."""

    field: str
    operator: str
    answer: str


@dataclass(frozen=True, slots=True)
class Field:
    """One question on the page. `fault` blocks sending, `advice` does not."""

    link_id: str
    kind: str
    label: str
    level: int = 0
    unit: str = ""
    required: bool = False
    hint: str = ""
    minimum: str = ""
    maximum: str = ""
    longest: str = ""
    options: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Condition, ...] = ()
    any_condition: bool = False
    value: str = ""
    fault: str = ""
    advice: str = ""
    enabled: bool = True

    @property
    def name(self) -> str:
        return PREFIX + self.link_id

    @property
    def is_question(self) -> bool:
        return self.kind not in ("group", "display")


def fields(questionnaire: Json, response: Json, zone: tzinfo) -> list[Field]:
    """The questions in order, groups flattened, filled from a QuestionnaireResponse."""
    values = answers(response, zone)
    found = [replace(field, value=values.get(field.link_id, "")) for field in _walk(questionnaire, 0)]
    return enable(found)


def _walk(parent: Json, level: int) -> list[Field]:
    found: list[Field] = []
    for item in many(parent, "item"):
        found.append(_field(item, level))
        found += _walk(item, level + 1)
    return found


def _field(item: Json, level: int) -> Field:
    unit = extension(item, UNIT)
    kind = str(item.get("type", "string"))
    options = tuple(_option(option) for option in many(item, "answerOption"))
    return Field(
        link_id=str(item.get("linkId", "")),
        kind="choice" if kind == "open-choice" and options else kind,
        label=str(item.get("text", item.get("linkId", ""))),
        level=level,
        unit=str(unit.get("display") or unit.get("code") or "") if isinstance(unit, dict) else "",
        required=item.get("required") is True,
        hint=str(extension(item, FORMAT) or ""),
        minimum=_text(extension(item, MINIMUM)),
        maximum=_text(extension(item, MAXIMUM)),
        longest=_text(item.get("maxLength")),
        options=options,
        conditions=tuple(
            Condition(
                PREFIX + str(when.get("question", "")),
                str(when.get("operator", "=")),
                _answer(value_x(when, "answer")),
            )
            for when in many(item, "enableWhen")
        ),
        any_condition=item.get("enableBehavior") == "any",
    )


def _option(option: Json) -> tuple[str, str]:
    value = value_x(option)
    if isinstance(value, dict):
        code = str(value.get("code", ""))
        return code, str(value.get("display") or code)
    return _text(value), _text(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _answer(value: Any) -> str:
    """An answer's value as the page's text: codes for codings, `true`/`false` for booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return _text(value.get("code") if "code" in value and "value" not in value else value.get("value"))
    return _text(value)


def answers(response: Json, zone: tzinfo) -> dict[str, str]:
    """linkId → text, over every level of a QuestionnaireResponse. Instants become the page's local time."""
    found: dict[str, str] = {}
    for item in many(response, "item"):
        for answer in many(item, "answer"):
            value = answer.get("valueDateTime")
            found[str(item.get("linkId"))] = _local(value, zone) if value else _answer(value_x(answer))
            found |= answers(answer, zone)
        found |= answers(item, zone)
    return found


def _local(text: str, zone: tzinfo) -> str:
    """A FHIR dateTime as an `<input type=datetime-local>` holds it: minutes, no zone."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    return (at.astimezone(zone) if at.tzinfo else at).strftime("%Y-%m-%dT%H:%M")


def enable(found: list[Field]) -> list[Field]:
    """Mark each field enabled or not by its conditions on the others. FHIR R4
    Questionnaire.item.enableWhen
    """
    values = {field.name: field.value for field in found}
    marked: list[Field] = []
    for field in found:
        results = [_holds(condition, values.get(condition.field, "")) for condition in field.conditions]
        on = not results or (any(results) if field.any_condition else all(results))
        marked.append(replace(field, enabled=on))
    return marked


def _holds(condition: Condition, value: str) -> bool:
    if condition.operator == "exists":
        return bool(value) == (condition.answer == "true")
    if not value:
        return False
    if condition.operator == "=":
        return value == condition.answer
    if condition.operator == "!=":
        return value != condition.answer
    left, right = _number(value), _number(condition.answer)
    pair: tuple[Any, Any] = (value, condition.answer) if left is None or right is None else (left, right)
    outcomes: dict[str, bool] = {
        ">": pair[0] > pair[1],
        "<": pair[0] < pair[1],
        ">=": pair[0] >= pair[1],
        "<=": pair[0] <= pair[1],
    }
    return outcomes.get(condition.operator, False)


def _number(text: str) -> Decimal | None:
    """A number as French people type it: comma or point, spaces allowed."""
    cleaned = re.sub(r"\s", "", text).replace(",", ".")
    if not re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,10})?", cleaned):
        return None
    try:
        return Decimal(cleaned)
    except InvalidOperation:
        return None


def submitted(questionnaire: Json, form: Mapping[str, str], zone: tzinfo) -> list[Field]:
    """The fields as typed, each with its fault when it cannot be read. Missing answers are not judged
    here.
    """
    found = [
        replace(field, value=form.get(field.name, "").replace("\r\n", "\n").strip())
        for field in _walk(questionnaire, 0)
    ]
    return [
        replace(field, fault=fault_of(field)) if field.enabled and field.value else field
        for field in enable(found)
    ]


def fault_of(field: Field) -> str:
    """Why this text is no answer to this question; empty when it is one."""
    if field.kind in NUMBERS:
        return _number_fault(field)
    if field.kind == "choice" and field.value not in {value for value, _ in field.options}:
        return words.NOT_A_CHOICE
    if field.kind == "boolean" and field.value not in ("true", "false"):
        return words.NOT_A_CHOICE
    if field.kind == "time" and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?", field.value):
        return words.NOT_A_TIME
    if field.kind in ("date", "dateTime") and _date_value(field) is None:
        return words.NOT_A_DATE
    if field.longest and len(field.value) > int(field.longest):
        return words.TOO_LONG.format(n=field.longest)
    return ""


def _number_fault(field: Field) -> str:
    number = _number(field.value)
    if number is None:
        return words.NOT_A_NUMBER
    if field.kind == "integer" and number != number.to_integral_value():
        return words.NOT_A_WHOLE_NUMBER
    low, high = _number(field.minimum), _number(field.maximum)
    if (low is not None and number < low) or (high is not None and number > high):
        return words.OUT_OF_RANGE.format(low=field.minimum or "…", high=field.maximum or "…")
    return ""


def _date_value(field: Field) -> date | datetime | None:
    try:
        if field.kind == "date":
            return date.fromisoformat(field.value)
        return datetime.fromisoformat(field.value)
    except ValueError:
        return None


def judged(found: list[Field], *, vital: bool) -> list[Field]:
    """Missing required answers become faults, or mere advice in a vital emergency: nothing there delays
    sending.
    """
    judged_fields: list[Field] = []
    for field in found:
        missing = field.enabled and field.required and field.is_question and not field.value
        if missing and vital:
            field = replace(field, advice=words.SHOULD)
        elif missing:
            field = replace(field, fault=words.MUST)
        judged_fields.append(field)
    return judged_fields


def response_items(questionnaire: Json, found: list[Field], zone: tzinfo) -> list[Json]:
    """QuestionnaireResponse.item, nested as the Questionnaire, with every answer that can be read."""
    by_id = {field.link_id: field for field in found}
    return _items(questionnaire, by_id, zone)


def _items(parent: Json, by_id: Mapping[str, Field], zone: tzinfo) -> list[Json]:
    items: list[Json] = []
    for definition in many(parent, "item"):
        field = by_id[str(definition.get("linkId", ""))]
        children = _items(definition, by_id, zone)
        if not field.enabled:
            continue
        item: Json = {"linkId": field.link_id, "text": field.label}
        if field.is_question and field.value and not fault_of(field):
            item["answer"] = [_value(field, definition, zone)]
        if children and "answer" in item:
            item["answer"][0]["item"] = children
        elif children:
            item["item"] = children
        if "answer" in item or "item" in item:
            items.append(item)
    return items


def _value(field: Field, definition: Json, zone: tzinfo) -> Json:
    """The answer element of a field without fault."""
    if field.kind in NUMBERS:
        number = _number(field.value) or Decimal(0)
        if field.kind == "integer":
            return {"valueInteger": int(number)}
        if field.kind == "decimal":
            return {"valueDecimal": float(number)}
        unit = extension(definition, UNIT)
        quantity: Json = {"value": float(number)}
        if isinstance(unit, dict):
            quantity |= {key: unit[key] for key in ("system", "code") if key in unit} | {"unit": field.unit}
        return {"valueQuantity": quantity}
    if field.kind == "boolean":
        return {"valueBoolean": field.value == "true"}
    if field.kind == "choice":
        return next(
            {key: value for key, value in option.items() if key.startswith("value")}
            for option in many(definition, "answerOption")
            if _option(option)[0] == field.value
        )
    if field.kind == "time":
        return {"valueTime": field.value if field.value.count(":") == 2 else field.value + ":00"}
    if field.kind == "date":
        return {"valueDate": field.value}
    if field.kind == "dateTime":
        return {"valueDateTime": datetime.fromisoformat(field.value).replace(tzinfo=zone).isoformat()}
    return {"valueString": field.value}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered question as read by the expert."""

    label: str
    text: str
    long: bool
    level: int = 0
    heading: bool = False


def answered(questionnaire: Json, response: Json, zone: tzinfo) -> list[Answer]:
    """The answered questions in order, for reading; the response alone when its Questionnaire is not
    known.
    """
    if not many(questionnaire, "item"):
        return [
            Answer(str(item.get("text") or item.get("linkId")), text, len(text) > 60)
            for item in many(response, "item")
            if (text := answers({"item": [item]}, zone).get(str(item.get("linkId")), ""))
        ]
    found: list[Answer] = []
    shown = fields(questionnaire, response, zone)
    for index, field in enumerate(shown):
        if field.kind == "group":
            below = [later for later in shown[index + 1 :] if later.level > field.level and later.value]
            found += [Answer(field.label, "", False, field.level, True)] if below else []
        elif field.value:
            found.append(Answer(field.label, read_words(field), field.kind == "text", field.level))
    return found


def read_words(field: Field) -> str:
    """An answer in French: option labels, units, `04h05`."""
    text = field.value
    if field.kind == "choice":
        text = dict(field.options).get(text, text)
    elif field.kind == "boolean":
        text = words.YES if text == "true" else words.NO
    elif field.kind == "time":
        text = "h".join(text.split(":")[:2])
    elif field.kind == "date":
        text = "/".join(reversed(text.split("-")))
    elif field.kind == "dateTime" and "T" in text:
        day, clock = text.split("T")
        text = words.DATE_AT_TIME.format(
            date="/".join(reversed(day.split("-"))), time="h".join(clock.split(":")[:2])
        )
    elif field.kind in NUMBERS:
        text = text.replace(".", ",")
    return f"{text}\u00a0{field.unit}" if field.unit and field.kind in NUMBERS else text
