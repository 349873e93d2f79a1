"""Films: what an MP4 file says and what it may not, into DICOM and out again by ranges; files that lie."""

from __future__ import annotations

import asyncio
import io
import struct
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import generate_fragments

from dicomweb import films, mp4, remux
from dicomweb.coded import Bits, Unreadable
from dicomweb.dataset import read_header
from dicomweb.images import Images
from dicomweb.mp4 import NoFilm
from dicomweb.remux import NotRemuxed
from fhir_server.access import SYSTEM
from fhir_server.interactions.fhir import Fhir
from profiles.outcomes import UnsupportedMedia
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_adding import opened
from tests.dicomweb.test_transfer_routes import person, region
from tests.dicomweb.test_worker import clock, fhir, worker

__all__ = ["clock", "fhir", "opened", "region", "worker"]  # fixtures
FOLDER = Path(__file__).parent / "films"
AVC, HEVC, HEVC_10 = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"


@pytest.mark.parametrize(
    ("name", "codec", "profile", "level", "bits", "sound", "syntax"),
    [
        ("avc", "avc", 100, 40, 8, False, AVC),
        ("phone", "avc", 77, 31, 8, True, AVC),
        ("hevc", "hevc", 1, 10, 8, False, HEVC),
        ("hevc10", "hevc", 2, 10, 10, False, HEVC_10),
    ],
)
def test_what_a_film_is(
    name: str, codec: str, profile: int, level: int, bits: int, sound: bool, syntax: str
) -> None:
    """PS3.5 §8.2.7, §8.2.10, §8.2.11"""
    film = mp4.read(FOLDER / f"{name}.mp4")
    found = film.coded
    assert (film.codec, found.profile, found.level, found.bits) == (codec, profile, level, bits)
    assert (film.coded.width, film.coded.height, film.frames, film.seconds) == (64, 48, 10, 1.0)
    assert film.sound is sound
    assert films.syntax_of(film) == syntax


@pytest.mark.parametrize(
    ("name", "reason"), [("frag.mp4", "fragmented"), ("m4p2.mp4", "codec"), ("avc.ts", "container")]
)
def test_what_is_not_taken_is_named(name: str, reason: str) -> None:
    with pytest.raises(NoFilm) as raised:
        mp4.read(FOLDER / name)
    assert raised.value.reason == reason


def changed(data: bytes, kind: bytes, at: int, form: str, *values: int) -> bytes:
    """The box's content with other numbers at `at`."""
    place = data.rindex(kind) + 4 + at
    made = struct.pack(">" + form, *values)
    return data[:place] + made + data[place + len(made) :]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "a box longer than the file": lambda d: changed(d, b"moov", -8, "L", 2**31),
    "a box shorter than its head": lambda d: changed(d, b"trak", -8, "L", 4),
    "a size of 64 bits": lambda d: changed(changed(d, b"mdat", -8, "L", 1), b"mdat", 0, "Q", 2**62),
    "four thousand million pictures": lambda d: changed(d, b"stsz", 8, "L", 2**32 - 1),
    "the same, each of one byte": lambda d: changed(d, b"stsz", 4, "LL", 1, 2**32 - 1),
    "more times than pictures": lambda d: changed(d, b"stts", 8, "L", 2**32 - 1),
    "a table of times beyond its box": lambda d: changed(d, b"stts", 4, "L", 2**31),
    "chunks beyond the file": lambda d: changed(d, b"stco", 8, "L", 2**31),
    "more chunks than there is room": lambda d: changed(d, b"stco", 4, "L", 2**32 - 1),
    "no length": lambda d: changed(d, b"mdhd", 12, "L", 0),
    "another size than the pictures'": lambda d: changed(d, b"avc1", 24, "HH", 4096, 4096),
    "a parameter set beyond its box": lambda d: changed(d, b"avcC", 6, "H", 0xFFFF),
    "no parameter set": lambda d: changed(d, b"avcC", 5, "B", 0xE0),
    "pictures in another file": lambda d: changed(d, b"url ", 0, "L", 0),
    "two descriptions": lambda d: changed(d, b"stsd", 4, "L", 2),
    "cut": lambda d: d[:-200],
    "empty": lambda d: d[:40],
}


@pytest.mark.parametrize("lie", LIES)
def test_boxes_that_lie(lie: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(LIES[lie]((FOLDER / "avc.mp4").read_bytes()))
    with pytest.raises(NoFilm):
        mp4.read(path)


def test_many_empty_boxes_and_a_long_movie_box_end_early(tmp_path: Path) -> None:
    path, data = tmp_path / "film.mp4", (FOLDER / "avc.mp4").read_bytes()
    head = data[: data.index(b"moov") - 4]
    empty = struct.pack(">L4s", 8, b"free") * 30_000
    for kind, content in ((b"free", empty), (b"moov", empty), (b"moov", bytes(33_000_000))):
        path.write_bytes(head + struct.pack(">L4s", 8 + len(content), kind) + content)
        with pytest.raises(NoFilm):
            mp4.read(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_file_breaks_the_reader(data: st.DataObject) -> None:
    """Bytes changed anywhere: a film or a reason, nothing else."""
    name = data.draw(st.sampled_from(["avc.mp4", "hevc.mp4", "phone.mp4"]))
    content = bytearray((FOLDER / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = Path(f"/dev/shm/film-{id(data)}") if Path("/dev/shm").is_dir() else FOLDER / ".changed"
    path.write_bytes(content)
    try:
        film = mp4.read(path)
        assert sum(len(piece) for piece in films.blanked(path, film)) == len(content)
    except NoFilm:
        pass
    finally:
        path.unlink()


def test_numbers_of_a_parameter_set() -> None:
    """H.264 §9.1: ue(v), se(v)."""
    bits = Bits(bytes([0b1_010_011_0, 0b0100_0010, 0b1_0000000]))
    assert [bits.unsigned(), bits.unsigned(), bits.unsigned(), bits.unsigned()] == [0, 1, 2, 3]
    with pytest.raises(Unreadable):
        Bits(bytes(8)).unsigned()


async def sent(client: Client, name: str, **fields: str) -> Response:
    data = (FOLDER / name).read_bytes()
    return await client.post(
        "/requests/r1/created", data={"description": "Marche", **fields}, files=[("file", ("a.mp4", data))]
    )


async def test_a_film_becomes_an_instance_and_is_shown_again(
    opened: Fhir, client: Client, images: Images
) -> None:
    """PS3.3 §A.32.5; PS3.5 §A.4; PS3.18 §8.7.4"""
    client.access = person("p08")
    answer = await sent(client, "phone.mp4", **{"body-part": "LEG", "side": "L", "date": "2024-08-07"})
    assert answer.status_code == 201, answer.text
    (file,) = images.index.files(answer.json()["study"])
    path = images.files.path(file.path)
    made = dcmread(path)
    assert (made.SOPClassUID, file.transfer_syntax) == (films.VIDEO, AVC)
    assert (made.Rows, made.Columns, made.NumberOfFrames, made.CineRate) == (48, 64, 10, 10)
    assert float(made.FrameTime) == 100
    assert (made.PhotometricInterpretation, made.FrameIncrementPointer) == ("YBR_PARTIAL_420", 0x00181063)
    assert (made.BodyPartExamined, made.ImageLaterality, made.StudyDate) == ("LEG", "L", "20240807")
    assert "MultiplexedAudioChannelsDescriptionCodeSequence" in made
    given = (FOLDER / "phone.mp4").read_bytes()
    _offsets, fragment = generate_fragments(made.PixelData, endianness="<")
    assert len(fragment) == len(given) + len(given) % 2
    assert b"Phone of Dr X" in given
    assert b"Phone of Dr X" not in fragment
    start, end = given.index(b"mdat"), given.index(b"moov")
    assert fragment[start:end] == given[start:end]  # the pictures are as they were
    assert mp4.read(written(path.parent / "out.mp4", fragment)).frames == 10
    client.access = SYSTEM
    address = f"/studies/{file.study}/series/{file.series}/instances/{file.uid}/rendered"
    whole = await client.get(address, headers={"Accept": "video/mp4"})
    assert (whole.status_code, whole.headers["content-type"], whole.content) == (200, "video/mp4", fragment)
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, expected in (("bytes=100-199", fragment[100:200]), ("bytes=-10", fragment[-10:])):
        part = await client.get(address, headers={"Accept": "*/*", "Range": asked})
        assert (part.status_code, part.content) == (206, expected)
    assert (await client.get(address, headers={"Accept": "image/jpeg"})).status_code == 406
    several = await client.get(address, headers={"Accept": 'multipart/related; type="video/mp4"'})
    assert fragment in several.content
    uri = f"/wado?requestType=WADO&studyUID={file.study}&seriesUID={file.series}&objectUID={file.uid}"
    assert (await client.get(f"{uri}&contentType=video/mp4")).content == fragment
    assert (await client.get(address.replace("/rendered", "/frames/1"))).status_code == 404
    for place in ("/bulkdata/7FE00010", "/pixeldata"):
        assert fragment in (await client.get(address.replace("/rendered", place))).content
    for accept in ("application/dicom", "application/dicom; transfer-syntax=*", "*/*"):
        kept = await client.get(address.removesuffix("/rendered"), headers={"Accept": accept})
        assert path.read_bytes() in kept.content, accept


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def dumped(path: Path) -> str:
    command = ["/usr/bin/dcmdump", "+L", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.peer("dcmtk")
async def test_dcmtk_reads_the_film(opened: Fhir, client: Client, images: Images) -> None:
    client.access = person("p08")
    answer = await sent(client, "hevc10.mp4")
    (file,) = images.index.files(answer.json()["study"])
    path = images.files.path(file.path)
    told = await asyncio.to_thread(dumped, path)
    assert "(0002,0010) UI =HEVC" in told or HEVC_10 in told
    assert "=VideoPhotographicImageStorage" in told
    for wanted in ("(0028,0100) US 16", "(0028,0101) US 10", "(0028,0008) IS [10]", "(fffe,e0dd)"):
        assert wanted in told, wanted


async def test_the_place_where_it_was_filmed_goes(opened: Fhir, client: Client, images: Images) -> None:
    client.access = person("p08")
    assert b"earth" in (FOLDER / "place.mp4").read_bytes()
    answer = await sent(client, "place.mp4")
    (file,) = images.index.files(answer.json()["study"])
    content = images.files.path(file.path).read_bytes()
    assert b"earth" not in content
    assert b"loci" not in content


@pytest.mark.parametrize(
    ("name", "code"),
    [("frag.mp4", "film-fragmented"), ("m4p2.mp4", "film-codec"), ("avc.ts", "unsupported-media")],
)
async def test_a_film_that_is_not_taken_leaves_nothing(
    opened: Fhir, client: Client, images: Images, name: str, code: str
) -> None:
    client.access = person("p08")
    answer = await sent(client, name)
    assert (answer.status_code, answer.json()["code"]) == (415, code)
    assert list(images.files.spool.iterdir()) == []


def test_fragments_are_one_stream(tmp_path: Path, images: Images) -> None:
    """A film cut into fragments (PS3.5 §A.4.12) and one in a single fragment are found the same way."""
    source = FOLDER / "avc.mp4"
    film = mp4.read(source)
    for syntax, cuts in ((AVC, 1), (f"{AVC}.1", 3)):
        target = tmp_path / syntax
        make_stored(target, syntax, source, cuts)
        where = read_header(target).layout
        assert (where.kind, where.frames, len(where.ranges[0])) == ("stream", 0, cuts)
        data = target.read_bytes()
        stream = b"".join(data[offset : offset + length] for offset, length in where.ranges[0])
        assert stream.rstrip(b"\0") == source.read_bytes().rstrip(b"\0")
    assert film.frames == 10


def make_stored(target: Path, syntax: str, source: Path, cuts: int, **changes: Any) -> None:
    given: dict[str, Any] = {"SOPClassUID": films.VIDEO, "PixelData": None, "NumberOfFrames": 10}
    made = making.dataset(**given | changes)
    making.write(target, made, syntax)
    data = source.read_bytes() + b"\0" * (source.stat().st_size % 2)
    step = len(data) // cuts // 2 * 2
    pieces = [data[n * step : (n + 1) * step if n < cuts - 1 else len(data)] for n in range(cuts)]
    with target.open("ab") as out:
        out.write(struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF))
        out.write(struct.pack("<HHL", 0xFFFE, 0xE000, 0))
        for piece in pieces:
            out.write(struct.pack("<HHL", 0xFFFE, 0xE000, len(piece)) + piece)
        out.write(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))


async def test_a_transport_stream_is_shown_as_mp4(
    client: Client, images: Images, take: Callable[[Path], object], tmp_path: Path
) -> None:
    """What endoscopes store (PS3.5 §8.2.7): the same coded pictures in the container of a browser."""
    make_stored(tmp_path / "ts", AVC, FOLDER / "avc.ts", 1)
    take(tmp_path / "ts")
    (file,) = images.index.files(making.STUDY)
    address = f"/studies/{file.study}/series/{file.series}/instances/{file.uid}/rendered"
    whole = await client.get(address, headers={"Accept": "video/mp4"})
    assert whole.status_code == 200, whole.text
    found = mp4.read(written(tmp_path / "out.mp4", whole.content))
    assert (found.frames, found.seconds, found.coded.width, found.coded.height) == (10, 1.0, 64, 48)
    part = await client.get(address, headers={"Accept": "video/mp4", "Range": "bytes=50-99"})
    assert (part.status_code, part.content) == (206, whole.content[50:100])
    raw = await client.get(address, headers={"Accept": "video/mp2t"})
    assert raw.content == (FOLDER / "avc.ts").read_bytes()


def test_pictures_of_a_transport_stream_are_untouched(tmp_path: Path) -> None:
    """Each coded slice of the stream stands in the MP4, in order, wherever the input is cut."""
    data = (FOLDER / "avc.ts").read_bytes()
    made = []
    for step in (100, 188, 5000):
        out = io.BytesIO()
        remux.remux((data[at : at + step] for at in range(0, len(data), step)), out)
        made.append(out.getvalue())
    assert made[0] == made[1] == made[2]
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    film = b"".join(payload for pid, _, payload in remux._packets(packets) if pid == 0x100)
    slices = [nal for nal in remux._units(film) if nal[0] & 31 in (1, 5)]
    assert len(slices) >= 10
    at = 0
    for nal in slices:
        at = made[0].index(nal[:40], at) + 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_transport_stream_breaks_the_remuxer(data: st.DataObject) -> None:
    content = bytearray((FOLDER / "avc.ts").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    out = io.BytesIO()
    try:
        remux.remux([bytes(content[: data.draw(st.integers(0, len(content)))])], out)
    except NotRemuxed:
        return
    assert len(out.getvalue()) < 3 * len(content)


def test_a_heic_photograph_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "photo", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UnsupportedMedia) as raised:
        films.is_film(path)
    assert raised.value.slug == "photo-heic"


@pytest.mark.slow
async def test_a_large_film_is_never_whole_in_memory(
    opened: Fhir, client: Client, images: Images, tmp_path: Path
) -> None:
    """300 MB in and out: what Python holds at its highest stays small."""
    size, film = 300_000_000, (FOLDER / "avc.mp4").read_bytes()
    head = b'--b\r\nContent-Disposition: form-data; name="description"\r\n\r\nLong\r\n--b\r\n' + (
        b'Content-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    )

    async def body() -> AsyncIterator[bytes]:
        yield head + film + struct.pack(">L4s", size + 8, b"mdat")
        for _ in range(size // 1_000_000):
            yield bytes(1_000_000)
        yield b"\r\n--b--\r\n"

    client.access = person("p08")
    tracemalloc.start()
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await client.post("/requests/r1/created", content=body(), headers=headers)
        assert answer.status_code == 201, answer.text
        (file,) = images.index.files(answer.json()["study"])
        client.access = SYSTEM
        address = f"/studies/{file.study}/series/{file.series}/instances/{file.uid}/rendered"
        part = await client.get(address, headers={"Range": f"bytes={size - 100}-{size - 1}"})
        assert (part.status_code, len(part.content)) == (206, 100)
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 60_000_000
    assert file.size > size
