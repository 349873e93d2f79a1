"""Our own definitions are sound FHIR, and their search expressions compile for the types they name."""

from __future__ import annotations

from typing import Any

import pytest

from profiles import packages
from profiles.fhirpath import paths
from profiles.validation import validate

RESOURCES = packages.resources()


def test_there_are_some() -> None:
    assert {"SearchParameter", "CodeSystem"} <= {resource["resourceType"] for resource in RESOURCES}


@pytest.mark.parametrize(
    "resource", RESOURCES, ids=lambda resource: f"{resource['resourceType']}-{resource.get('id')}"
)
def test_each_is_valid(resource: dict[str, Any]) -> None:
    assert validate(resource) == []


@pytest.mark.parametrize("parameter", packages.search_parameters(), ids=lambda parameter: parameter["id"])
def test_each_search_parameter_leads_somewhere(parameter: dict[str, Any]) -> None:
    for base in parameter["base"]:
        assert paths.branches(parameter["expression"], base)
