"""Every instance that pydicom has in its wheel, in and out by every client that sites use.

In: C-STORE (pynetdicom, DCMTK's dcmsend), STOW-RS (dicomweb-client, Orthanc). Out: WADO-RS (dicomweb-client,
Orthanc), C-GET (getscu), C-MOVE (movescu). The tables below name each file that is an exception, and why.
"""

from __future__ import annotations

import signal
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pydicom.data
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import FileDataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID
from pynetdicom import AE

from dicomweb import codecs
from dicomweb.syntaxes import EXPLICIT_LITTLE
from tests.dicomweb.node import Node, caller
from tests.dicomweb.pacs import orthanc
from tests.dicomweb.serving import Served, serving
from tests.processes import unused_port

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]  # fmt: skip

NOT_INSTANCES = {
    "DICOMDIR": "a directory, no instance", "meta_missing_tsyntax.dcm": "no transfer syntax",
    "SC_rgb_jpeg.dcm": "implicit elements in an explicit file: pydicom cannot write it",
}  # fmt: skip
"""Part 10 files that are no instance, or that cannot be given UIDs of their own."""


ODD = {
    "nested_priv_SQ.dcm": "a value of 3 bytes", "rtplan_truncated.dcm": "a value that was cut",
}  # fmt: skip
"""Values of odd length, against PS3.5 §7.1.1: DCMTK ends the association. They have a study of their own."""
NOT_BY_DCMSEND = dict.fromkeys(
    ("rtdose_expb", "rtdose_expb_1frame"), "32-bit samples in big endian: DCMTK swaps 16-bit words"
)
NOT_BY_DCMTK = dict.fromkeys(
    ("fall", "hotiron", "hotmetalblue", "pet", "pet20step", "spring", "summer", "winter"),
    "getscu and movescu take no Color Palette Storage",
)
NOT_BY_GETSCU = {
    **NOT_BY_DCMTK,
    "waveform_ecg": "getscu proposes no waveform storage",
    "JPEG2000-embedded-sequence-delimiter": "getscu takes it uncompressed alone, and nobody can decode it",
}


@dataclass(frozen=True)
class Sent:
    """One instance as it is sent; `pixels` None: it has none, or nobody can decode them."""

    name: str
    path: Path
    study: str
    series: str
    uid: str
    syntax: str
    pixels: Any

    def read(self) -> FileDataset:
        return pydicom.dcmread(self.path)


def _pixels(path: Path) -> Any:
    try:
        return np.asarray(pixel_array(pydicom.dcmread(path), raw=True))
    except Exception:
        return None


def _is_part_10(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def bundle(folder: Path, study: str) -> list[Sent]:
    """Every bundled instance under UIDs of its own, in one study."""
    codecs.register()
    folder.mkdir()
    found = []
    root = Path(pydicom.data.__file__).parent
    for path in sorted(one for one in root.rglob("*") if one.is_file() and _is_part_10(one)):
        name = str(path.relative_to(root))
        if path.name.partition("-")[0] in NOT_INSTANCES:
            continue
        number = len(found) + 1
        made = pydicom.dcmread(path)
        made.StudyInstanceUID = f"{study}.0" if path.name in ODD else study
        made.SeriesInstanceUID = f"{study}.{number}"
        made.SOPInstanceUID = f"{study}.{number}.1"
        made.setdefault("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
        target = folder / f"{number}.dcm"
        made.save_as(target, enforce_file_format=True)
        syntax = str(made.file_meta.TransferSyntaxUID)
        found.append(
            Sent(
                name,
                target,
                str(made.StudyInstanceUID),
                str(made.SeriesInstanceUID),
                str(made.SOPInstanceUID),
                syntax,
                _pixels(target),
            )
        )
    return found


@dataclass
class World:
    """A DICOM node and a web tier on the same files."""

    node: Node
    served: Served
    client: DICOMwebClient
    port: int  # where SEES receives

    def stored(self, study: str) -> dict[str, str]:
        """SOP Instance UID → transfer syntax of what a study has, and that of the odd ones."""
        index = self.node.index()
        files = [*index.files(study, None, None), *index.files(f"{study}.0", None, None)]
        found = {file.uid: file.transfer_syntax for file in files}
        index.close()
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, receiver = tmp_path_factory.mktemp("world"), unused_port()
    node = Node(folder / "node", unused_port(), caller("SEES", f"127.0.0.1:{receiver}"))
    node.start()
    with serving(folder, STORE=node.settings.store, FILES=node.settings.files) as served:
        client = DICOMwebClient(served.base)
        yield World(node, served, client, receiver)
        client._session.close()
    node.stop(signal.SIGKILL)


def _differences(sent: list[Sent], got: dict[str, FileDataset]) -> list[tuple[str, str]]:
    """What is missing, and whose pixels are not those that were sent."""
    wrong = []
    for one in sent:
        found = got.get(one.uid)
        if found is None:
            wrong.append((one.name, "missing"))
        elif one.pixels is not None:
            try:
                pixels = np.asarray(pixel_array(found, raw=True))
            except Exception as error:
                wrong.append((one.name, f"{found.file_meta.TransferSyntaxUID} {error}"))
                continue
            if not np.array_equal(pixels, one.pixels):
                wrong.append((one.name, f"{found.file_meta.TransferSyntaxUID} pixels"))
    return wrong


def _folder(path: Path) -> dict[str, FileDataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {str((made := pydicom.dcmread(one)).SOPInstanceUID): made for one in path.iterdir()}


@pytest.fixture(scope="module")
def by_store(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[Sent]:
    """All of it, sent by pynetdicom."""
    sent = bundle(tmp_path_factory.mktemp("c-store") / "in", "2.25.71")
    contexts = sorted({(str(one.read().SOPClassUID), one.syntax) for one in sent})
    for start in range(0, len(contexts), 120):
        now = contexts[start : start + 120]
        peer = AE("SEES")
        for sop_class, syntax in now:
            peer.add_requested_context(sop_class, syntax)
        association = peer.associate("127.0.0.1", world.node.port, ae_title="TELEDOSSIER")
        assert association.is_established
        for one in sent:
            made = one.read()
            if (str(made.SOPClassUID), one.syntax) in now:
                assert association.send_c_store(made).Status == 0, one.name
        association.release()
    return sent


def test_the_bundle_is_what_it_is_taken_for(by_store: list[Sent]) -> None:
    """An empty list would pass everything below."""
    syntaxes = {one.syntax for one in by_store}
    assert (len(by_store) > 150, len(syntaxes)) == (True, 12), (len(by_store), syntaxes)
    assert sum(one.pixels is not None for one in by_store) > 70


def test_c_store_keeps_each_as_it_came(world: World, by_store: list[Sent]) -> None:
    assert world.stored("2.25.71") == {one.uid: one.syntax for one in by_store}
    index = world.node.index()
    wrong = []
    for one in by_store:
        file = index.file(one.uid)
        assert file is not None
        if pydicom.dcmread(world.node.files.path(file.path)) != one.read():
            wrong.append(one.name)
    index.close()
    assert wrong == []


@pytest.mark.peer("dcmtk")
def test_dcmsend(world: World, tmp_path: Path) -> None:
    sent = bundle(tmp_path / "in", "2.25.72")
    subprocess.run(
        ["/usr/bin/dcmsend", "-aec", "TELEDOSSIER", "-nuc", "-nh", "-dn", "+ma", "127.0.0.1",
         str(world.node.port), *(str(one.path) for one in sent)], timeout=120, capture_output=True,
    )  # fmt: skip
    index, got = world.node.index(), {}
    for uid in world.stored("2.25.72"):
        file = index.file(uid)
        assert file is not None
        got[uid] = pydicom.dcmread(world.node.files.path(file.path))
    index.close()
    whole = _but(sent, NOT_BY_DCMSEND)
    wrong = _differences(whole, got)
    for one in whole:  # what is uncompressed it sends as explicit little endian
        kept = UID(one.syntax).is_compressed or UID(one.syntax).is_deflated
        expected = one.syntax if kept else EXPLICIT_LITTLE
        if one.uid in got and got[one.uid].file_meta.TransferSyntaxUID != expected:
            wrong.append((one.name, str(got[one.uid].file_meta.TransferSyntaxUID)))
    assert not wrong, wrong


@pytest.fixture(scope="module")
def by_stow(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[Sent]:
    """All of it, sent by dicomweb-client."""
    sent = bundle(tmp_path_factory.mktemp("stow") / "in", "2.25.73")
    answer = world.client.store_instances([one.read() for one in sent])
    assert "FailedSOPSequence" not in answer, answer
    assert len(answer.ReferencedSOPSequence) == len(sent)
    return sent


def test_stow_and_wado(world: World, by_stow: list[Sent]) -> None:
    """As stored: the same dataset; without a wish: the same pixels; frames, metadata and pictures."""
    assert world.stored("2.25.73") == {one.uid: one.syntax for one in by_stow}
    wrong: list[tuple[str, str]] = []
    plain: dict[str, FileDataset] = {}
    for one in by_stow:
        at = (one.study, one.series, one.uid)
        kept = world.client.retrieve_instance(*at, media_types=(("application/dicom", "*"),))
        if kept.file_meta.TransferSyntaxUID != one.syntax or kept != one.read():
            wrong.append((one.name, "not as it was stored"))
        plain[one.uid] = world.client.retrieve_instance(*at)
        told = world.client.retrieve_instance_metadata(*at)
        if told["00080018"]["Value"] != [one.uid]:
            wrong.append((one.name, "metadata"))
        if one.pixels is not None:
            wrong += _shown(world, one)
    wrong += _differences(by_stow, plain)
    assert not wrong, wrong


def _shown(world: World, one: Sent) -> list[tuple[str, str]]:
    at = (one.study, one.series, one.uid)
    frames = int(one.read().get("NumberOfFrames", 1) or 1)
    picture = world.client.retrieve_instance_rendered(*at, media_types=("image/png",))
    found = world.client.retrieve_instance_frames(*at, list(range(1, frames + 1)))
    wrong = [] if picture.startswith(b"\x89PNG") else [(one.name, "picture")]
    head = one.read()
    if head.BitsAllocated == 1 or head.PhotometricInterpretation == "YBR_FULL_422":
        return wrong  # packed bits and halved chroma are handed out as they are; test_wado compares them
    whole = np.frombuffer(b"".join(found), one.pixels.dtype.newbyteorder("<"))[: one.pixels.size]
    return (
        wrong
        if np.array_equal(whole.reshape(one.pixels.shape), one.pixels)
        else [*wrong, (one.name, "frames")]
    )


def _but(sent: list[Sent], exceptions: Mapping[str, str]) -> list[Sent]:
    """Those of the study, without the exceptions."""
    return [one for one in sent if not one.study.endswith(".0") and Path(one.name).stem not in exceptions]


def _asked(study: str) -> list[str]:
    return ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]


@pytest.mark.peer("dcmtk")
def test_getscu(world: World, by_store: list[Sent], tmp_path: Path) -> None:
    """getscu takes what is uncompressed alone."""
    out = tmp_path / "out"
    out.mkdir()
    call = ["-aet", "SEES", "-aec", "TELEDOSSIER", "127.0.0.1", str(world.node.port)]
    subprocess.run(["/usr/bin/getscu", "-S", "-od", str(out), *_asked("2.25.71"), *call], timeout=200)
    wrong = _differences(_but(by_store, NOT_BY_GETSCU), _folder(out))
    assert not wrong, wrong


@pytest.mark.peer("dcmtk")
def test_movescu(world: World, by_store: list[Sent], tmp_path: Path) -> None:
    """movescu receives itself, and takes each as it is stored."""
    out = tmp_path / "out"
    out.mkdir()
    call = ["-aet", "SEES", "-aem", "SEES", "-aec", "TELEDOSSIER", "+P", str(world.port), "+xa",
            "127.0.0.1", str(world.node.port)]  # fmt: skip
    subprocess.run(["/usr/bin/movescu", "-S", "-od", str(out), *_asked("2.25.71"), *call], timeout=200)
    wrong = _differences(_but(by_store, NOT_BY_DCMTK), _folder(out))
    assert not wrong, wrong


@pytest.mark.peer("orthanc")
def test_orthanc_sends_and_fetches(world: World, tmp_path: Path) -> None:
    """Orthanc as a DICOMweb client of ours: it stores all of it here, forgets it, and fetches it again."""
    sent = bundle(tmp_path / "in", "2.25.74")
    servers = {"us": [f"{world.served.base}/"]}
    web = {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Servers": servers}
    with (
        orthanc(tmp_path / "orthanc", unused_port(), unused_port(), DicomWeb=web) as pacs,
        httpx.Client(base_url=pacs.http, timeout=120) as client,
    ):
        taken = {one.uid: client.post("/instances", content=one.path.read_bytes()) for one in sent}
        ids = [answer.json()["ID"] for answer in taken.values() if answer.status_code == 200]
        here = [one for one in sent if taken[one.uid].status_code == 200]
        assert len(here) > 100
        client.post("/dicom-web/servers/us/stow", json={"Resources": ids}).raise_for_status()
        stored = world.stored("2.25.74")
        assert {one.name for one in here if stored.get(one.uid) != one.syntax} == set()
        for one in client.get("/studies").json():
            client.delete(f"/studies/{one}").raise_for_status()
        wanted = {"Resources": [{"Study": study} for study in ("2.25.74", "2.25.74.0")]}
        client.post("/dicom-web/servers/us/retrieve", json=wanted).raise_for_status()
        back = {}
        for one in client.get("/instances").json():
            content = client.get(f"/instances/{one}/file").content
            (tmp_path / "back.dcm").write_bytes(content)
            made = pydicom.dcmread(tmp_path / "back.dcm")
            back[str(made.SOPInstanceUID)] = made
        wrong = _differences(here, back)
        assert not wrong, wrong
