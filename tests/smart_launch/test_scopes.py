"""The grammar of scopes and what is granted. SMART App Launch 2.2 scopes-and-launch-context.html"""

from __future__ import annotations

import pytest

from fhir_server.access import Scope
from smart_launch.authorization import scopes


@pytest.mark.parametrize(
    ("text", "type", "letters"),
    [
        ("system/*.cruds", "*", "cruds"),
        ("system/Patient.rs", "Patient", "rs"),
        ("system/Binary.c", "Binary", "c"),
        ("user/Observation.cds", "Observation", "cds"),
        ("system/Patient.read", "Patient", "rs"),
        ("system/Patient.write", "Patient", "cud"),
        ("patient/*.*", "*", "cruds"),
    ],
)
def test_parse(text: str, type: str, letters: str) -> None:
    scope = scopes.parse(text)
    assert (scope.type, scope.letters, str(scope)) == (type, letters, text)


@pytest.mark.parametrize(
    "text",
    [
        "system/Patient.sr",
        "system/Patient.dc",
        "system/Patient.",
        "system/Patient.rr",
        "system/Patient.x",
        "system/patient.rs",
        "system/.rs",
        "system/*",
        "admin/*.rs",
        "system/Patient.rs?category=a",
        "openid",
        "system/Patient.readwrite",
        "system/Patient.rs\n",
        "",
        "system/*.CRUDS",
        "system/Pa-tient.r",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(scopes.BadScope):
        scopes.parse(text)


@pytest.mark.parametrize(
    ("asked", "allowed", "granted"),
    [
        ("system/*.cruds", "system/*.cruds", "system/*.cruds"),
        ("", "system/Patient.rs system/Task.r", "system/Patient.rs system/Task.r"),
        ("system/*.cruds", "system/Patient.rs", "system/Patient.rs"),
        ("system/Patient.cruds", "system/*.rs", "system/Patient.rs"),
        ("system/Patient.read", "system/*.cruds", "system/Patient.read"),
        ("system/Patient.*", "system/*.read", "system/Patient.rs"),
        ("system/Patient.rs system/Task.rs", "system/Patient.rs", "system/Patient.rs"),
        ("system/Patient.rs system/Patient.rs", "system/*.rs", "system/Patient.rs"),
    ],
)
def test_grant(asked: str, allowed: str, granted: str) -> None:
    assert scopes.grant(asked, allowed) == granted


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("system/Task.rs", "system/Patient.rs"),
        ("system/Patient.c", "system/Patient.rs"),
        ("user/Patient.rs", "system/*.cruds"),
        ("system/Patient.sr", "system/*.cruds"),
        ("launch", "system/*.cruds"),
        ("", ""),
    ],
)
def test_nothing_to_grant(asked: str, allowed: str) -> None:
    with pytest.raises(scopes.BadScope):
        scopes.grant(asked, allowed)


def test_rights() -> None:
    assert scopes.rights("system/*.rs system/Binary.c") == (Scope("*", "rs"), Scope("Binary", "c"))
