"""STOW-RS as a gateway sends: bodies compressed, within limits; the SHA-256 at the source with each part."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from dicomweb import encodings
from dicomweb.encodings import coding_of, decoded
from dicomweb.images import Images
from dicomweb.index.contract import Origin, Outcome
from dicomweb.origin import Said, fields, said
from profiles.outcomes import Invalid, TooLarge, UnsupportedMedia
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_stow import body, file, post, values

Take = Callable[..., Outcome]
PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda data: gzip.compress(data[:70]) + gzip.compress(data[70:]),  # two members, RFC 1952 §2.2
    "zstd": zstandard.compress,
    "identity": bytes,
}


def with_fields(content: bytes, told: Said) -> bytes:
    """A body of one part that says what `told` says."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields(told).items())
    return b"--B\r\nContent-Type: application/dicom\r\n%s\r\n%s\r\n--B--\r\n" % (lines.encode(), content)


def told_of(content: bytes) -> Said:
    return Said(hashlib.sha256(content).hexdigest(), "CT1", 1_732_000_000_000_000, "ab" * 32)


@pytest.mark.parametrize("coding", sorted(PACKED))
async def test_stored_as_meant(client: Client, images: Images, tmp_path: Path, coding: str) -> None:
    """RFC 9110 §8.4"""
    sent = file(tmp_path)
    response = await post(client, PACKED[coding](body(sent)), **{"Content-Encoding": coding})
    assert response.status_code == 200
    kept = images.index.file("2.25.1")
    assert kept is not None
    assert images.files.path(kept.path).read_bytes() == sent


@pytest.mark.parametrize("coding", ["br", "gzip, zstd", "deflate", "?"])
async def test_other_codings_are_refused(client: Client, tmp_path: Path, coding: str) -> None:
    """RFC 9110 §15.5.16"""
    response = await post(client, body(file(tmp_path)), **{"Content-Encoding": coding})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported-encoding")
    with pytest.raises(UnsupportedMedia):
        coding_of(coding)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_bomb_is_refused_and_leaves_nothing(client: Client, images: Images, coding: str) -> None:
    whole = body(bytes(encodings.FREE + 50_000_000))
    packed = gzip.compress(whole, 9) if coding == "gzip" else zstandard.compress(whole)
    response = await post(client, packed, **{"Content-Encoding": coding})
    assert (response.status_code, response.json()["code"]) == (413, "unfolds-too-far")
    assert list(images.files.spool.iterdir()) == []


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_what_unfolds_comes_in_small_pieces(coding: str) -> None:
    zeros = bytes(40_000_000)
    packed = gzip.compress(zeros) if coding == "gzip" else zstandard.compress(zeros)
    reading = encodings.decoder(coding)
    sizes = [len(piece) for piece in reading.feed(packed)]
    assert sum(sizes) == len(zeros)
    assert reading.complete
    assert max(sizes) <= 34_000_000
    if coding == "gzip":
        assert max(sizes) <= encodings.STEP


@pytest.mark.parametrize(
    ("coding", "change"),
    [
        ("gzip", lambda packed: packed[:-3]), ("zstd", lambda packed: packed[:-3]),
        ("gzip", lambda packed: packed + b"rest"), ("zstd", lambda packed: b"rest" + packed),
        ("gzip", lambda _packed: b"plain"), ("zstd", lambda _packed: b"plain"),
        ("zstd", lambda _packed: b"\x28\xb5\x2f\xfd\x00\xa0" + bytes(40)),
        ("gzip", lambda packed: packed[:-8] + bytes(4) + packed[-4:]),
    ],
)  # fmt: skip
async def test_broken_and_cut(coding: str, change: Callable[[bytes], bytes]) -> None:
    packed = PACKED[coding](b"some content " * 100)

    async def source() -> AsyncIterator[bytes]:
        yield change(packed)

    with pytest.raises(Invalid):
        [chunk async for chunk in decoded(source(), coding)]


async def test_a_cut_body_keeps_what_was_complete(client: Client, images: Images, tmp_path: Path) -> None:
    one, two = file(tmp_path), file(tmp_path, SOPInstanceUID="2.25.2")
    whole = body(one, two)
    packing = zlib.compressobj(wbits=31)
    end = whole.index(b"--B", 10) + 20
    packed = packing.compress(whole[:end]) + packing.flush(zlib.Z_SYNC_FLUSH)
    response = await post(client, packed, **{"Content-Encoding": "gzip"})
    assert response.status_code == 202
    assert values(response, "00081199", "00081155") == ["2.25.1"]
    assert values(response, "0008119A", "00081197") == [0xC213]
    assert images.index.file("2.25.2") is None


async def test_a_flood_of_blank_images_is_told_before_it_fills_the_disk() -> None:
    """The limit is on what unfolds, whatever the number of chunks it came in."""
    packed = zstandard.compress(bytes(encodings.FREE * 2))

    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), 100):
            yield packed[at : at + 100]

    made = 0

    async def count() -> None:
        nonlocal made
        async for chunk in decoded(source(), "zstd"):
            made += len(chunk)

    with pytest.raises(TooLarge):
        await count()
    assert made <= encodings.FREE + encodings.RATIO * len(packed)


async def test_what_the_source_said_is_kept(client: Client, images: Images, tmp_path: Path) -> None:
    sent = file(tmp_path)
    told = told_of(sent)
    assert (await post(client, with_fields(sent, told))).status_code == 200
    expected = Origin(
        making.STUDY, "2.25.1", "System", told.sha256, told.dataset, "CT1", 1_732_000_000_000_000
    )
    assert images.index.origins(making.STUDY) == [expected]
    assert images.index.origins(making.STUDY, "2.25.1") == [expected]
    assert images.index.origins(making.STUDY, "2.25.2") == []
    study = images.index.study(making.STUDY)
    assert study is not None
    assert study.calling_ae == "CT1"


async def test_a_duplicate_through_a_gateway_tells_its_origin(
    client: Client, images: Images, take: Take, tmp_path: Path
) -> None:
    path = making.write(tmp_path / "one.dcm", making.dataset())
    assert take(path) == "stored"
    assert images.index.origins(making.STUDY) == []
    sent = path.read_bytes()
    for _twice in range(2):
        assert (await post(client, with_fields(sent, told_of(sent)))).status_code == 200
    assert [one.sha256 for one in images.index.origins(making.STUDY)] == [hashlib.sha256(sent).hexdigest()]


async def test_both_origins_of_a_changed_duplicate_are_kept(
    client: Client, images: Images, tmp_path: Path
) -> None:
    contents = [file(tmp_path), file(tmp_path, PatientComments="changed")]
    statuses = [(await post(client, with_fields(one, told_of(one)))).status_code for one in contents]
    assert statuses == [200, 409]
    assert {one.sha256 for one in images.index.origins(making.STUDY)} == {
        hashlib.sha256(one).hexdigest() for one in contents
    }


@pytest.mark.parametrize("digest", ["00" * 32, "?"])
async def test_altered_on_the_way_is_refused_with_its_reason(
    client: Client, images: Images, tmp_path: Path, digest: str
) -> None:
    sent = file(tmp_path)
    content = with_fields(sent, Said("00" * 32))
    if digest == "?":
        content = content.replace(b"sha-256=:", b"sha-256=:!")
    response = await post(client, content)
    assert response.status_code == 409
    assert values(response, "00081198", "00081155") == ["2.25.1"]
    assert values(response, "00081198", "00081197") == [0xC214]
    assert images.index.file("2.25.1") is None
    assert images.index.origins(making.STUDY) == []
    assert list(images.files.spool.iterdir()) == []


def test_what_is_said_is_read_as_it_was_written() -> None:
    for ae in ("CT1", "a;b=c %", "", "SIXTEEN_LETTERS_"):
        told = Said("0f" * 32, ae, 12, "ab" * 32)
        assert said({name.lower(): value for name, value in fields(told).items()}) == told


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({}, Said()),
        ({"content-digest": "md5=:AAAA:"}, Said()),
        ({"content-digest": "sha-256=:AAAA:"}, Said("?")),
        ({"teledossier-source": "ae=CT1"}, Said("", "CT1")),
        ({"teledossier-source": "ae=SEVENTEEN_LETTERS; received=-1; dataset=AB"}, Said()),
        ({"teledossier-source": "ae=%0a; received=9999999999999999999; x"}, Said()),
        ({"teledossier-source": ";;==;"}, Said()),
    ],
)
def test_what_is_malformed_is_not_said(head: dict[str, str], expected: Said) -> None:
    assert said(head) == expected
