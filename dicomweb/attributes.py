"""Reading values out of DICOM JSON attributes: the neutral form in which a dataset travels here. Pure.

PS3.18 §F (DICOM JSON model)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from dicomweb.index.contract import PatientId

Attributes = Mapping[str, Any]
_TAG, _VR = re.compile(r"[0-9A-Fa-f]{8}"), re.compile(r"[A-Z]{2}")
_GROUPS = frozenset({"Alphabetic", "Ideographic", "Phonetic"})


def is_dataset(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether what came from outside has the form of DICOM JSON all the way down; its depth is bounded
    already (`web.from_json`). What the values mean is not judged. PS3.18 §F.2.2, §F.2.3"""
    return isinstance(value, dict) and all(
        isinstance(tag, str) and _TAG.fullmatch(tag) and _is_element(element)
        for tag, element in value.items()
    )


def _is_element(element: object) -> bool:
    if not isinstance(element, Mapping):
        return False
    vr, found = element.get("vr", "UN"), element.get("Value", [])
    if not isinstance(vr, str) or not _VR.fullmatch(vr) or not isinstance(found, list):
        return False
    if not all(isinstance(element.get(name, ""), str) for name in ("BulkDataURI", "InlineBinary")):
        return False
    fits = {"SQ": is_dataset, "PN": _is_name}.get(vr, _is_plain)
    return all(one is None or fits(one) for one in found)


def _is_name(value: object) -> bool:
    groups = value if isinstance(value, Mapping) else {"Alphabetic": value}
    return groups.keys() <= _GROUPS and all(isinstance(one, str) for one in groups.values())


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def values(attributes: Attributes, tag: str) -> Sequence[Any]:
    """The element's values; empty when it is absent or empty."""
    element = attributes.get(tag)
    found = element.get("Value") if isinstance(element, Mapping) else None
    return found if isinstance(found, list) else []


def first(attributes: Attributes, tag: str) -> str:
    """The first value as text, "" when there is none; of a person's name the alphabetic group."""
    for value in values(attributes, tag):
        if isinstance(value, Mapping):
            return str(
                value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic") or ""
            ).strip()
        return "" if value is None else str(value).strip()
    return ""


def integer(attributes: Attributes, tag: str) -> int | None:
    """The first value as a 64-bit integer; None when it is absent or is none."""
    found = number(attributes, tag)
    return int(found) if found is not None and abs(found) < 2**62 else None


def number(attributes: Attributes, tag: str) -> float | None:
    try:
        value = float(first(attributes, tag))
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None


def patient_ids(attributes: Attributes) -> tuple[PatientId, ...]:
    """Every patient identifier with its issuer, once each, main one first.

    The issuer is the universal entity ID where one is given, else the issuer's local name.
    PS3.3 §C.7.1.1, §10.15 (Patient ID, Issuer of Patient ID, Other Patient IDs Sequence)
    """
    found: dict[PatientId, None] = {}
    for item in (attributes, *values(attributes, "00101002")):
        if isinstance(item, Mapping) and (value := first(item, "00100020")):
            found[PatientId(value, _issuer(item))] = None
    return tuple(found)


def _issuer(item: Attributes) -> str:
    for qualifiers in values(item, "00100024"):
        if isinstance(qualifiers, Mapping) and (universal := first(qualifiers, "00400032")):
            return universal
    return first(item, "00100021")
