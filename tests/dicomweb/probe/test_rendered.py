"""Rendered pictures, thumbnails and WADO-URI. PS3.18 §8.3.5 (rendering parameters), §10.4.1.1.3–4, §9"""

from __future__ import annotations

import io
from collections.abc import Callable
from urllib.parse import urlencode

import httpx
import pydicom
import pytest
from PIL import Image

from tests.dicomweb.probe.check import DICOM, JSON, XML, Check, Then, has, is_type, pieces, table
from tests.dicomweb.probe.seed import COLOUR, CT, JPEG, MULTI, ONE, PDF, SR, THREE, TWO

IMAGE = f"/studies/{ONE}/series/{CT}/instances/{CT}.1"
CINE = f"/studies/{TWO}/series/{MULTI}/instances/{MULTI}.1"
PHOTO = f"/studies/{THREE}/series/{COLOUR}/instances/{COLOUR}.1"
LOSSY = f"/studies/{THREE}/series/{JPEG}/instances/{JPEG}.1"
REPORT = f"/studies/{ONE}/series/{SR}/instances/{SR}.1"
LETTER = f"/studies/{ONE}/series/{PDF}/instances/{PDF}.1"


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def picture(kind: str, test: Callable[[Image.Image], object] = lambda _image: True) -> Then:
    def check(answer: httpx.Response) -> bool:
        image = opened(answer.content)
        return image.format == kind and bool(test(image)) and is_type(f"image/{kind.lower()}")(answer)

    return check


def size(width: int, height: int) -> Callable[[Image.Image], bool]:
    return lambda image: image.size == (width, height)


def within(width: int, height: int) -> Callable[[Image.Image], bool]:
    return lambda image: 0 < image.width <= width and 0 < image.height <= height


def varied(image: Image.Image) -> bool:
    return len(set(image.convert("L").tobytes())) > 2


def shown(path: str, accept: str = "image/png") -> str:
    return f"{path}/rendered?accept={accept}"


RENDERED = [
    Check("10.4.1.1.3", "an instance, JPEG", f"{IMAGE}/rendered", 200, "image/jpeg",
          picture("JPEG", size(16, 16))),
    Check("10.4.1.1.3", "an instance, PNG", f"{IMAGE}/rendered", 200, "image/png", picture("PNG", varied)),
    Check("10.4.1.1.3", "an instance, GIF", f"{IMAGE}/rendered", 200, "image/gif", picture("GIF")),
    Check("10.4.1.1.3", "an instance, no Accept", f"{IMAGE}/rendered", 200, "", picture("JPEG")),
    Check("10.4.1.1.3", "an instance, */*", f"{IMAGE}/rendered", 200, "*/*", picture("JPEG")),
    Check("10.4.1.1.3", "an instance, image/*", f"{IMAGE}/rendered", 200, "image/*", picture("JPEG")),
    Check("10.4.1.1.3", "a frame", f"{CINE}/frames/2/rendered", 200, "image/png",
          picture("PNG", size(16, 16))),
    Check("10.4.1.1.3", "several frames", f"{CINE}/frames/1,3/rendered", 200,
          'multipart/related; type="image/png"',
          lambda a: [opened(p.content).format for p in pieces(a)] == ["PNG", "PNG"]),
    Check("10.4.1.1.3", "several frames as a moving picture", f"{CINE}/rendered", 200, "image/gif",
          picture("GIF", lambda image: getattr(image, "n_frames", 1) == 4)),
    Check("8.7.4", "several frames as a film", f"{CINE}/rendered", 200, "video/mp4",
          lambda a: a.content[4:12] == b"ftypisom" and b"av01" in a.content),
    Check("8.7.4", "a film of one frame", f"{CINE}/frames/1/rendered", 406, "video/mp4"),
    Check("10.4.1.1.3", "a series", f"/studies/{ONE}/series/{CT}/rendered", 200,
          'multipart/related; type="image/jpeg"', lambda a: len(pieces(a)) == 3),
    Check("10.4.1.1.3", "a study", f"/studies/{TWO}/rendered", 200,
          'multipart/related; type="image/jpeg"', lambda a: len(pieces(a)) == 6),
    Check("10.4.1.1.3", "colours", f"{PHOTO}/rendered", 200, "image/png",
          picture("PNG", lambda image: image.mode == "RGB" and varied(image))),
    Check("10.4.1.1.3", "a lossy one", f"{LOSSY}/rendered", 200, "image/png",
          picture("PNG", lambda image: image.mode == "RGB" and varied(image))),
    Check("10.4.1.1.3", "a report as HTML", f"{REPORT}/rendered", 200, "text/html", is_type("text/html")),
    Check("10.4.1.1.3", "a document as itself", f"{LETTER}/rendered", 200, "application/pdf",
          lambda a: a.content.startswith(b"%PDF-1.4")),
    Check("10.4.1.1.3", "a report as a picture", f"{REPORT}/rendered", 406, "image/jpeg"),
    Check("10.4.1.1.3", "no such media type", f"{IMAGE}/rendered", 406, "application/pdf"),
    Check("10.4.1.1.3", "of nothing", f"{IMAGE}9/rendered", 404, "image/jpeg"),
    Check("10.4.1.1.3", "frame 9 of 4", f"{CINE}/frames/9/rendered", (400, 404), "image/jpeg"),
    Check("8.3.5.1.3", "viewport", f"{IMAGE}/rendered?viewport=64,64", 200, "image/png",
          picture("PNG", size(64, 64))),
    Check("8.3.5.1.3", "viewport, proportions kept", f"{PHOTO}/rendered?viewport=100,100", 200, "image/png",
          picture("PNG", size(100, 75))),
    Check("8.3.5.1.3", "viewport of a part", f"{IMAGE}/rendered?viewport=8,8,0,0,8,8", 200, "image/png",
          picture("PNG", size(8, 8))),
    Check("8.3.5.1.3", "viewport encoded", f"{IMAGE}/rendered?viewport=64%2C32", 200, "image/png",
          picture("PNG", within(64, 32))),
    Check("8.3.5.1.3", "viewport with empty places", f"{IMAGE}/rendered?viewport=32,32,,,8,8", 200,
          "image/png", picture("PNG", size(32, 32))),
    Check("8.3.5.1.3", "viewport of one number", f"{IMAGE}/rendered?viewport=64", 400, "image/png"),
    Check("8.3.5.1.3", "viewport of words", f"{IMAGE}/rendered?viewport=a,b", 400, "image/png"),
    Check("8.3.5.1.3", "viewport of nothing", f"{IMAGE}/rendered?viewport=0,0", 400, "image/png"),
    Check("8.3.5.1.3", "viewport beyond use", f"{IMAGE}/rendered?viewport=100000,100000", 400, "image/png"),
    Check("8.3.5.1.4", "window", f"{IMAGE}/rendered?window=-900,200,linear", 200, "image/png",
          picture("PNG", varied)),
    Check("8.3.5.1.4", "window, exact", f"{IMAGE}/rendered?window=-900,200,linear-exact", 200, "image/png",
          picture("PNG", varied)),
    Check("8.3.5.1.4", "window, sigmoid", f"{IMAGE}/rendered?window=-900,200,sigmoid", 200, "image/png",
          picture("PNG", varied)),
    Check("8.3.5.1.4", "window far above: black", f"{IMAGE}/rendered?window=5000,1,linear", 200, "image/png",
          picture("PNG", lambda image: set(image.convert("L").tobytes()) == {0})),
    Check("8.3.5.1.4", "window far below: white", f"{IMAGE}/rendered?window=-5000,1,linear", 200, "image/png",
          picture("PNG", lambda image: set(image.convert("L").tobytes()) == {255})),
    Check("8.3.5.1.4", "window of one number", f"{IMAGE}/rendered?window=40", 400, "image/png"),
    Check("8.3.5.1.4", "window of words", f"{IMAGE}/rendered?window=a,b,linear", 400, "image/png"),
    Check("8.3.5.1.4", "window without width", f"{IMAGE}/rendered?window=40,0,linear", 400, "image/png"),
    Check("8.3.5.1.4", "no such function", f"{IMAGE}/rendered?window=40,400,cubic", 400, "image/png"),
    Check("8.3.5.1.4", "window that is no number", f"{IMAGE}/rendered?window=nan,nan,linear", 400,
          "image/png"),
    Check("8.3.5.1.2", "quality", f"{PHOTO}/rendered?quality=10", 200, "image/jpeg", picture("JPEG")),
    Check("8.3.5.1.2", "quality 0", f"{IMAGE}/rendered?quality=0", 400, "image/jpeg"),
    Check("8.3.5.1.2", "quality 101", f"{IMAGE}/rendered?quality=101", 400, "image/jpeg"),
    Check("8.3.5.1.2", "quality in words", f"{IMAGE}/rendered?quality=best", 400, "image/jpeg"),
    Check("8.3.5.1.1", "annotation", f"{PHOTO}/rendered?annotation=patient,technique", 200, "image/png",
          picture("PNG")),
    Check("8.3.5.1.1", "no such annotation", f"{IMAGE}/rendered?annotation=jokes", 400, "image/png"),
    Check("8.3.5.1.5", "iccprofile no", f"{PHOTO}/rendered?iccprofile=no", 200, "image/jpeg",
          picture("JPEG", lambda image: "icc_profile" not in image.info)),
    Check("8.3.5.1.5", "iccprofile yes", f"{PHOTO}/rendered?iccprofile=yes", 200, "image/jpeg",
          picture("JPEG", lambda image: image.info["icc_profile"])),
    Check("8.3.5.1.5", "iccprofile srgb", f"{PHOTO}/rendered?iccprofile=srgb", 200, "image/jpeg",
          picture("JPEG", lambda image: image.info["icc_profile"])),
    Check("8.3.5.1.5", "no such profile", f"{IMAGE}/rendered?iccprofile=mine", 400, "image/jpeg"),
    Check("10.4.1.1.4", "thumbnail of a study", f"/studies/{ONE}/thumbnail", 200, "image/jpeg",
          picture("JPEG", within(128, 128))),
    Check("10.4.1.1.4", "thumbnail of a series", f"/studies/{ONE}/series/{CT}/thumbnail", 200, "image/jpeg",
          picture("JPEG", within(128, 128))),
    Check("10.4.1.1.4", "thumbnail of an instance", f"{PHOTO}/thumbnail", 200, "image/jpeg",
          picture("JPEG", within(128, 128))),
    Check("10.4.1.1.4", "thumbnail of a frame", f"{CINE}/frames/2/thumbnail", 200, "image/png",
          picture("PNG")),
    Check("10.4.1.1.4", "thumbnail, no Accept", f"{PHOTO}/thumbnail", 200, "", picture("JPEG")),
    Check("10.4.1.1.4", "thumbnail in a viewport", f"{PHOTO}/thumbnail?viewport=64,64", 200, "image/png",
          picture("PNG", within(64, 64))),
    Check("10.4.1.1.4", "thumbnail of nothing", "/studies/2.25.404/thumbnail", 404, "image/jpeg"),
    Check("8.3.3.1", "accept as a parameter", shown(IMAGE), 200, "text/plain", picture("PNG")),
    Check("RFC 9111", "pictures may be kept", f"{IMAGE}/rendered", 200, "image/jpeg",
          has("cache-control", "max-age")),
]  # fmt: skip


@table(RENDERED)
def test_rendered(dicom: httpx.Client, check: Check) -> None:
    check.run(dicom)


def test_a_better_quality_is_larger(dicom: httpx.Client) -> None:
    """8.3.5.1.2"""
    sizes = [
        len(dicom.get(f"{PHOTO}/rendered?quality={quality}", headers={"Accept": "image/jpeg"}).content)
        for quality in (5, 50, 100)
    ]
    assert sizes == sorted(set(sizes))


def test_the_window_decides_the_picture(dicom: httpx.Client) -> None:
    """8.3.5.1.4: and the dataset's own is used when none is asked for."""
    asked = [
        dicom.get(f"{IMAGE}/rendered?window={window}", headers={"Accept": "image/png"}).content
        for window in ("-896,260,linear", "-1000,30,linear")
    ]
    own = dicom.get(f"{IMAGE}/rendered", headers={"Accept": "image/png"}).content
    assert opened(asked[0]).tobytes() == opened(own).tobytes() != opened(asked[1]).tobytes()


OBJECT = {"studyUID": ONE, "seriesUID": CT, "objectUID": f"{CT}.1"}
MOVING = {"studyUID": TWO, "seriesUID": MULTI, "objectUID": f"{MULTI}.1"}


def u(name: str, status: int, then: tuple[Then, ...] = (), of: dict[str, str] = OBJECT, **more: str) -> Check:
    """A WADO-URI request; a parameter of "" is left out."""
    params = {"requestType": "WADO", **of, **more}
    query = urlencode({key: value for key, value in params.items() if value})
    return Check("9", name, f"/wado?{query}", status, more.pop("accept", "*/*"), then)


def file(syntax: str) -> Then:
    return lambda answer: pydicom.dcmread(io.BytesIO(answer.content)).file_meta.TransferSyntaxUID == syntax


URI = [
    u("JPEG by default", 200, (picture("JPEG", size(16, 16)),)),
    u("contentType image/jpeg", 200, (picture("JPEG"),), contentType="image/jpeg"),
    u("contentType image/png", 200, (picture("PNG"),), contentType="image/png"),
    u("contentType image/gif", 200, (picture("GIF"),), contentType="image/gif"),
    u("contentType video/mp4 of one frame", 406, (), contentType="video/mp4"),
    u("contentType application/dicom", 200, (is_type(DICOM), file("1.2.840.10008.1.2.1")), contentType=DICOM),
    u("contentType application/dicom+json", 200, (is_type(JSON),), contentType=JSON),
    u("contentType application/dicom+xml", 200, (is_type(XML),), contentType=XML),
    u("transferSyntax", 200, (file("1.2.840.10008.1.2.4.90"),), contentType=DICOM,
      transferSyntax="1.2.840.10008.1.2.4.90"),
    u("transferSyntax implicit", 200, (file("1.2.840.10008.1.2"),), contentType=DICOM,
      transferSyntax="1.2.840.10008.1.2"),
    u("transferSyntax that is not made here", 406, (), contentType=DICOM,
      transferSyntax="1.2.840.10008.1.2.4.100"),
    u("rows and columns", 200, (picture("PNG", size(32, 32)),), contentType="image/png", rows="32",
      columns="32"),
    u("columns alone", 200, (picture("PNG", size(32, 32)),), contentType="image/png", columns="32"),
    u("region", 200, (picture("PNG", size(8, 8)),), contentType="image/png", region="0,0,0.5,0.5"),
    u("region and rows", 200, (picture("PNG", size(32, 32)),), contentType="image/png", rows="32",
      columns="32", region="0.25,0.25,0.75,0.75"),
    u("window", 200, (picture("PNG", varied),), contentType="image/png", windowCenter="-900",
      windowWidth="200"),
    u("imageQuality", 200, (picture("JPEG"),), imageQuality="20"),
    u("annotation", 200, (picture("JPEG"),), annotation="patient,technique"),
    u("frameNumber", 200, (picture("PNG", size(16, 16)),), MOVING, contentType="image/png", frameNumber="3"),
    u("a multi-frame one by default", 200, (is_type(DICOM),), MOVING),
    u("a report", 200, (), {"studyUID": ONE, "seriesUID": SR, "objectUID": f"{SR}.1"}),
    u("a document", 200, (lambda a: a.content.startswith(b"%PDF"),),
      {"studyUID": ONE, "seriesUID": PDF, "objectUID": f"{PDF}.1"}, contentType="application/pdf"),
    u("no requestType", 400, requestType=""), u("another requestType", 400, requestType="QIDO"),
    u("no studyUID", 400, studyUID=""), u("no seriesUID", 400, seriesUID=""),
    u("no objectUID", 400, objectUID=""),
    u("no such object", 404, objectUID="2.25.404"), u("an object of another study", 404, studyUID=TWO),
    u("a UID that is none", 400, objectUID="..%2F.."),
    u("rows in words", 400, rows="many"), u("rows of nothing", 400, rows="0"),
    u("region outside", 400, region="0,0,2,2"), u("region turned round", 400, region="0.5,0.5,0,0"),
    u("windowCenter alone", 400, windowCenter="40"),
    u("imageQuality 0", 400, imageQuality="0"), u("frameNumber 0", 400, (), MOVING, frameNumber="0"),
    u("frameNumber 9 of 4", 404, (), MOVING, frameNumber="9", contentType="image/png"),
    u("anonymize", 400, anonymize="yes"),
    u("no such content type", 406, contentType="video/mpeg"),
]  # fmt: skip


@table(URI)
def test_uri(dicom: httpx.Client, check: Check) -> None:
    check.run(dicom)


@pytest.mark.parametrize("name", ["requesttype", "STUDYUID"])
def test_names_of_parameters_are_case_sensitive(dicom: httpx.Client, name: str) -> None:
    """9.1.2: a misspelt name is a missing one."""
    params = {"requestType": "WADO", **OBJECT}
    changed = {name if key.lower() == name.lower() else key: value for key, value in params.items()}
    assert dicom.get("/wado", params=changed).status_code == 400
