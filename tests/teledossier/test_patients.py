"""Identity at import: who is matched, what changes, who stays two."""

from __future__ import annotations

from typing import Any

from fhir_server.demo.directory import extension, patients
from fhir_server.teledossier.patients import merge, sound
from fhir_server.teledossier.vocabulary import value

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


def test_an_ins_with_a_wrong_key_is_left_out_and_the_identity_no_longer_qualified() -> None:
    ins, ipp = KNOWN["pat03"]["identifier"]
    made, notices = sound(incoming("pat03", identifier=[{**ins, "value": "153053299010338"}, ipp]))
    assert made["identifier"] == [ipp]
    assert value(made, "identity-status") == "provisoire"
    assert notices == ("ins-not-taken", "identity-not-qualified")


def test_a_second_ins_is_left_out() -> None:
    ins, ipp = KNOWN["pat03"]["identifier"]
    other = {"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "253072A07300443"}
    made, notices = sound(incoming("pat03", identifier=[ins, other, ipp]))
    assert (made["identifier"], notices) == ([ins, ipp], ("ins-not-taken",))


def test_a_local_number_gets_its_type() -> None:
    ins, ipp = KNOWN["pat03"]["identifier"]
    untyped = {field: content for field, content in ipp.items() if field != "type"}
    made, notices = sound(incoming("pat03", identifier=[ins, untyped]))
    assert (made["identifier"][1]["type"], notices) == (ipp["type"], ())


def test_what_is_sound_stays_as_it_is() -> None:
    for id in KNOWN:
        assert sound(incoming(id)) == (incoming(id), ())
