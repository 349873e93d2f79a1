"""Access: the table of ways from a resource to its télédossier leads somewhere, for every type."""

from __future__ import annotations

import pytest

from fhir_server.access import BELONGS_BY, BELONGS_TO, DEFINITIONS, DIRECTORY, SYSTEM, Access, Scope
from fhir_server.search.nodes import Chain, Everything, Has, Nothing, Reference
from profiles.definitions import resource_types, search_parameters

READ = (Scope("*", "rs"),)


@pytest.mark.parametrize(("type", "param"), [(t, p) for t, ways in BELONGS_BY.items() for p in ways])
def test_each_way_is_a_reference_that_may_lead_to_a_request(type: str, param: str) -> None:
    found = search_parameters(type)[param]
    assert found.type == "reference"
    assert not found.targets or "ServiceRequest" in found.targets


@pytest.mark.parametrize(("type", "param"), BELONGS_TO.items())
def test_each_way_back_is_a_reference_of_the_request(type: str, param: str) -> None:
    found = search_parameters("ServiceRequest")[param]
    assert found.type == "reference"
    assert type in found.targets


def test_what_a_person_sees_of_each_type() -> None:
    person = Access("Practitioner/p08", READ, frozenset({"Practitioner/p08", "Organization/urg-auch"}))
    mine = Reference("audience", ("Organization/urg-auch", "Practitioner/p08"))
    assert person.visible("ServiceRequest") == mine
    assert person.visible("Task") == Chain("focus", "ServiceRequest", mine)
    assert person.visible("Patient") == Has("ServiceRequest", "subject", mine)
    open_types = {t for t in resource_types() if person.visible(t) == Everything()}
    assert open_types == (DIRECTORY | DEFINITIONS) & resource_types()
    assert person.visible("Observation") == Nothing()


def test_no_audience_no_scope_no_sight() -> None:
    assert Access("Practitioner/p19", READ).visible("ServiceRequest") == Nothing()
    assert Access("Client/x", (Scope("Task", "rs"),), None).visible("Patient") == Nothing()
    assert Access("Client/x", (Scope("Task", "c"),), None).visible("Task") == Nothing()
    assert SYSTEM.visible("Patient") == Everything()
