"""DICOM JSON ↔ the Native DICOM Model in XML. Pure.

Document types and entities are refused; depth is bounded. PS3.19 §A.1 (Native DICOM Model), PS3.18 §F (JSON)
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom import datadict

from dicomweb.attributes import Attributes
from profiles.outcomes import Invalid

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
XML = "application/dicom+xml"
MAX_DEPTH = 64
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NUMBERS = frozenset({"DS", "FL", "FD", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'


def dump(attributes: Attributes) -> bytes:
    """One dataset as a document."""
    root = ET.Element("NativeDicomModel", {"xmlns": NAMESPACE, "xml:space": "preserve"})
    _attributes(root, attributes)
    made: bytes = ET.tostring(root, "utf-8")
    return _HEAD + made


def _attributes(parent: ET.Element, attributes: Attributes) -> None:
    for tag, element in sorted(attributes.items()):
        if not isinstance(element, Mapping):
            continue
        vr = str(element.get("vr", "UN"))
        node = ET.SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr})
        keyword = _keyword(tag)
        if keyword:
            node.set("keyword", keyword)
        if "BulkDataURI" in element:
            ET.SubElement(node, "BulkData", {"uri": str(element["BulkDataURI"])})
        elif "InlineBinary" in element:
            ET.SubElement(node, "InlineBinary").text = str(element["InlineBinary"])
        else:
            _values(node, vr, element.get("Value") or ())


def _keyword(tag: str) -> str:
    try:
        return str(datadict.keyword_for_tag(int(tag, 16)))
    except ValueError:
        return ""


def _values(node: ET.Element, vr: str, values: Iterable[Any]) -> None:
    for number, value in enumerate(values, 1):
        place = {"number": str(number)}
        if vr == "SQ":
            _attributes(ET.SubElement(node, "Item", place), value if isinstance(value, Mapping) else {})
        elif value is None:
            continue
        elif vr == "PN":
            _name(ET.SubElement(node, "PersonName", place), value)
        else:
            ET.SubElement(node, "Value", place).text = _clean(str(value))


def _name(node: ET.Element, value: Any) -> None:
    groups = value if isinstance(value, Mapping) else {"Alphabetic": str(value)}
    for group in _GROUPS:
        if text := groups.get(group):
            place = ET.SubElement(node, group)
            for name, part in zip(_COMPONENTS, str(text).split("^"), strict=False):
                if part:
                    ET.SubElement(place, name).text = _clean(part)


def _clean(text: str) -> str:
    """Without the control characters that XML 1.0 cannot carry."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))


def parse(data: bytes) -> dict[str, Any]:
    """A document as DICOM JSON. Raises Invalid."""
    try:
        text = data.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise Invalid("bad-xml", "a document type or entity is not accepted")
        root = ET.fromstring(text)  # noqa: S314 - no document type, hence no entities
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise Invalid("bad-xml", "the metadata cannot be read as XML") from error
    if _local(root) != "NativeDicomModel":
        raise Invalid("bad-xml", "the metadata is no NativeDicomModel")
    return _dataset(root, 0)


def _local(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def _children(node: ET.Element, name: str) -> list[ET.Element]:
    """The children of that name, by their `number`."""
    return sorted((child for child in node if _local(child) == name), key=_number)


def _number(child: ET.Element) -> int:
    text = child.get("number", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _dataset(node: ET.Element, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise Invalid("bad-xml", "sequences are nested too deeply")
    found: dict[str, Any] = {}
    for child in _children(node, "DicomAttribute"):
        tag, vr = child.get("tag", "").upper(), child.get("vr", "")
        if len(tag) != 8 or len(vr) != 2:
            raise Invalid("bad-xml", "a DicomAttribute needs a tag of eight digits and a vr")
        found[tag] = {"vr": vr, **_content(child, vr, depth)}
    return found


def _content(node: ET.Element, vr: str, depth: int) -> dict[str, Any]:
    for bulk in _children(node, "BulkData"):
        return {"BulkDataURI": bulk.get("uri") or bulk.get("uuid") or ""}
    for inline in _children(node, "InlineBinary"):
        return {"InlineBinary": "".join((inline.text or "").split())}
    values: list[Any] = []
    if vr == "SQ":
        values = [_dataset(item, depth + 1) for item in _children(node, "Item")]
    elif vr == "PN":
        values = [_person(name) for name in _children(node, "PersonName")]
    else:
        values = [_typed(vr, value.text or "") for value in _children(node, "Value")]
    return {"Value": values} if values else {}


def _person(node: ET.Element) -> dict[str, str]:
    groups = {}
    for group in _GROUPS:
        for place in _children(node, group):
            parts = [next((c.text or "" for c in _children(place, name)), "") for name in _COMPONENTS]
            groups[group] = "^".join(parts).rstrip("^")
    return groups


def _typed(vr: str, text: str) -> Any:
    if vr not in _NUMBERS:
        return text
    try:
        found = int(text) if vr in _INTEGERS else float(text)
    except ValueError as error:
        raise Invalid("bad-xml", f"a value of VR {vr} is no number") from error
    if vr in _INTEGERS and not -(2**63) <= found < 2**64:
        raise Invalid("bad-xml", f"a value of VR {vr} has more than 64 bits")
    return found
