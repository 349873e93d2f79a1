"""What a télédossier must have before it is sent: recipients, the patient's name and identifier, the form's
answers.

Missing answers never hold back a vital emergency (priority `stat`); recipients and patient are always needed
(R045).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fhir_server.teledossier.definitions import resources, say
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.vocabulary import Resource, family_and_given
from fhir_server.teledossier.workflows import Workflow
from profiles.outcomes import Issue


def check_complete(file: Teledossier, flow: Workflow, needs: Collection[str]) -> list[Issue]:
    """One error issue per missing thing, in the order of the page."""
    issues: list[Issue] = []
    if "patient" in needs:
        issues += _patient(file.patient or {})
    if "recipient" in needs and not file.request.get("performer"):
        issues.append(_missing("missing-recipient", "a télédossier is sent to at least one recipient"))
    if "form" in needs and file.request.get("priority") != "stat":
        issues += missing_answers(flow.form, file.answers or {})
    return issues


def _patient(patient: Resource) -> Iterator[Issue]:
    if not family_and_given(patient)[2]:
        yield _missing("missing-patient-name", "the patient needs a name")
    if not any(one.get("system") and one.get("value") for one in patient.get("identifier", ())):
        yield _missing("missing-patient-identifier", "the patient needs an identifier")


def missing_answers(form: str, answers: Resource) -> Iterator[Issue]:
    """The required items of a Questionnaire that have no answer."""
    given = {item.get("linkId") for item in answers.get("item", ()) if item.get("answer")}
    for item in resources()[f"Questionnaire/{form}"]["item"]:
        if item.get("required") and item["linkId"] not in given:
            text = say("missing-answer", field=item["text"])
            yield Issue(
                "error", "required", "missing-answer", f"item '{item['linkId']}' is required", text=text
            )


def _missing(slug: str, diagnostics: str) -> Issue:
    return Issue("error", "required", slug, diagnostics, text=say(slug))
