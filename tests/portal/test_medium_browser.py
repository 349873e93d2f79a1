"""What a medium holds, read by a real browser: a true DICOMDIR, none, one that lies; archives meant to harm.

The portal's own scripts, given to the browser from their files: no server runs.
"""

from __future__ import annotations

import io
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.dicomweb import making
from tests.portal.test_browser import browser

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.peer("chromium")
STATIC = Path(__file__).parents[2] / "smart_launch" / "app" / "static"
READ = """async () => {
  const { catalogue } = await import("/static/js/import/support.js");
  const all = (list, work) => Promise.all(list.map(work));
  const files = [...document.querySelector("input").files];
  const found = await catalogue(files, () => {}, new AbortController().signal);
  const size = (entry) => entry.blob().then((blob) => blob.size, (error) => error.message);
  const series = async (one) => ({ uid: one.uid, sizes: await all(one.entries, size) });
  const study = async (one) => ({ title: one.title, series: await all(one.series, series) });
  const patient = async ({ name, birth, ids, studies: own }) =>
    ({ name, birth, ids, studies: await all(own, study) });
  return { left: found.left, missing: found.missing, patients: await all(found.patients, patient) };
}"""


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    opened = browser.new_page()

    def answer(route: Any) -> None:
        path = route.request.url.partition("/static/")[2]
        if path:
            route.fulfill(path=STATIC / path, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><input type=file multiple>", content_type="text/html")

    opened.route("http://portail.test/**", answer)
    opened.goto("http://portail.test/")
    yield opened
    opened.close()


def read(page: Page, *files: Path) -> Any:
    """A folder (one path) or files, as the page reads them."""
    if len(files) == 1 and files[0].is_dir():
        page.evaluate("document.querySelector('input').webkitdirectory = true")
    page.locator("input").set_input_files(files[0] if len(files) == 1 else list(files))
    return page.evaluate(READ)


def disc(folder: Path, patients: int = 1, series: int = 2, images: int = 3) -> Path:
    """A CD with a DICOMDIR, as PS3.10 has it."""
    files = FileSet()
    for patient in range(patients):
        for one in range(series):
            for image in range(images):
                files.add(numbered(patient, one, image))
    folder.mkdir()
    files.write(folder)
    files._stage["t"].cleanup()
    return folder


def numbered(patient: int, series: int, image: int, **more: Any) -> Dataset:
    place = f"2.25.{patient + 1}"
    made = making.dataset(
        StudyInstanceUID=place, SeriesInstanceUID=f"{place}.{series}",
        SOPInstanceUID=f"{place}.{series}.{image}",
        StudyID="1", SeriesNumber=series + 1, InstanceNumber=image + 1, PatientID=f"P{patient}",
        PatientName=f"NOM{patient}^Zoé", **more,
    )  # fmt: skip
    made.file_meta = Dataset()
    meta = making.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = making.SYNTAX
    made.file_meta = meta
    return made


def counts(found: Any) -> list[tuple[str, list[list[int]]]]:
    """Patient → images of each series of each study."""
    return sorted(
        (one["name"], [[len(series["sizes"]) for series in study["series"]] for study in one["studies"]])
        for one in found["patients"]
    )


def test_a_directory_that_tells_the_truth(page: Page, tmp_path: Path) -> None:
    """PS3.3 §F: what it names is not opened file by file; the identity is the images' own."""
    cd = disc(tmp_path / "cd", patients=2)
    (cd / "AUTORUN.INF").write_text("[autorun]" * 50)
    found = read(page, cd)
    assert counts(found) == [("NOM0^Zoé", [[3, 3]]), ("NOM1^Zoé", [[3, 3]])]
    assert found["patients"][0]["birth"] == "19530517"
    assert found["patients"][0]["ids"][0]["issuer"] == "ch-auch"
    assert found["left"] == [{"name": "cd/AUTORUN.INF", "why": "n'est pas une image DICOM"}]
    assert found["missing"] == 0


@pytest.mark.peer("dcmtk")
def test_a_directory_written_by_dcmtk(page: Page, tmp_path: Path) -> None:
    """Another program's DICOMDIR: its own order of records, its own lengths."""
    cd = tmp_path / "cd"
    for series in range(2):
        for image in range(3):
            path = cd / f"S{series}" / f"IM{image}"
            path.parent.mkdir(parents=True, exist_ok=True)
            making.write(path, numbered(0, series, image))
    options = ["--input-directory", str(cd), "+r", "-W", "--invent", "-Nxc", "+D", str(cd / "DICOMDIR")]
    subprocess.run(["/usr/bin/dcmmkdir", *options], check=True, capture_output=True)
    found = read(page, cd)
    assert counts(found) == [("NOM0^Zoé", [[3, 3]])]
    assert (found["left"], found["missing"]) == ([], 0)


def test_files_that_the_directory_lacks_or_that_are_missing(page: Page, tmp_path: Path) -> None:
    cd = disc(tmp_path / "cd")
    images = sorted(path for path in cd.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    images[0].unlink()
    making.write(cd / "extra", numbered(0, 5, 0))
    found = read(page, cd)
    assert counts(found) == [("NOM0^Zoé", [[2, 3, 1]])]
    assert found["missing"] == 1


def lie_other_patient(cd: Path) -> None:
    """The directory's files are other persons' than it says."""
    for path in cd.rglob("*"):
        if path.is_file() and path.name != "DICOMDIR":
            uid = f"2.25.9{sum(str(path).encode())}{ord(path.name[-1])}"
            making.write(path, making.dataset(PatientID="X", PatientName="AUTRE^Nom", SOPInstanceUID=uid))


def lie_offsets(cd: Path, change: Any) -> None:
    """Every offset to a next or lower record, changed."""
    data = bytearray((cd / "DICOMDIR").read_bytes())
    for tag in (b"\x04\x00\x00\x14UL\x04\x00", b"\x04\x00\x20\x14UL\x04\x00"):
        at = data.find(tag)
        while at >= 0:
            (value,) = struct.unpack_from("<L", data, at + 8)
            struct.pack_into("<L", data, at + 8, change(value))
            at = data.find(tag, at + 1)
    (cd / "DICOMDIR").write_bytes(data)


def first_offset(cd: Path) -> int:
    data = (cd / "DICOMDIR").read_bytes()
    at = data.index(b"\x04\x00\x00\x12UL\x04\x00")
    return int.from_bytes(data[at + 8 : at + 12], "little")


def cut(cd: Path, keep: float) -> None:
    data = (cd / "DICOMDIR").read_bytes()
    (cd / "DICOMDIR").write_bytes(data[: int(len(data) * keep)])


LIES: dict[str, Callable[[Path], object]] = {
    "cut": lambda cd: cut(cd, 0.6),
    "empty": lambda cd: cut(cd, 0),
    "text": lambda cd: (cd / "DICOMDIR").write_text("DICOM" * 100),
    "another file": lambda cd: making.write(cd / "DICOMDIR", numbered(0, 9, 0)),
    "offsets nowhere": lambda cd: lie_offsets(cd, lambda value: value and value + 2),
    "offsets beyond": lambda cd: lie_offsets(cd, lambda value: value and 0xFFFFFF00),
    "offsets in a circle": lambda cd: lie_offsets(cd, lambda _value: first_offset(cd)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_directory_that_lies_gives_way_to_the_files(page: Page, tmp_path: Path, lie: str) -> None:
    cd = disc(tmp_path / "cd")
    LIES[lie](cd)
    found = read(page, cd)
    expected = [[3, 3, 1]] if lie == "another file" else [[3, 3]]
    assert counts(found)[0][1][0][:2] == expected[0][:2]
    assert any(one["name"] == "cd/DICOMDIR" for one in found["left"])


def test_a_directory_of_another_patient_gives_way_to_the_files(page: Page, tmp_path: Path) -> None:
    cd = disc(tmp_path / "cd")
    lie_other_patient(cd)
    assert [one["name"] for one in read(page, cd)["patients"]] == ["AUTRE^Nom"]


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_heads_in_every_encoding(page: Page, tmp_path: Path, syntax: str) -> None:
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "153053299010337", "1.2.250.1.213.1.4.8"
    deep = Dataset()
    deep.ReferencedStudySequence = [Dataset()]
    made = numbered(0, 0, 0, SpecificCharacterSet="ISO_IR 100", OtherPatientIDsSequence=[other])
    made.ReferencedPatientSequence = [deep]
    for sequence in (made["ReferencedPatientSequence"], made["OtherPatientIDsSequence"]):
        sequence.is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "one.dcm"
    dcmwrite(path, made, enforce_file_format=True)
    (patient,) = read(page, path)["patients"]
    assert (patient["name"], patient["ids"][1]["value"]) == ("NOM0^Zoé", "153053299010337")
    assert patient["studies"][0]["title"] == "Crâne"


def test_trees_too_deep_and_lengths_that_lie_are_no_images(page: Page, tmp_path: Path) -> None:
    good = making.write(tmp_path / "good.dcm", numbered(0, 0, 0)).read_bytes()
    at = good.index(b"\x08\x00\x16\x00UI")
    deep = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    (tmp_path / "deep.dcm").write_bytes(good[:at] + deep)
    (tmp_path / "long.dcm").write_bytes(good[:at] + b"\x08\x00\x10\x11OB\0\0\xfe\xff\xff\xff" + bytes(9999))
    (tmp_path / "head.dcm").write_bytes(good[:132])
    found = read(page, *(tmp_path / f"{name}.dcm" for name in ("good", "deep", "long", "head")))
    assert counts(found) == [("NOM0^Zoé", [[1]])]
    assert sorted(one["name"] for one in found["left"]) == ["deep.dcm", "head.dcm", "long.dcm"]


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_an_archive_with_a_directory_in_it(page: Page, tmp_path: Path) -> None:
    cd = disc(tmp_path / "cd")
    members = {str(path.relative_to(cd)): path.read_bytes() for path in cd.rglob("*") if path.is_file()}
    found = read(page, archive(tmp_path / "cd.zip", members))
    assert counts(found) == [("NOM0^Zoé", [[3, 3]])]
    sizes = found["patients"][0]["studies"][0]["series"][0]["sizes"]
    assert all(isinstance(one, int) and one > 500 for one in sizes)
    assert found["left"] == []


def test_names_that_climb_nested_archives_and_locked_files_are_named(page: Page, tmp_path: Path) -> None:
    image = making.write(tmp_path / "one", numbered(0, 0, 0)).read_bytes()
    inner = archive(tmp_path / "inner.zip", {"x": image}).read_bytes()
    path = archive(
        tmp_path / "a.zip",
        {"ok": image, "../up": image, "a/../../up": image, "/root": image, "in/deep.ZIP": inner},
    )
    data = bytearray(path.read_bytes())
    locked = archive(tmp_path / "locked.zip", {"secret": image})
    sealed = bytearray(locked.read_bytes())
    sealed[sealed.index(b"PK\1\2") + 8] |= 1
    locked.write_bytes(sealed)
    path.write_bytes(data)
    found = read(page, path, locked)
    assert counts(found) == [("NOM0^Zoé", [[1]])]
    why = {one["name"].partition("/")[2]: one["why"] for one in found["left"]}
    assert {name: why[name] for name in ("../up", "a/../../up", "/root")} == dict.fromkeys(
        ("../up", "a/../../up", "/root"), "chemin interdit"
    )
    assert "archive dans l'archive" in why["in/deep.ZIP"]
    assert "mot de passe" in why["secret"]


def test_archives_that_would_never_end(page: Page, tmp_path: Path) -> None:
    """Sizes that lie, entries over one another, a directory that is none: refused, or named when read."""
    image = making.write(tmp_path / "one", numbered(0, 0, 0)).read_bytes() + bytes(3_000_000)
    whole = archive(tmp_path / "whole.zip", {"a": image, "b": image}).read_bytes()
    entries = [at for at in range(len(whole)) if whole[at : at + 4] == b"PK\1\2"]

    def changed(name: str, *changes: tuple[int, str, int]) -> Path:
        data = bytearray(whole)
        for at, form, value in changes:
            struct.pack_into(form, data, at, value)
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    over = changed("over.zip", (entries[1] + 42, "<L", 0))
    small = changed("small.zip", (entries[0] + 24, "<L", 1000))
    vast = changed("vast.zip", (entries[0] + 24, "<L", 0xFFFFFFF0))
    altered = changed("altered.zip", (entries[0] + 16, "<L", 1))
    short = tmp_path / "short.zip"
    short.write_bytes(whole[:500])
    found = read(page, over, small, vast, altered, short)
    left = {one["name"]: one["why"] for one in found["left"]}
    assert left["over.zip"] == left["short.zip"] == "archive illisible"
    assert left["vast.zip/a"] == "taille annoncée impossible"
    series = [one for patient in found["patients"] for study in patient["studies"] for one in study["series"]]
    sizes = [size for one in series for size in one["sizes"]]
    assert sorted(map(str, sizes)) == sorted([str(len(image))] * 3 + ["zip"] * 1)
    assert left["small.zip/a"] == "n'est pas une image DICOM"


def test_an_archive_of_64_bits(page: Page, tmp_path: Path) -> None:
    """APPNOTE §4.5.3: sizes in the extra field."""
    image = making.write(tmp_path / "one", numbered(0, 0, 0)).read_bytes()
    made = io.BytesIO()
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as file,
        file.open("one", "w", force_zip64=True) as out,
    ):
        out.write(image)
    (tmp_path / "big.zip").write_bytes(made.getvalue())
    assert counts(read(page, tmp_path / "big.zip")) == [("NOM0^Zoé", [[1]])]
