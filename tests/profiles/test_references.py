"""Reference strings taken apart, walked and rewritten."""

from __future__ import annotations

import pytest

from profiles.references import Reference, parse, rewrite, told, walk

BASE = "https://here.example/fhir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/12", Reference("local", "Patient/12", "Patient", "12")),
        ("Patient/12/_history/3", Reference("local", "Patient/12", "Patient", "12", "3")),
        (f"{BASE}/Patient/12", Reference("local", "Patient/12", "Patient", "12")),
        (f"{BASE}/Patient/12/_history/3", Reference("local", "Patient/12", "Patient", "12", "3")),
        (
            "https://there.example/r4/Patient/12",
            Reference("absolute", "https://there.example/r4/Patient/12", "Patient", "12"),
        ),
        (f"{BASE}/sub/Patient/12", Reference("absolute", f"{BASE}/sub/Patient/12", "Patient", "12")),
        ("https://there.example/", Reference("absolute", "https://there.example/")),
        (
            "urn:uuid:2f6d1f4e-0000-4000-8000-000000000000",
            Reference("urn", "urn:uuid:2f6d1f4e-0000-4000-8000-000000000000"),
        ),
        ("#p1", Reference("fragment", "#p1", id="p1")),
        ("#", Reference("fragment", "#")),
        ("Patient?identifier=a|b", Reference("conditional", "Patient?identifier=a|b", "Patient")),
        ("patient/12", Reference("other", "patient/12")),
        ("Patient/a_b", Reference("other", "Patient/a_b")),
        ("Patient/" + "a" * 65, Reference("other", "Patient/" + "a" * 65)),
        ("Patient/12\n", Reference("other", "Patient/12\n")),
        ("", Reference("other", "")),
    ],
)
def test_parse(text: str, expected: Reference) -> None:
    assert parse(text, BASE) == expected


def resource() -> dict[str, object]:
    return {
        "resourceType": "Task",
        "text": {
            "status": "generated",
            "div": "<div><a href=\"urn:uuid:1\">x</a><img src='urn:uuid:2'/></div>",
        },
        "contained": [
            {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "urn:uuid:3"}}
        ],
        "focus": {"reference": "urn:uuid:1", "display": "urn:uuid:1"},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}],
        "input": [
            {"valueReference": {"reference": "Patient/1"}},
            {"valueUri": "urn:uuid:2"},
            {"valueAttachment": {"url": "urn:uuid:1"}},
            {"valueReference": {"identifier": {"value": "x"}}},
        ],
    }


def test_walk_finds_every_reference_with_its_path() -> None:
    assert [(told(path), holder["reference"]) for path, holder in walk(resource())] == [
        ("Task.contained[0].managingOrganization", "urn:uuid:3"),
        ("Task.focus", "urn:uuid:1"),
        ("Task.input[0].valueReference", "Patient/1"),
    ]


def test_rewrite_changes_links_and_nothing_else() -> None:
    new = {"urn:uuid:1": "Binary/1", "urn:uuid:2": "Binary/2"}
    changed = resource()
    rewrite(changed, new.get)
    expected = resource()
    expected["text"] = {
        "status": "generated",
        "div": "<div><a href=\"Binary/1\">x</a><img src='Binary/2'/></div>",
    }
    expected["focus"] = {"reference": "Binary/1", "display": "urn:uuid:1"}
    expected["input"] = [
        {"valueReference": {"reference": "Patient/1"}},
        {"valueUri": "Binary/2"},
        {"valueAttachment": {"url": "Binary/1"}},
        {"valueReference": {"identifier": {"value": "x"}}},
    ]
    assert changed == expected
