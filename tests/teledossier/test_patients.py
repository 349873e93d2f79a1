"""Identity at import: who is matched, what changes, who stays two."""

from __future__ import annotations

from typing import Any

from fhir_server.demo.directory import extension, patients
from fhir_server.teledossier.patients import merge

KNOWN = {one["id"]: {**one, "meta": {"versionId": "1"}} for one in patients()}


def incoming(id: str, **changes: Any) -> dict[str, Any]:
    return {
        field: content for field, content in {**KNOWN[id], **changes}.items() if field not in ("id", "meta")
    }


def test_the_same_patient_changes_nothing() -> None:
    assert not merge(KNOWN["pat01"], KNOWN["pat01"], incoming("pat01")).changed


def test_namesakes_and_twins_stay_two() -> None:
    for one, other in (("pat01", "pat06"), ("pat09", "pat10")):
        made = merge(None, None, incoming(other))
        assert made.patient["id"] != one
        assert made.changed
    taken = merge(None, KNOWN["pat01"], incoming("pat06"))
    assert (taken.notices, "id" in taken.patient) == (("identifier-taken",), True)
    assert taken.patient["id"] != "pat01"


def test_other_traits_under_one_ins_keep_ours() -> None:
    made = merge(KNOWN["pat01"], None, incoming("pat01", birthDate="1981-01-01"))
    assert (made.patient["birthDate"], made.notices) == ("1980-01-01", ("identity-differs",))


def test_a_surer_identity_replaces_and_keeps_the_old_name() -> None:
    name = [{"use": "official", "family": "VRAI", "given": ["Nom"]}]
    sure = [extension("identity-status", valueCode="qualifiee")]
    made = merge(None, KNOWN["pat08"], incoming("pat08", name=name, extension=sure))
    assert [one["use"] for one in made.patient["name"]] == ["official", "old"]
    assert made.patient["id"] == "pat08"
