"""What a recipient's PACS gets: its own values, the originals kept, everything else byte for byte."""

from __future__ import annotations

import contextlib
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomweb.coercion.identity import Identity, Site, known_as, load, site_of
from dicomweb.coercion.raw import Unreadable
from dicomweb.coercion.renewing import new_uid, renewer
from dicomweb.coercion.rewriting import Coercion, coerce
from dicomweb.dataset import read_header
from dicomweb.reasons import Refused
from tests.dicomweb import making

INS, OID = "180013199010632", "1.2.250.1.213.1.4.8"
WANTED = Identity("TL-900006", "310000000", "MARTIN^Jean", "19800101", "M", ((INS, OID),))
COERCION = Coercion(WANTED, "20261121100000+0000", "TELEDOSSIER", "CH Auch")
CHANGED = {
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence", "AccessionNumber",
    "OriginalAttributesSequence",
}  # fmt: skip


def same(path: Path, coercion: Coercion, tmp_path: Path) -> Dataset:
    """Coerced, and all that is not to change the same byte for byte."""
    target = tmp_path / "coerced.dcm"
    assert coerce(path, target, coercion)
    before, after = dcmread(path), dcmread(target)
    assert before.file_meta == after.file_meta
    for element in before:
        if element.keyword not in CHANGED and element.tag.element != 0:
            assert after[element.tag] == element, element.tag
    extra = {one.keyword for one in after} - {one.keyword for one in before}
    assert extra <= CHANGED
    if "PixelData" in before:
        assert before.PixelData == after.PixelData
    return after


def bundled() -> Iterator[Path]:
    """pydicom's files that our node would take."""
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        try:
            read_header(path)
        except Refused:
            continue
        yield path


@pytest.mark.parametrize("path", list(bundled()), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_every_encoding(path: Path, tmp_path: Path) -> None:
    after = same(path, COERCION, tmp_path)
    assert (after.PatientID, str(after.PatientName)) == ("TL-900006", "MARTIN^Jean")
    assert (after.IssuerOfPatientID, after.PatientBirthDate, after.PatientSex) == (
        "310000000",
        "19800101",
        "M",
    )
    (mine,) = after.OriginalAttributesSequence[-1:]
    (kept,) = mine.ModifiedAttributesSequence
    before = dcmread(path)
    for keyword in CHANGED - {"OriginalAttributesSequence"}:
        if keyword in kept:
            assert kept[keyword] == before[keyword]
    assert kept.get("PatientID", None) == before.get("PatientID", None)
    header, again = read_header(path), read_header(tmp_path / "coerced.dcm")
    assert (header.study, header.series, header.instance) == (again.study, again.series, again.instance)
    assert header.transfer_syntax == again.transfer_syntax
    assert not coerce(tmp_path / "coerced.dcm", tmp_path / "twice.dcm", COERCION)  # nothing is left to change


def test_the_originals_are_kept(tmp_path: Path) -> None:
    """PS3.3 C.12.1.1.9: the previous values, when, by which system, why; earlier changes stay."""
    earlier = Dataset()
    earlier.ModifiedAttributesSequence = Sequence([Dataset()])
    earlier.ModifiedAttributesSequence[0].PatientID = "X1"
    earlier.AttributeModificationDateTime, earlier.ModifyingSystem = "20200101", "RIS"
    earlier.SourceOfPreviousValues, earlier.ReasonForTheAttributeModification = "", "COERCE"
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "55", "elsewhere", "TEXT"
    made = making.dataset(
        OriginalAttributesSequence=Sequence([earlier]), OtherPatientIDsSequence=Sequence([other])
    )
    path = making.write(tmp_path / "a.dcm", made)
    after = same(path, replace(COERCION, reason="CORRECT"), tmp_path)
    first, second = after.OriginalAttributesSequence
    assert first == earlier
    assert (second.AttributeModificationDateTime, second.ModifyingSystem) == (
        "20261121100000+0000",
        "TELEDOSSIER",
    )
    assert (second.SourceOfPreviousValues, second.ReasonForTheAttributeModification) == ("CH Auch", "CORRECT")
    (kept,) = second.ModifiedAttributesSequence
    assert {one.keyword: str(one.value) for one in kept if one.VR != "SQ"} == {
        "PatientName": "LABORDE^Henri", "PatientID": "AU-300003", "IssuerOfPatientID": "ch-auch",
        "PatientBirthDate": "19530517",
    }  # fmt: skip
    assert kept.OtherPatientIDsSequence == Sequence([other])
    numbers = [(one.PatientID, one.IssuerOfPatientID) for one in after.OtherPatientIDsSequence]
    assert numbers == [("55", "elsewhere"), (INS, OID), ("AU-300003", "ch-auch")]
    (qualifiers,) = after.OtherPatientIDsSequence[1].IssuerOfPatientIDQualifiersSequence
    assert (qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType) == (OID, "ISO")


def test_only_what_is_known_is_written(tmp_path: Path) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    nothing = replace(COERCION, identity=Identity())
    assert not coerce(path, tmp_path / "b.dcm", nothing)
    assert not (tmp_path / "b.dcm").exists()
    after = same(path, replace(COERCION, identity=Identity(accession="TL-24-1")), tmp_path)
    assert (after.AccessionNumber, after.PatientID) == ("TL-24-1", "AU-300003")
    (kept,) = after.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert [(one.keyword, one.value) for one in kept] == [("AccessionNumber", "ACC-1")]


@pytest.mark.parametrize(
    ("characters", "name", "expected"),
    [
        ("ISO_IR 192", "MÜLLER^Élodie", "MÜLLER^Élodie"),
        ("ISO_IR 100", "MÜLLER^Élodie", "MÜLLER^Élodie"),
        (None, "MÜLLER^Élodie", "MULLER^Elodie"),  # default characters: without accents
        ("ISO_IR 144", "MÜLLER^Élodie", "MULLER^Elodie"),  # Cyrillic
        (["", "ISO 2022 IR 87"], "MÜLLER^Élodie", "MULLER^Elodie"),
        ("ISO_IR 100", "Иванов^Иван", "LABORDE^Henri"),  # cannot be written there: what stands stays
        ("ISO_IR 192", "Иванов^Иван", "Иванов^Иван"),
    ],
)
def test_names_in_the_characters_of_the_dataset(
    characters: Any, name: str, expected: str, tmp_path: Path
) -> None:
    made = making.dataset(SpecificCharacterSet=characters, StudyDescription="X")
    path = making.write(tmp_path / "a.dcm", made)
    after = same(path, replace(COERCION, identity=replace(WANTED, name=name)), tmp_path)
    assert str(after.PatientName) == expected


@pytest.mark.parametrize("syntax", [making.SYNTAX, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_encodings_with_nested_sequences_of_undefined_length(syntax: str, tmp_path: Path) -> None:
    inner, item = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "x"
    item.ConceptCodeSequence = Sequence([inner, inner])
    item["ConceptCodeSequence"].is_undefined_length = True
    item.is_undefined_length_sequence_item = True
    made = making.dataset(RequestAttributesSequence=Sequence([item, item]))
    made["RequestAttributesSequence"].is_undefined_length = True
    path = making.write(tmp_path / "a.dcm", made, syntax)
    after = same(path, COERCION, tmp_path)
    assert [len(one.ConceptCodeSequence) for one in after.RequestAttributesSequence] == [2, 2]


def test_new_uids_where_an_instance_is_to_be_another_one(tmp_path: Path) -> None:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        "2.25.9",
    )
    made = making.dataset(ReferencedImageSequence=Sequence([reference]), FrameOfReferenceUID="2.25.77")
    path, target = making.write(tmp_path / "a.dcm", made), tmp_path / "b.dcm"
    renew = renewer({making.STUDY, making.SERIES, "2.25.1", "2.25.9"}, "note")
    assert coerce(path, target, replace(COERCION, renew=renew))
    after = dcmread(target)
    assert after.StudyInstanceUID == new_uid(making.STUDY, "note") != making.STUDY
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == new_uid("2.25.1", "note")
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == new_uid("2.25.9", "note")
    assert after.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert after.FrameOfReferenceUID == "2.25.77"  # no UID of the study's objects
    kept = after.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (kept.StudyInstanceUID, kept.SOPInstanceUID) == (making.STUDY, "2.25.1")
    assert after.PixelData == made.PixelData
    assert new_uid("2.25.1", "") == "2.25.1"
    assert len({new_uid("2.25.1", salt) for salt in ("a", "b", "a")}) == 2
    assert all(len(new_uid(str(n), "s")) <= 44 for n in range(200))


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset(PixelData=b""))
    size = 200_000_000
    data = path.read_bytes().removesuffix(b"\xe0\x7f\x10\x00OW\0\0\0\0\0\0")
    with path.open("wb") as file:
        file.write(data + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    tracemalloc.start()
    assert coerce(path, tmp_path / "b.dcm", COERCION)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "b.dcm").stat().st_size > size
    assert peak < 8_000_000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=some.integers(0, 2000), value=some.binary(min_size=1, max_size=6))
def test_hostile_files_are_refused_or_rewritten(place: int, value: bytes, tmp_path: Path) -> None:
    """Whatever a file is made of, the end is a file or a reason."""
    path = making.write(tmp_path / "a.dcm", making.dataset())
    data = bytearray(path.read_bytes())
    at = 132 + place % (len(data) - 140)
    data[at : at + len(value)] = value
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Unreadable):
            coerce(path, tmp_path / "b.dcm", COERCION)


# -- FHIR → what is to stand there
SITE = Site("chu-tls", "310000000")
MARTIN = Identity("TL-900006", "310000000", "MARTIN^Jean Paul", "19800101", "M", ((INS, OID),))


def patient(status: str = "qualifiee", **more: Any) -> dict[str, Any]:
    return {
        "identifier": [
            {"system": f"urn:oid:{OID}", "value": INS},
            {"system": "https://teledossier.example/fhir/NamingSystem/ipp/chu-tls", "value": "TL-900006"},
            {"system": "https://teledossier.example/fhir/NamingSystem/ipp/ch-auch", "value": "AU-1"},
        ],
        "name": [
            {"use": "old", "family": "INCONNU"},
            {"use": "usual", "family": "DURAND", "given": ["Jean"]},
            {"use": "official", "family": "MARTIN", "given": ["Jean", "Paul"]},
        ],
        "gender": "male",
        "birthDate": "1980-01-01",
        "extension": [
            {
                "url": "https://teledossier.example/fhir/StructureDefinition/identity-status",
                "valueCode": status,
            }
        ],
        **more,
    }


@pytest.mark.parametrize(
    ("known", "site", "expected"),
    [
        (patient(), SITE, MARTIN),
        (patient(), replace(SITE, issuer="1.2.3"), replace(MARTIN, issuer="1.2.3")),
        (patient(), Site("ch-albi"), replace(MARTIN, patient_id=INS, issuer=OID, others=())),
        (patient("validee"), SITE, replace(MARTIN, others=())),
        (patient("douteuse"), SITE, Identity("TL-900006", "310000000")),
        (patient("provisoire"), Site("ch-albi"), Identity()),
        (patient(birthDate="1980", gender="unknown"), SITE, replace(MARTIN, birth="", sex="")),
        (patient(name=[{"family": "A\\B^C=D", "given": ["É\n"]}], identifier=[]), SITE,
         Identity(name="A B C D^É", birth="19800101", sex="M")),
        ({}, SITE, Identity()),
    ],
)  # fmt: skip
def test_a_patient_as_a_site_knows_them(known: dict[str, Any], site: Site, expected: Identity) -> None:
    found = known_as(known, {}, site)
    assert found == expected
    assert load(found.dump()) == found
    assert (found.digest == Identity().digest) == (found == Identity())


def test_the_sites_own_accession_number() -> None:
    def numbered(site: str, code: str = "ACSN") -> dict[str, Any]:
        kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}
        return {"type": kind, "value": f"{site}-1", "assigner": {"reference": f"Organization/{site}"}}

    request = {"identifier": [numbered("ch-auch"), numbered("chu-tls", "PLAC"), numbered("chu-tls")]}
    assert known_as({}, request, SITE).accession == "chu-tls-1"
    assert known_as({}, {"identifier": [numbered("ch-auch")]}, SITE).accession == ""


def test_a_site_of_its_organization() -> None:
    finess = {"system": "https://finess.esante.gouv.fr", "value": "310000000"}
    assert site_of({"id": "chu-tls", "identifier": [finess]}) == SITE
    assert (SITE.authority, Site("x").authority, Site("x", "1", "o").authority) == ("310000000", "x", "o")
