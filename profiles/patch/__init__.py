"""Patches of a resource: JSON Patch, FHIRPath Patch, XML Patch. A document in, a document out.

    patch = read(content_type, body)       or of_resource(resource), as in a Bundle
    changed = patched(patch, resource)

What a patch makes is not validated here: it goes the way of an update. FHIR R4 http.html#patch
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from profiles import codec, xml
from profiles.outcomes import Invalid, Unprocessable, UnsupportedMedia
from profiles.patch import fhirpath_patch, json_patch, xml_patch

Json = dict[str, Any]


class Patch(Protocol):
    """Something that can be applied, once or again."""

    def apply(self, document: Json, /) -> Json:
        """A patched copy. Raises Unprocessable; the document stays as it was."""
        ...


def _of_json(body: bytes) -> Patch:
    return fhirpath_patch.of(codec.parse(body))


def _of_xml(body: bytes) -> Patch:
    return fhirpath_patch.of(xml.parse(body))


READERS: Mapping[str, Callable[[bytes], Patch]] = MappingProxyType(
    {
        "application/json-patch+json": json_patch.read,
        "application/xml-patch+xml": xml_patch.read,
        "application/fhir+json": _of_json,
        "application/fhir+xml": _of_xml,
        "application/json": _of_json,
        "application/xml": _of_xml,
        "text/json": _of_json,
        "text/xml": _of_xml,
    }
)
"""By media type."""
FORMATS = tuple(READERS)[:4]
"""Those to tell clients of."""


def read(content_type: str, body: bytes) -> Patch:
    """The patch in a body. Raises UnsupportedMedia naming what is read, Invalid for what is no patch."""
    reader = READERS.get(content_type.partition(";")[0].strip().lower())
    if reader is None:
        raise UnsupportedMedia("patch-format", f"this patch format is not read; send {', '.join(FORMATS)}")
    return reader(body)


def of_resource(resource: Any) -> Patch:
    """The patch in a Bundle's entry: Parameters, or a Binary that holds a JSON or XML Patch. Raises Invalid,
    UnsupportedMedia. FHIR R4 http.html#patch"""
    type = resource.get("resourceType") if isinstance(resource, dict) else None
    if type == "Parameters":
        return fhirpath_patch.of(resource)
    if type != "Binary":
        raise Invalid("bad-patch", "a patch in a Bundle is a Parameters or a Binary resource")
    content_type, data = resource.get("contentType"), resource.get("data")
    if not isinstance(content_type, str) or not isinstance(data, str):
        raise Invalid("bad-patch", "the Binary of a patch has a contentType and data")
    try:
        body = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("bad-base64", "data is not valid base64", expression="Binary.data") from None
    return read(content_type, body)


def patched(patch: Patch, resource: Json) -> Json:
    """The resource as patched: still of its type and id, and of the version it was. Raises Unprocessable."""
    result = patch.apply(resource)
    if not isinstance(result, dict):
        raise Unprocessable("patch-failed", "the patch leaves no resource")
    for name in ("resourceType", "id"):
        if result.get(name) != resource.get(name):
            raise Unprocessable("patch-protected", f"{name} cannot be patched")
    meta = result.get("meta")
    if (
        isinstance(meta, dict)
        and "versionId" in meta
        and meta["versionId"] != resource["meta"].get("versionId")
    ):
        raise Unprocessable("patch-protected", "meta.versionId cannot be patched")
    return result
