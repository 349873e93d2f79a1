"""What people put into a télédossier: files of their computer, exams that are here, photos and documents."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.worker import Worker
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_transfer_routes import audience, person, region
from tests.dicomweb.test_worker import clock, fhir, image, put, request, worker

__all__ = ["clock", "fhir", "region", "worker"]  # fixtures
INS = "urn:oid:1.2.250.1.213.1.4.11"


@pytest.fixture
async def opened(region: Fhir) -> Fhir:
    await request(region, "r1", extension=audience("Organization/com-auch"))
    return region


def multipart(*paths: Path) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n" for path in paths
    )
    return parts + b"--b--\r\n", {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


async def test_files_of_this_computer_join_the_file(
    opened: Fhir, client: Client, images: Images, worker: Worker, tmp_path: Path
) -> None:
    client.access = person("p08")
    body, headers = multipart(*making.files(tmp_path / "cd", 3))
    for _ in range(2):  # sent again after a cut: the same answer, nothing twice
        answer = await client.post("/requests/r1/studies", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["00081199"]["Value"]) == 3
    assert len(list(images.index.files(making.STUDY))) == 3
    assert images.queue.open_wishes() == [(making.STUDY, "r1")]
    await worker.write_up(images.index.due(10**18, 0)[0])
    assert await worker.attaching.attach_wanted(making.STUDY, "r1")
    study = await opened.read("ImagingStudy", making.STUDY)
    assert study["basedOn"] == [{"reference": "ServiceRequest/r1"}]


async def test_who_does_not_see_the_file_adds_nothing(
    opened: Fhir, client: Client, images: Images, tmp_path: Path
) -> None:
    client.access = person("p20")
    body, headers = multipart(*making.files(tmp_path / "cd", 1))
    answers = [
        await client.post("/requests/r1/studies", content=body, headers=headers),
        await client.post("/requests/absent/studies", content=body, headers=headers),
        await client.post("/requests/r1/exams", json={"study": making.STUDY}),
        await client.post("/requests/r1/created", data={"description": "x"}, files={"file": b"%PDF-1"}),
    ]
    assert [one.status_code for one in answers] == [404] * 4
    assert answers[0].json() == answers[1].json()
    assert list(images.index.files(making.STUDY)) == []
    assert list(images.files.spool.iterdir()) == []
    assert images.queue.open_wishes() == []


async def test_a_closed_file_takes_nothing(
    opened: Fhir, client: Client, images: Images, tmp_path: Path
) -> None:
    await request(opened, "r1", status="completed", extension=audience("Organization/com-auch"))
    client.access = person("p08")
    body, headers = multipart(*making.files(tmp_path / "cd", 1))
    answer = await client.post("/requests/r1/studies", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "request-closed")
    assert list(images.index.files(making.STUDY)) == []


async def test_an_exam_of_the_platform_is_added_by_who_sees_it(
    opened: Fhir, client: Client, images: Images, worker: Worker, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """R087, R088: what one does not see is not there."""
    await request(opened, "r0", accession="ACC-1", extension=audience("Organization/com-auch"))
    await request(opened, "r2", extension=audience("Organization/com-toulouse"))
    take(image(tmp_path))
    await worker.write_up(images.index.due(10**18, 0)[0])
    client.access = person("p20")
    answer = await client.post("/requests/r2/exams", json={"study": making.STUDY})
    assert answer.status_code == 404
    client.access = person("p08")
    for wrong in ("{", "[]", '{"study": "x"}'):
        assert (await client.post("/requests/r1/exams", content=wrong)).status_code in (400, 404), wrong
    assert (await client.post("/requests/r1/exams", json={"study": making.STUDY})).status_code == 202
    assert await worker.attaching.attach_wanted(making.STUDY, "r1")
    based_on = (await opened.read("ImagingStudy", making.STUDY))["basedOn"]
    assert based_on == [{"reference": "ServiceRequest/r0"}, {"reference": "ServiceRequest/r1"}]


def picture(format: str, size: tuple[int, int] = (40, 30), **more: Any) -> bytes:
    made = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(made, format, **more)
    return made.getvalue()


async def created(client: Client, *files: bytes) -> Any:
    sent = [("file", (f"photo{n}", data)) for n, data in enumerate(files)]
    return await client.post(
        "/requests/r1/created", data={"description": "Plaie", "series": "Bras"}, files=sent
    )


async def test_photos_and_documents_become_an_exam_with_the_patients_identity(
    opened: Fhir, client: Client, images: Images, worker: Worker, tmp_path: Path
) -> None:
    """R047, R090."""
    number = [{"system": INS, "value": "153053299010337"}]
    await put(opened, "Patient", "pat03", identifier=number, birthDate="1953-05-17", gender="male",
              name=[{"family": "LABORDE", "given": ["Henri", "Paul"]}])  # fmt: skip
    client.access = person("p08")
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    exif[0x8825] = {1: "N", 2: (43.6, 0, 0)}
    plain = Image.Exif()
    plain[0x010F] = "a camera of Dr X"
    jpeg = picture("JPEG", exif=plain)
    answer = await created(client, jpeg, picture("PNG"), picture("JPEG", exif=exif), b"%PDF-1.7 \n%%EOF")
    assert answer.status_code == 201, answer.text
    study = answer.json()["study"]
    assert answer.json()["instances"] == 4
    files = [images.files.path(file.path) for file in images.index.files(study)]
    datasets = [dcmread(path) for path in files]
    assert {
        (str(one.PatientName), one.PatientID, one.IssuerOfPatientID, one.PatientBirthDate, one.PatientSex)
        for one in datasets
    } == {("LABORDE^Henri Paul", "153053299010337", INS.removeprefix("urn:oid:"), "19530517", "M")}
    assert {(one.StudyDescription, one.SeriesDescription) for one in datasets} == {("Plaie", "Bras")}
    first, second, turned, document = datasets
    assert first.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert b"camera" not in files[0].read_bytes()
    assert b"Exif" not in files[2].read_bytes()
    shapes = [one.pixel_array.shape for one in (first, second, turned)]
    assert shapes == [(30, 40, 3), (30, 40, 3), (40, 30, 3)]
    assert document.EncapsulatedDocument.startswith(b"%PDF-1.7")
    await worker.write_up(images.index.due(10**18, 0)[0])
    assert await worker.attaching.attach_wanted(study, "r1")
    assert (await opened.read("ImagingStudy", study))["basedOn"] == [{"reference": "ServiceRequest/r1"}]


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([b"MZ a program"], 415),
        ([picture("JPEG")[:200]], 415),
        ([picture("PNG"), b"GIF89a"], 415),
        ([], 400),
    ],
)
async def test_what_is_no_photo_makes_no_exam(
    files: list[bytes], status: int, opened: Fhir, client: Client, images: Images
) -> None:
    client.access = person("p08")
    if files:
        answer = await created(client, *files)
    else:
        answer = await client.post("/requests/r1/created", data={"description": "x"})
    assert answer.status_code == status
    assert list(images.files.spool.iterdir()) == []
    assert images.queue.open_wishes() == []


@pytest.mark.parametrize("field", ["description", "series"])
@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Plaie\u00a0: bras l\u2019\u0153il", 201), ("a\\b", 400), ("a\0", 400), ("a\x07b", 400),
        ("a\r\nb", 400), ("\u202egpj", 400), ("x" * 65, 400), ("x" * 3000, 400),
    ],
)  # fmt: skip
async def test_titles_are_lines(
    field: str, text: str, status: int, opened: Fhir, client: Client, images: Images
) -> None:
    """No control characters in what is written into the images, and none that turn the text around."""
    client.access = person("p08")
    data = {"description": "x", field: text}
    answer = await client.post("/requests/r1/created", data=data, files={"file": b"%PDF-1.7 x"})
    assert answer.status_code == status, answer.text
    assert list(images.files.spool.iterdir()) == []
