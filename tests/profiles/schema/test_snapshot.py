"""Snapshots: a differential laid over its base, and definitions that would never end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from profiles.schema.packages import standard
from profiles.schema.snapshot import Branch, known, snapshot
from tests.profiles.schema.profile import URL, element, found, over, profile

Json = dict[str, Any]


def rows(structure: Json) -> dict[str, Json]:
    """The elements of the snapshot by id."""
    tree = snapshot(structure, standard())
    assert tree is not None
    return {row["id"]: row for row in flat(tree, tree.name, tree.name)}


def flat(branch: Branch, id: str, path: str) -> Iterator[Json]:
    """The tree as the elements of a snapshot, with ids and paths."""
    yield {**branch.element, "id": id, "path": path}
    for child in branch.children:
        yield from flat(child, f"{id}.{child.name}", f"{path}.{child.name}")
    for slice in branch.slices:
        stem = id.rpartition(":")[0] if branch.element.get("sliceName") else id
        yield from flat(slice, f"{stem}:{slice.element.get('sliceName')}", path)


def test_a_snapshot_is_its_base_with_the_differential() -> None:
    base = rows(profile("Patient"))
    made = rows(
        profile(
            "Patient",
            element("Patient.name", min=1),
            element("Patient.name.family", min=1),
            element("Patient.identifier", slicing={"discriminator": [], "rules": "open"}),
            element("Patient.identifier:a", max="1"),
            element("Patient.identifier:a.system", min=1),
            element("Patient.deceasedBoolean", min=1),
        )
    )
    assert set(base) <= set(made)
    assert {id: row for id, row in made.items() if id.startswith("Patient.contact")} == {
        id: row for id, row in base.items() if id.startswith("Patient.contact")
    }
    assert made["Patient.name"]["min"] == made["Patient.name.family"]["min"] == 1
    assert (made["Patient.name"]["max"], made["Patient.name"]["path"]) == ("*", "Patient.name")
    assert made["Patient.identifier:a"]["max"] == "1"
    assert made["Patient.identifier:a.system"]["path"] == "Patient.identifier.system"
    assert made["Patient.deceased[x]:deceasedBoolean"]["type"] == [{"code": "boolean"}]
    assert "slicing" not in base["Patient.identifier"]


def test_a_tree_that_is_handed_out_is_a_copy() -> None:
    packages = standard()
    first = known("Patient", packages)
    assert first is not None
    first.children.clear()
    first.element["min"] = 7
    second = known("Patient", packages)
    assert second is not None
    assert second.children
    assert second.element["min"] == 0


def test_a_differential_of_its_own_snapshot_changes_nothing() -> None:
    """The publisher's snapshot of a profile, laid as a differential over its base, is that snapshot."""
    structure = standard().structure("bmi")
    assert structure is not None
    given = {row["id"]: row for row in structure["snapshot"]["element"]}
    bare = {key: value for key, value in structure.items() if key != "snapshot"}
    made = rows({**bare, "differential": {"element": structure["snapshot"]["element"]}})
    assert {id: (row["min"], row["max"]) for id, row in given.items()} == {
        id: (made[id]["min"], made[id]["max"]) for id in given
    }


def test_a_base_that_goes_round_in_a_circle() -> None:
    one = profile("Patient", url=URL, base=URL + "2")
    two = profile("Patient", url=URL + "2", base=URL)
    issues = over(one, two).validate({"resourceType": "Patient"}, profiles=[URL])
    assert found(issues) == {("unknown-profile", "Patient")}


def test_an_extension_that_is_a_part_of_itself() -> None:
    own = [{"code": "Extension", "profile": [URL]}]
    structure = profile(
        "Extension",
        element("Extension.extension", type=own),
        element("Extension.extension.extension.url", min=1),
        element("Extension.extension:a", type=own),
        element("Extension.extension:a.value[x]", min=1),
    )
    resource = {"resourceType": "Patient", "extension": [{"url": URL, "valueString": "x"}]}
    assert found(over(structure).validate(resource)) == set()


def test_a_deep_content_reference_is_made_in_a_moment() -> None:
    deep = ".".join(["Questionnaire", *["item"] * 60, "text"])
    start = time.process_time()
    issues = over(profile("Questionnaire", element(deep, min=1))).validate(
        {"resourceType": "Questionnaire", "status": "draft"}, profiles=[URL]
    )
    assert found(issues) == set()
    assert time.process_time() - start < 5
