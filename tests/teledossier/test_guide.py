"""What the guide says is what the server does: operations and their parameters, steps, capabilities, and
every resource that the platform writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from dicomweb import association
from dicomweb.imaging_study import build
from dicomweb.index.contract import Brief, Series, Study
from fhir_server.access import SYSTEM
from fhir_server.demo import load
from fhir_server.demo.directory import patients
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.opening import make_engine
from fhir_server.operations.registry import OperationRequest
from fhir_server.rest.capability import statement
from fhir_server.search.nodes import Everything
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.teledossier import opening, operations
from fhir_server.teledossier.definitions import concepts, resources
from fhir_server.teledossier.vocabulary import BASE, extension_url
from fhir_server.teledossier.workflows import workflow, workflow_codes
from profiles import codec, packages
from profiles.outcomes import Issue, Unprocessable
from profiles.packages.making import examples
from profiles.packages.making.examples import Example
from profiles.packages.ours import profiles_of
from profiles.validation import Validator, validator
from terminology import service

STANDARD = re.compile(r"http://hl7\.org/fhir/(uv/[a-z-]+/)?OperationDefinition/[A-Za-z-]+")


@pytest.fixture
def served(tmp_path: Path) -> Engine:
    """The engine as it is wired for serving, its store not opened."""
    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", files=str(tmp_path / "files"))
    return make_engine(settings, open_store(settings))


def test_every_registered_operation_has_a_definition_that_fits(served: Engine) -> None:
    """Either the standard's own, or one of ours that says the same levels, types and effect."""
    ours = {}
    for one in served.operations.all:
        if one.definition and STANDARD.fullmatch(one.definition):
            continue
        assert one.definition in ("", f"{BASE}/OperationDefinition/{one.name}"), one.name
        ours.setdefault(one.name, []).append(one)
    defined = {key.partition("/")[2] for key in resources() if key.startswith("OperationDefinition/")}
    assert set(ours) == defined
    for name, several in ours.items():
        definition = resources()[f"OperationDefinition/{name}"]
        levels = {level for level in ("system", "type", "instance") if definition[level]}
        assert {one.level for one in several} == levels, name
        assert {frozenset(definition.get("resource", ()))} == {one.types for one in several}, name
        assert {definition["affectsState"]} == {one.affects_state for one in several}, name


@pytest.mark.parametrize("operation", operations.OPERATIONS, ids=lambda one: one.name)
async def test_an_operation_takes_the_parameters_that_are_defined(
    engine: Engine, operation: operations.Operation
) -> None:
    """A parameter that there is not is refused with the names of those there are."""
    definition = resources()[f"OperationDefinition/{operation.name}"]
    defined = {one["name"] for one in definition.get("parameter", ()) if one["use"] == "in"}
    if not operation.affects_state:
        assert defined == set()
        return
    strange = {"resourceType": "Parameters", "parameter": [{"name": "nonesuch"}]}
    with pytest.raises(operations.Invalid) as refused:
        await operation.handler(engine, SYSTEM, OperationRequest("ServiceRequest", "x", strange))
    known = refused.value.issues[0].diagnostics.partition("known: ")[2]
    assert set(known.split(", ")) == defined


def test_every_step_of_a_workflow_has_a_topic() -> None:
    """And one for what is done outside the tables, and one for all."""
    steps = {step.code for code in workflow_codes() for step in workflow(code).steps}
    topics = {key.removeprefix("Basic/topic-") for key in resources() if key.startswith("Basic/topic-")}
    assert topics == steps | {"start", "attach", "exam-attached", "exam-transferred", "exam-incomplete",
                            "exam-detached", "etape"}  # fmt: skip
    assert topics - {"etape"} <= set(concepts("step"))


def test_the_statement_instantiates_the_guides(served: Engine) -> None:
    """What the guide asks of a server is there: each type, profile, interaction, parameter, operation."""
    said = codec.parse(statement(served, None))
    asked = resources()["CapabilityStatement/teledossier"]
    assert said["instantiates"] == [asked["url"]]
    assert said["implementationGuide"] == asked["implementationGuide"]
    offered = {one["type"]: one for one in said["rest"][0]["resource"]}
    for wanted in asked["rest"][0]["resource"]:
        there = offered[wanted["type"]]
        for field in ("interaction", "searchParam", "operation"):
            names = {_name(one) for one in there.get(field, ())}
            assert {_name(one) for one in wanted.get(field, ())} <= names, wanted["type"]
        assert there.get("supportedProfile", []) == wanted.get("supportedProfile", []), wanted["type"]


def _name(entry: dict[str, str]) -> tuple[str, str]:
    return entry.get("code") or entry["name"], entry.get("definition", "")


# what is written


def judge() -> Validator:
    return validator(codes=service.standard())


def errors(issues: Sequence[Issue]) -> set[str]:
    return {f"{one.slug} {one.expression}" for one in issues if one.severity in ("error", "fatal")}


@pytest.mark.parametrize("example", list(examples.invalid()), ids=lambda one: f"{one.profile}-{one.name}")
async def test_an_invalid_resource_is_refused_on_write_for_the_stated_reason(
    engine: Engine, example: Example
) -> None:
    """Without a word of `meta.profile`, where the resource itself says that it is ours; else where it
    declares its profile."""
    resource = example.resource
    if example.url not in profiles_of(resource):
        resource = {**resource, "meta": {"profile": [example.url]}}
    with pytest.raises(Unprocessable) as refused:
        await Fhir(engine, SYSTEM).update(resource)
    assert errors(refused.value.issues) == set(example.found)
    assert all(one.text for one in refused.value.issues)
    assert await engine.store.count(resource["resourceType"], Everything()) == 0


@pytest.mark.parametrize("example", list(examples.valid()), ids=lambda one: one.profile)
async def test_a_valid_resource_is_stored(engine: Engine, example: Example) -> None:
    await Fhir(engine, SYSTEM).update({**example.resource, "meta": {"profile": [example.url]}})


NOT_TOLD_BY_THEMSELVES = {"imaging-study", "document-reference", "binary", "encounter"}
"""Profiles of resources that only their place makes ours; the platform writes them as the profile says."""


def test_which_resources_are_ours_whatever_they_declare() -> None:
    told = {one.profile for one in examples.valid() if profiles_of(one.resource) == (one.url,)}
    assert told == {one.profile for one in examples.valid()} - {
        f"teledossier-{one}" for one in NOT_TOLD_BY_THEMSELVES
    }


KEYS = st.sampled_from(["coding", "system", "code", "url", "value"])
ANY = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)
TYPES = st.sampled_from(["ServiceRequest", "Patient", "Consent", "QuestionnaireResponse", "Task", "x"])


@given(ANY, TYPES)
def test_any_json_may_be_asked_whether_it_is_ours(value: object, type: str) -> None:
    names = ("category", "identifier", "extension", "questionnaire", "type")
    assert isinstance(profiles_of({"resourceType": type} | dict.fromkeys(names, value)), tuple)


BY_TYPE = {
    "DocumentReference": "document-reference",
    "Binary": "binary",
    "ImagingStudy": "imaging-study",
    "Encounter": "encounter",
    "Patient": "patient",
    "Practitioner": "practitioner",
}
"""Profiles that every resource of the type keeps, when the platform wrote it."""


async def test_everything_the_platform_writes_keeps_its_profile(engine: Engine) -> None:
    """The demonstration, a venue, an exam that is attached and one that is proposed; fhir.resources, an
    independent witness, reads all of it. Nothing codes acts yet, and peers are the operator's."""
    await load(engine)
    await _venue(engine)
    written = [codec.parse(one.body) async for one in engine.store.scan() if one.body is not None]
    written += _exams()
    seen, asked = Counter[str](), judge()
    for resource in written:
        type = resource["resourceType"]
        ours = set(profiles_of(resource))
        if type in BY_TYPE:
            ours.add(extension_url(f"teledossier-{BY_TYPE[type]}"))
        found = errors(asked.validate(resource, profiles=sorted(ours)))
        assert found == set(), f"{type}/{resource.get('id')}"
        get_fhir_model_class(type).model_validate_json(codec.dump(resource))
        seen.update(one.rpartition("/")[2] for one in ours)
    assert {one.profile for one in examples.valid()} - set(seen) == {
        "teledossier-charge-item",
        "teledossier-peer",
    }


async def _venue(engine: Engine) -> None:
    """A télédossier opened with the venue that a DPI sends."""
    encounter = {"resourceType": "Encounter", "status": "in-progress", "class": {"code": "EMER"}}
    parameters = [
        {"name": "workflow", "valueCode": "avis-urgences"},
        {"name": "patient", "resource": next(patients())},
        {"name": "encounter", "resource": encounter},
        {"name": "who", "valueReference": {"reference": "Practitioner/p01"}},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    await opening.start(engine, SYSTEM, OperationRequest("ServiceRequest", "", body))


def _exams() -> list[dict[str, Any]]:
    """What the image side writes: a study alone, the same attached, its trace, a proposal."""
    attributes = {
        "00080020": {"vr": "DA", "Value": ["20240808"]},
        "00080030": {"vr": "TM", "Value": ["050800"]},
    }
    counts = {"series_count": 1, "instance_count": 2, "first_received": 0, "last_received": 0}
    seen = {"last_seq": 2, "processed_seq": 0, "attached": False, "mixed": False}
    study = Study(
        "2.25.1", attributes, (), "AUCH-24-08812", ("MR",), **counts, **seen, calling_ae="", source=""
    )
    series = Series("2.25.2", attributes, 2)
    briefs = [Brief("2.25.2", f"2.25.3{n}", "1.2.840.10008.5.1.4.1.1.4", n) for n in (1, 2)]
    identifiers = [(f"{BASE}/NamingSystem/ipp/ch-auch", "AU-300003")]
    alone = build(study, [series], briefs, identifiers, zone=UTC, base="http://127.0.0.1/dicom-web")
    decision = association.Attach(("a",), "Patient/pat03")
    request = association.Request("a", "Patient/pat03", "active", None)
    now = "2024-08-08T05:22:00+02:00"
    return [
        alone,
        association.attached(alone, decision),
        association.provenance("2.25.1", decision, now),
        association.proposal(association.Exam("2.25.1"), request, "traits", now),
    ]


def test_every_definition_is_read_by_the_witness() -> None:
    """fhir.resources, as R4B, lacks none of the types of the guide."""
    for resource in [*packages.resources(), *(one.resource for one in examples.valid())]:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_the_statement_is_read_by_the_witness(served: Engine) -> None:
    get_fhir_model_class("CapabilityStatement").model_validate_json(statement(served, None))
