"""Whatever patch is sent, of whatever format: the result or the project's own error."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles import codec
from profiles.outcomes import TeledossierError
from profiles.patch import (
    FORMATS,
    fhirpath_patch,
    json_patch,
    patched,
    read,
    xml_patch,
)
from tests.profiles.test_patch import BASIC, EXTENSION, STRING, Json, P, diff, operation, parameters

SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.sampled_from(["", "a", "male", "Patient", "/name/0", "Patient.name[0]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["given", "url", "part", "name", "text"]), inner, max_size=3)
    ),
    max_leaves=8,
)
POINTERS = st.sampled_from(
    [
        "",
        "/",
        "/name",
        "/name/0",
        "/name/-",
        "/name/0/given/1",
        "/_birthDate",
        "/id",
        "/meta",
        "/name/01",
        "/~2",
    ]
)
PATHS = st.sampled_from(
    [
        "Patient",
        "Patient.name",
        "Patient.name[0]",
        "Patient.name.given",
        "Patient.name[0].given",
        "Patient.birthDate",
        "Patient.deceased",
        "Patient.name.where(use='official').given.first()",
        "Patient.descendants()",
        "Patient.id",
        "Patient.name[0].given[1].extension",
        "Patient.contained",
        "1 + 1",
        "Patient.name | Patient.name",
        "%resource",
        "$this",
        "",
    ]
)
VALUES = st.sampled_from(
    [
        STRING,
        EXTENSION,
        {"valueBoolean": True},
        {"valueDate": "2020"},
        {"valueHumanName": {"text": "n"}},
        {"valueCode": "x"},
        {"part": [{"name": "other", "valueReference": {"reference": "Patient/1"}}]},
        {"resource": BASIC},
        {},
        {"_valueString": {"id": "x"}},
        {"valueId": "x"},
        {"valueMeta": {"versionId": "9"}},
    ]
)
JSON_OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "spam"]), "path": POINTERS},
    optional={"from": POINTERS, "value": SCRAPS},
)
FHIRPATH_OPERATION = st.builds(
    operation,
    st.sampled_from(["add", "insert", "delete", "replace", "move", "spam"]),
    PATHS,
    name=st.sampled_from(
        ["name", "given", "birthDate", "deceased", "extension", "contained", "link", "id", "text", ""]
    ),
    value=VALUES,
    index=st.integers(-1, 4),
    source=st.integers(-1, 4),
    destination=st.integers(-1, 4),
)
STEPS = st.sampled_from(
    [
        "Patient",
        "name",
        "name[1]",
        "given[2]",
        "@value",
        "text()",
        "*",
        ".",
        "birthDate",
        "node()",
        "name[given]",
        "comment()",
        "contained",
        "namespace::a",
        "h:div",
    ]
)
XML_OPERATION = st.builds(
    "<{} sel='{}'{}>{}</{}>".format,
    op := st.shared(st.sampled_from(["add", "replace", "remove"]), key="op"),
    st.lists(STEPS, max_size=4).map("/".join),
    st.sampled_from(
        [
            "",
            " pos='before'",
            " type='@value'",
            " type='@id'",
            " ws='both'",
            " type='namespace::a'",
            " type='@xml:a'",
        ]
    ),
    st.sampled_from(
        [
            "",
            "x",
            "<name/>",
            "<gender value='male'/>",
            "<!-- c -->",
            "<?a b?>",
            "<a xmlns='urn:x'/>",
            "<Patient/>",
            "&#13;",
        ]
    ),
    op,
)


@given(st.lists(JSON_OPERATION, max_size=4))
def test_no_json_patch_brings_another_error(operations: list[Json]) -> None:
    try:
        codec.dump(patched(json_patch.of(operations), P))
    except TeledossierError:
        return


@given(st.lists(FHIRPATH_OPERATION | SCRAPS, max_size=4))
def test_no_fhirpath_patch_brings_another_error(operations: list[Any]) -> None:
    try:
        made = patched(fhirpath_patch.of(parameters(*operations)), P)
    except TeledossierError:
        return
    assert fhirpath_patch.of(parameters()).apply(made) == made


@given(st.lists(XML_OPERATION, min_size=1, max_size=4))
def test_no_xml_patch_brings_another_error(operations: list[str]) -> None:
    try:
        codec.dump(patched(xml_patch.read(diff(*operations)), P))
    except TeledossierError:
        return


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.sampled_from(FORMATS))
def test_no_bytes_bring_another_error(body: bytes, media_type: str) -> None:
    try:
        patched(read(media_type, body), P)
    except TeledossierError:
        return
