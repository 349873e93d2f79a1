"""What the guide says is what the server does: operations and their parameters, steps, capabilities, and
every resource that the platform writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.main import make_engine
from fhir_server.operations.registry import OperationRequest
from fhir_server.rest.capability import statement
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.teledossier import operations
from fhir_server.teledossier.definitions import concepts, resources
from fhir_server.teledossier.vocabulary import BASE
from fhir_server.teledossier.workflows import workflow, workflow_codes
from profiles import codec

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
        assert {frozenset(definition["resource"])} == {one.types for one in several}, name
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
    assert topics == steps | {"start", "attach", "exam-attached", "etape"}
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
