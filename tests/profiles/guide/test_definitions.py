"""The guide's definitions: made from their sources, valid, and laid over their bases without a remainder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiles import definitions, packages
from profiles.packages.making.common import extension_url, laid_out, source
from profiles.packages.making.guide import definitions as made
from profiles.packages.making.structures import type_at
from profiles.schema.packages import standard
from profiles.schema.snapshot import snapshot
from profiles.validation import Validator, validator

FOLDER = Path(packages.__file__).parent / "teledossier"
STRUCTURES = [one for one in packages.resources() if one["resourceType"] == "StructureDefinition"]
OURS = {one["url"] for one in packages.resources() if "url" in one}


@pytest.fixture(scope="module")
def judge() -> Validator:
    return validator()


def name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}-{resource['id']}"


def test_what_is_committed_is_what_the_sources_say() -> None:
    """`python -m profiles.packages.making` would change nothing."""
    texts = {f"{name(one)}.json": laid_out(one) + "\n" for one in made()}
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")} == texts


@pytest.mark.parametrize("resource", packages.resources(), ids=name)
def test_each_definition_is_valid_without_a_warning(resource: dict[str, Any], judge: Validator) -> None:
    """A topic is written with extensions of later versions of FHIR, which no package here defines."""
    issues = judge.validate(resource)
    known_remarks = (
        {f"Basic.extension[{place}]" for place, _ in enumerate(resource["extension"])}
        if resource["resourceType"] == "Basic"
        else set()
    )
    assert {one.expression for one in issues if one.slug == "unknown-extension"} == known_remarks
    assert [one for one in issues if one.slug != "unknown-extension" or one.severity == "error"] == []


@pytest.mark.parametrize("structure", STRUCTURES, ids=name)
def test_each_differential_is_placed_in_its_base(structure: dict[str, Any]) -> None:
    tree = snapshot(structure, standard())
    assert tree is not None
    assert tree.problems == []


@pytest.mark.parametrize("structure", STRUCTURES, ids=name)
def test_each_differential_keeps_the_order_and_the_types_of_its_base(structure: dict[str, Any]) -> None:
    """A place is the list of the places of its steps; slices follow their element."""
    places = []
    for element in structure["differential"]["element"][1:]:
        key, place = structure["type"], []
        for step in element["id"].split(".")[1:]:
            key = "Element" if key in definitions.primitives() else key
            step_name = step.partition(":")[0].removesuffix("[x]")
            place.append(list(definitions.elements(key)).index(step_name))
            key = type_at(key, step)
            place.append(_slice_rank(structure, step))
        allowed = set(_types_there(structure["type"], element["path"]))
        assert {one["code"] for one in element.get("type", ())} <= allowed, element["id"]
        places.append(place)
    assert places == sorted(places)


def _slice_rank(structure: dict[str, Any], step: str) -> int:
    """0 for the element itself, else its slice's place among the slices as written."""
    names = [one["id"].rpartition(".")[2] for one in structure["differential"]["element"]]
    return names.index(step) + 1 if ":" in step else 0


def _types_there(type: str, path: str) -> tuple[str, ...]:
    *above, last = path.split(".")[1:]
    key = type_at(type, ".".join(above)) if above else type
    key = "Element" if key in definitions.primitives() else key
    return definitions.elements(key)[last.removesuffix("[x]")].types


@pytest.mark.parametrize("structure", STRUCTURES, ids=name)
def test_each_binding_profile_and_target_is_known(structure: dict[str, Any]) -> None:
    for element in structure["differential"]["element"]:
        value_set = element.get("binding", {}).get("valueSet")
        assert value_set is None or value_set in OURS, element["id"]
        for type in element.get("type", ()):
            for url in [*type.get("profile", ()), *type.get("targetProfile", ())]:
                assert standard().structure(url) is not None, element["id"]


@pytest.mark.parametrize("structure", STRUCTURES, ids=name)
def test_each_profile_compiles_whole(structure: dict[str, Any], judge: Validator) -> None:
    """No rule of ours is passed over because it could not be compiled."""
    profile = judge.profiles.get(structure["url"])
    assert profile is not None
    assert profile.warnings == ()
    assert profile.rules


def test_every_extension_is_used_by_a_profile_or_a_definition() -> None:
    text = "".join(
        file.read_text(encoding="utf-8")
        for file in FOLDER.glob("*.json")
        if not file.name.startswith("StructureDefinition-") or "-teledossier-" in file.name
    )
    assert [one for one in source("extensions") if extension_url(one) + '"' not in text] == []
