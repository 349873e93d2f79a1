"""QuestionnaireResponse against its Questionnaire, where that is at hand; expressions in definitions.

FHIR R4 questionnaireresponse.html#link
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from profiles import definitions
from profiles.fhirpath.compiler import compile as compile_path
from profiles.outcomes import Invalid
from profiles.schema.report import Message, Where
from profiles.schema.rules.item import Context, Item

Json = dict[str, Any]
UNKNOWN_LINK = Message(
    "structure",
    "unknown-link-id",
    "the questionnaire has no such item here; use one of its linkIds",
    "le questionnaire n'a pas cet élément ici ; utilisez l'un de ses linkId",
)
WRONG_ANSWER = Message(
    "structure",
    "wrong-answer-type",
    "the answer is not of the type of its question; use that type",
    "la réponse n'est pas du type de sa question ; utilisez ce type",
)
SEVERAL = Message(
    "structure",
    "several-answers",
    "the question takes one answer; take the others away",
    "la question n'admet qu'une réponse ; retirez les autres",
)
UNANSWERED = Message(
    "required",
    "unanswered",
    "a required question has no answer; answer it",
    "une question obligatoire est sans réponse ; répondez-y",
)
DISORDERED = Message(
    "structure",
    "out-of-order",
    "the items are not in the order of the questionnaire; reorder them",
    "les éléments ne sont pas dans l'ordre du questionnaire ; réordonnez-les",
)
NOT_ASKED = Message(
    "structure",
    "not-a-question",
    "a group or a text has no answer; put the answer under its question",
    "un groupe ou un texte n'a pas de réponse ; placez la réponse sous sa question",
)
UNKNOWN_QUESTION = Message(
    "structure",
    "unknown-question",
    "no item of the questionnaire has this linkId; name the question that decides",
    "aucun élément du questionnaire n'a ce linkId ; désignez la question qui décide",
)
NOT_A_QUESTIONNAIRE = Message(
    "value",
    "not-a-questionnaire",
    "this names a resource that is no Questionnaire; write a Questionnaire's URL",
    "ceci désigne une ressource qui n'est pas un Questionnaire ; écrivez l'URL d'un Questionnaire",
)
BAD_EXPRESSION = Message(
    "value",
    "bad-expression",
    "the expression is not valid FHIRPath; correct it",
    "l'expression n'est pas du FHIRPath valide ; corrigez-la",
)
ANSWERS = {
    "boolean": ("valueBoolean",),
    "decimal": ("valueDecimal",),
    "integer": ("valueInteger",),
    "date": ("valueDate",),
    "dateTime": ("valueDateTime",),
    "time": ("valueTime",),
    "string": ("valueString",),
    "text": ("valueString",),
    "url": ("valueUri",),
    "choice": ("valueCoding", "valueDate", "valueTime", "valueInteger", "valueString", "valueReference"),
    "open-choice": ("valueCoding", "valueString", "valueDate", "valueTime", "valueInteger", "valueReference"),
    "attachment": ("valueAttachment",),
    "reference": ("valueReference",),
    "quantity": ("valueQuantity",),
}


def check_answers(item: Item, context: Context) -> None:
    """A response and its questionnaire, contained or of the packages."""
    canonical = item.value.get("questionnaire")
    if not isinstance(canonical, str):
        return
    parts = canonical.partition("|")[0].split("/")
    if len(parts) > 1 and parts[-2] in definitions.resource_types() - {"Questionnaire"}:
        context.report.note((item.where, "questionnaire", -1), NOT_A_QUESTIONNAIRE)
        return
    found = _questionnaire(canonical, item.value, context)
    if found is not None:
        complete = item.value.get("status") in ("completed", "amended")
        _level(_dicts(found.get("item")), item.value, item.where, context, complete)


def check_questionnaire(item: Item, context: Context) -> None:
    """The questions that conditions name are there."""
    found = list(_items(item.value, item.where))
    known = {one.get("linkId") for one, _where in found}
    for one, where in found:
        for place, condition in _dicts(one.get("enableWhen")):
            if condition.get("question") not in known:
                context.report.note(((where, "enableWhen", place), "question", -1), UNKNOWN_QUESTION)


def _items(questionnaire: Json, where: Where) -> Iterator[tuple[Json, Where]]:
    """Every item, at any depth."""
    pending = [(questionnaire, where)]
    while pending:
        holder, at = pending.pop()
        for place, one in _dicts(holder.get("item")):
            below: Where = (at, "item", place)
            yield one, below
            pending.append((one, below))


def _questionnaire(canonical: str, response: Json, context: Context) -> Json | None:
    if canonical.startswith("#"):
        inside = _dicts(response.get("contained"))
        found = next((one for _n, one in inside if one.get("id") == canonical[1:]), None)
    else:
        found = context.profiles.packages.find(canonical)
    return found if found is not None and found.get("resourceType") == "Questionnaire" else None


def _level(
    asked: list[tuple[int, Json]], holder: Json, where: Where, context: Context, complete: bool
) -> None:
    questions = {one.get("linkId"): one for _place, one in asked if isinstance(one.get("linkId"), str)}
    ranks, last = {link: rank for rank, link in enumerate(questions)}, -1
    seen = set()
    for place, one in _dicts(holder.get("item")):
        at = (where, "item", place)
        link = one.get("linkId")
        question = questions.get(link) if isinstance(link, str) else None
        if question is None:
            context.report.note(at, UNKNOWN_LINK)
            continue
        seen.add(link)
        rank = ranks[link]
        if rank < last:
            context.report.note(at, DISORDERED)
        last = max(last, rank)
        _answered(question, one, at, context, complete)
    for link, question in questions.items():
        always = question.get("required") is True and "enableWhen" not in question
        if complete and always and link not in seen and question.get("type") != "display":
            context.report.note(where, UNANSWERED)


def _answered(question: Json, item: Json, where: Where, context: Context, complete: bool) -> None:
    below = _dicts(question.get("item"))
    answers = _dicts(item.get("answer"))
    if question.get("repeats") is not True and len(answers) > 1:
        context.report.note(where, SEVERAL)
    if complete and question.get("required") is True and question.get("type") != "group" and not answers:
        context.report.note(where, UNANSWERED)
    if question.get("type") in ("group", "display") and answers:
        context.report.note(where, NOT_ASKED)
    allowed = ANSWERS.get(str(question.get("type")))
    for place, answer in answers:
        at = (where, "answer", place)
        given = [name for name in answer if name.startswith("value")]
        if allowed is not None and given and given[0] not in allowed:
            context.report.note(at, WRONG_ANSWER)
        if below:
            _level(below, answer, at, context, complete)
    if not answers and below:
        _level(below, item, where, context, complete)


def check_expression(item: Item, context: Context) -> None:
    """An extension whose value is a FHIRPath Expression: it compiles."""
    expression = item.value.get("valueExpression")
    if not isinstance(expression, dict) or expression.get("language") != "text/fhirpath":
        return
    text = expression.get("expression")
    if isinstance(text, str):
        try:
            compile_path(text)
        except Invalid as error:
            if error.slug == "fhirpath-syntax":
                context.report.note((item.where, "value.ofType(Expression)", -1), BAD_EXPRESSION)


def _dicts(value: Any) -> list[tuple[int, Json]]:
    return list(_numbered(value))


def _numbered(value: Any) -> Iterator[tuple[int, Json]]:
    for place, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict):
            yield place, one
