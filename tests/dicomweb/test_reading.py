"""Reports, documents and waveforms as people read them; what they carry never acts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from dicomweb import reports
from dicomweb.dataset import to_json
from dicomweb.index.contract import Outcome
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]
ONE = f"/studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.1"


def coded(code: Any) -> list[Dataset]:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return [made]


def item(kind: str, name: Any = None, *content: Dataset, **more: Any) -> Dataset:
    made = Dataset()
    made.ValueType, made.RelationshipType = kind, "CONTAINS"
    if name is not None:
        made.ConceptNameCodeSequence = coded(name)
    for keyword, value in more.items():
        setattr(made, keyword, value)
    if content:
        made.ContentSequence = list(content)
    return made


def measured(value: str, unit: Any) -> list[Dataset]:
    made = Dataset()
    made.NumericValue, made.MeasurementUnitsCodeSequence = value, coded(unit)
    return [made]


def report(*content: Dataset, **more: Any) -> Dataset:
    return making.dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", PixelData=None, Modality="SR", ValueType="CONTAINER",
        ConceptNameCodeSequence=coded(codes.LN.DiagnosticImagingReport), ContentSequence=list(content),
        CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED", **more,
    )  # fmt: skip


def test_a_tree_in_french_with_measurements_and_codes() -> None:
    """PS3.3 §C.17.3; TID 2000, TID 1501"""
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, "2.25.77"
    image.ReferencedFrameNumber = [2, 3]
    long = measured("12.5", codes.UCUM.Millimeter)
    site = item("CODE", codes.SCT.FindingSite, ConceptCodeSequence=coded(codes.SCT.Lung))
    made = report(
        item("CONTAINER", codes.DCM.Findings,
            item("TEXT", codes.DCM.Finding, TextValue="Nodule du lobe\nsupérieur droit"),
            item("NUM", codes.SCT.Length, site, MeasuredValueSequence=long),
            item("NUM", codes.DCM.Distance, MeasuredValueSequence=measured("3", codes.UCUM.NoUnits)),
            item("IMAGE", ReferencedSOPSequence=[image])),
        item("DATE", codes.DCM.SubjectBirthDate, Date="19530517"),
        item("PNAME", codes.DCM.PersonObserverName, PersonName="BENALI^Nadia"),
    )  # fmt: skip
    text = reports.as_text(to_json(made))
    assert text.splitlines() == [
        "Compte rendu d'imagerie",
        "  Constatations",
        "    Constatation : Nodule du lobe supérieur droit",
        "    Length : 12,5 mm",
        "      Finding Site : Lung",
        "    Distance : 3",
        "    Image 2, 3",
        "  Date de naissance du sujet : 17/05/1953",
        "  Observateur : BENALI Nadia",
    ]
    page = reports.as_html(to_json(made))
    assert "<h2>Constatations</h2>" in page
    assert "<code>SCT 39607008</code>" in page
    assert "LABORDE Henri · né(e) le 17/05/1953 · 08/08/2024 · complet · non vérifié" in page
    assert "<script" not in page


def test_a_tree_too_deep_or_too_long_ends() -> None:
    deep = item("TEXT", TextValue="fin")
    for _ in range(200):
        deep = item("CONTAINER", codes.DCM.Findings, deep)
    assert len(reports.lines(to_json(report(deep)))) == 1 + reports.MAX_DEPTH
    long = report(*(item("TEXT", TextValue=str(n)) for n in range(300)))
    attributes = to_json(long)
    attributes["0040A730"]["Value"] *= 100
    assert len(reports.lines(attributes)) == reports.MAX_ITEMS + 1


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def test_no_text_of_a_report_is_markup() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "<b>", "<i>", HOSTILE
    bad = item("CODE", None, ConceptCodeSequence=[code], ConceptNameCodeSequence=[code])
    page = reports.as_html(to_json(report(bad, item("TEXT", TextValue=HOSTILE), PatientName=HOSTILE)))
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 3


@pytest.mark.parametrize(
    ("media", "policy", "download"),
    [
        ("application/pdf", "frame-ancestors 'self'", False),
        ("text/xml", "sandbox", True),
        ("text/plain", "sandbox", False),
    ],
)
async def test_documents_do_not_act(
    client: Client, take: Take, tmp_path: Path, media: str, policy: str, download: bool
) -> None:
    """XML can carry scripts: it is a download, in an origin of its own."""
    content = b"%PDF-1.4 <script xmlns='http://www.w3.org/1999/xhtml'>alert(1)</script>" + bytes(5_000_000)
    made = making.dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.2", PixelData=None, Rows=None, Columns=None,
        MIMETypeOfEncapsulatedDocument=media, EncapsulatedDocument=content + b"\0" * (len(content) % 2),
    )  # fmt: skip
    take(making.write(tmp_path / "d.dcm", made))
    shown = await client.get(f"{ONE}/rendered", headers={"Accept": media})
    assert shown.headers["content-type"].partition(";")[0] == media
    assert policy in shown.headers["content-security-policy"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert ("attachment" in shown.headers.get("content-disposition", "")) is download
    part = await client.get(f"{ONE}/rendered", headers={"Accept": media, "Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"%PDF-1.4")


async def test_an_electrocardiogram_is_drawn(client: Client, take: Take, tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("waveform_ecg.dcm")))
    made = dcmread(path)
    take(path)
    address = (
        f"/studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
    )
    shown = await client.get(f"{address}/rendered", headers={"Accept": "image/svg+xml"})
    assert shown.status_code == 200, shown.text
    assert shown.text.count("<polyline") == 12
    for lead in ("I", "aVR", "V6"):
        assert f">{lead}</text>" in shown.text
    assert "sandbox" in shown.headers["content-security-policy"]
    group = made.WaveformSequence[0]
    group.ChannelDefinitionSequence[0].ChannelSourceSequence[0].CodeMeaning = "<script>x"
    changes: tuple[dict[str, Any], ...] = ({"SamplingFrequency": "0"}, {"WaveformBitsAllocated": 24}, {})
    for number, change in enumerate(changes):
        for keyword, value in change.items():
            setattr(group, keyword, value)
        made.SOPInstanceUID = f"2.25.4{number}"
        take(making.write(tmp_path / f"{number}.dcm", made, made.file_meta.TransferSyntaxUID))
        again = await client.get(f"{address.rpartition('/')[0]}/2.25.4{number}/rendered")
        assert again.status_code == 406
        assert "<script" not in again.text
