"""The package file: the same each time, whole, and enough by itself to judge télédossiers elsewhere."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from profiles import packages
from profiles.packages.making import examples
from profiles.packages.making.archive import build
from profiles.packages.making.conformance import manifest
from profiles.schema import pack
from profiles.schema.packages import Package, Packages, built_in
from profiles.validation import validator


def members() -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(build()), mode="r:gz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def test_the_same_sources_give_the_same_bytes() -> None:
    assert build() == build()


def test_it_holds_every_definition_and_example_and_says_so() -> None:
    files = members()
    assert next(iter(files)) == "package/package.json"
    assert json.loads(files["package/package.json"]) == manifest()
    for folder, expected in (
        ("package", packages.resources()),
        ("package/example", [one.resource for one in examples.valid()]),
    ):
        index = json.loads(files[f"{folder}/.index.json"])
        named = {row["filename"]: (row["resourceType"], row["id"]) for row in index["files"]}
        assert named == {
            f"{one['resourceType']}-{one['id']}.json": (one["resourceType"], one["id"]) for one in expected
        }
        for name, (type, id) in named.items():
            content = json.loads(files[f"{folder}/{name}"])
            assert (content["resourceType"], content["id"]) == (type, id)
    invalid = json.loads(files["package/tests/invalid/manifest.json"])["examples"]
    assert {one["breaks"] for one in invalid} == {one.breaks for one in examples.invalid()}
    assert all(f"package/tests/invalid/{one['file']}" in files for one in invalid)


def test_read_as_any_package_it_judges_the_examples(tmp_path: Path) -> None:
    """With R4 core alone, without what is built in of ours."""
    (tmp_path / "guide.tgz").write_bytes(build())
    (tmp_path / "guide.zip").write_bytes(pack.build(*pack.read(tmp_path / "guide.tgz")))
    read = Package("teledossier.fhir", lambda: (tmp_path / "guide.zip").open("rb"))
    judge = validator(Packages([built_in("hl7.fhir.r4.core"), read]))
    for example in examples.valid():
        issues = judge.validate(example.resource, profiles=[example.url])
        assert [one for one in issues if one.severity == "error"] == [], example.profile
    for example in examples.invalid():
        if not example.found[0].startswith("bad-code"):  # codes need a terminology service
            issues = judge.validate(example.resource, profiles=[example.url])
            found = {f"{one.slug} {one.expression}" for one in issues if one.severity == "error"}
            assert found == set(example.found), example.name
            assert all(one.text for one in issues)
