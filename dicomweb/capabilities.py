"""What this DICOMweb server offers, made from the routes that are registered. PS3.18 §8.9 (Capabilities
Service)"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb import media
from dicomweb.cine import MP4
from dicomweb.dicom_xml import XML
from dicomweb.images import Images
from dicomweb.media import DICOM, JSON, MULTIPART, OCTETS
from dicomweb.syntaxes import FRAME_SYNTAXES
from dicomweb.web import BASE, Endpoint, accept_of, access_of, answered
from dicomweb.zipped import ZIP

WADL = "application/vnd.sun.wadl+xml"
NAMESPACE = "http://wadl.dev.java.net/2009/02"
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
# reports, documents, films, waveforms
_READ = ("text/html", "text/plain", "application/pdf", MP4, "image/svg+xml")
_DATASETS = (JSON, f'{MULTIPART}; type="{XML}"')


@dataclass(frozen=True, slots=True)
class Offer:
    """One method of one address: the media types it answers and takes, its query parameters."""

    path: str
    method: str
    answers: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()


_SEARCH = ("{attributeID}", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching",
"limit", "offset")  # fmt: skip
_RENDER = ("window", "viewport", "quality", "annotation", "iccprofile")
# (method, how the address ends) → answers, takes, parameters; the first that fits counts
_KINDS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "POST",
        r"/studies(/\{study\})?",
        (JSON, XML),
        (DICOM, f'{MULTIPART}; type="{DICOM}"', f'{MULTIPART}; type="{JSON}"', f'{MULTIPART}; type="{XML}"'),
        (),
    ),
    ("GET", r"/(studies|series|instances)", _DATASETS, (), _SEARCH),
    ("GET", r"/workitems", _DATASETS, (), ("{attributeID}", "limit", "offset")),
    ("GET", r"/metadata", _DATASETS, (), ()),
    ("GET", r"/instances/\{instance\}/rendered", (*_PICTURES, *_READ), (), _RENDER),
    ("GET", r"/frames/\{frames\}/rendered", (*_PICTURES, MP4), (), _RENDER),
    ("GET", r"/(rendered|thumbnail)", _PICTURES, (), _RENDER),
    ("GET", r"/frames/\{frames\}", (OCTETS, *FRAME_SYNTAXES), (), ("accept",)),
    (
        "GET",
        r"/(bulkdata|pixeldata|bulkdata/\{path:path\})",
        (OCTETS, f'{MULTIPART}; type="{OCTETS}"'),
        (),
        (),
    ),
    (
        "GET",
        r"/wado",
        (*_PICTURES, DICOM, JSON, XML),
        (),
        (
            "requestType",
            "studyUID",
            "seriesUID",
            "objectUID",
            "contentType",
            "frameNumber",
            "rows",
            "columns",
            "region",
            "windowCenter",
            "windowWidth",
            "imageQuality",
            "annotation",
            "transferSyntax",
        ),
    ),
    ("GET", r"/workitems/\{workitem\}", (JSON, XML), (), ()),
    ("GET", r"/\{(study|series|instance)\}", (f'{MULTIPART}; type="{DICOM}"', DICOM, ZIP), (), ("accept",)),
    ("POST", r"/subscribers/\{subscriber\}", (), (), ("deletionlock", "filter")),
    ("POST", r"/suspend", (), (), ()),
    ("DELETE", r"/subscribers/\{subscriber\}", (), (), ()),
    ("POST", r"/workitems.*", (), (JSON, XML), ()),
    ("PUT", r"/state", (), (JSON, XML), ()),
    ("DELETE", r"", (), (), ("reason",)),
)  # fmt: skip


def offers(routes: Iterable[BaseRoute]) -> list[Offer]:
    """Each registered method, in the order of the addresses."""
    found = []
    for route in routes:
        if isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"}):
                found.append(_offer(route.path.removeprefix(BASE), method))
    return sorted(found, key=lambda offer: (offer.path, offer.method))


def _offer(path: str, method: str) -> Offer:
    for kind, ending, answers, takes, parameters in _KINDS:
        if method == kind and re.search(ending + "$", path):
            return Offer(path.replace(":path", ""), method, answers, takes, parameters)
    return Offer(path.replace(":path", ""), method)


def wadl(found: Sequence[Offer], base: str) -> bytes:
    """The capabilities as WADL, one resource an address."""
    root = ET.Element("application", {"xmlns": NAMESPACE})
    resources = ET.SubElement(root, "resources", {"base": base})
    by_path: dict[str, list[Offer]] = {}
    for offer in found:
        by_path.setdefault(offer.path, []).append(offer)
    for path, here in by_path.items():
        resource = ET.SubElement(resources, "resource", {"path": path.lstrip("/")})
        for name in re.findall(r"\{(\w+)\}", path):
            ET.SubElement(resource, "param", {"name": name, "style": "template", "required": "true"})
        for offer in here:
            _method(resource, offer)
    made: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return made


def _method(resource: ET.Element, offer: Offer) -> None:
    method = ET.SubElement(resource, "method", {"name": offer.method})
    request = ET.SubElement(method, "request")
    for parameter in offer.parameters:
        ET.SubElement(request, "param", {"name": parameter, "style": "query"})
    for taken in offer.takes:
        ET.SubElement(request, "representation", {"mediaType": taken})
    response = ET.SubElement(method, "response")
    for given in offer.answers:
        ET.SubElement(response, "representation", {"mediaType": given})


def as_json(found: Sequence[Offer], base: str) -> bytes:
    listed: list[Mapping[str, object]] = [
        {"path": one.path, "method": one.method, "answers": one.answers, "takes": one.takes,
         "parameters": one.parameters}
        for one in found
    ]  # fmt: skip
    return orjson.dumps({"base": base, "resources": listed})


def routes(images: Images, registered: Sequence[BaseRoute]) -> list[BaseRoute]:
    """OPTIONS and GET of the base address."""
    found = offers(registered)

    def capabilities() -> Endpoint:
        async def capabilities(request: Request) -> Response:
            access_of(request)
            chosen = media.choose(accept_of(request), (WADL, "application/json", "application/xml"))
            body = as_json(found, images.base) if chosen.endswith("json") else wadl(found, images.base)
            return Response(body, 200, {"Cache-Control": "private, max-age=300"}, chosen)

        return capabilities

    return [Route(path, answered(capabilities()), methods=["OPTIONS", "GET"]) for path in (BASE, BASE + "/")]
