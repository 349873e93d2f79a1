"""Matching keys: an attribute and a value → the Match that means it, for QIDO-RS and C-FIND alike. Pure.

An attribute with a column of the index is compared there; any other, and any within a sequence, in the
instance's
JSON. PS3.4 §C.2.2.2 (attribute matching), §C.6 (unique, required and optional keys); PS3.18 §10.6.1.2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dicomweb.dataset import is_uid, tag_of
from dicomweb.index.contract import Level, Match
from dicomweb.index.schema import NAMES, SERIES_TAGS, STUDY_TAGS
from dicomweb.names import fold, fold_wildcards
from profiles.outcomes import Invalid

MAX_VALUE = 10_000
MAX_STARS = 12
MAX_PATTERN = 256  # characters of a value with wildcards
MAX_DEPTH = 8

# tag → (level, column) of every matching key that the index has a column for
KEYS: Mapping[str, tuple[Level, str]] = {
    "0020000D": ("study", "uid"),
    "00080020": ("study", "date"),
    "00080030": ("study", "time"),
    "00080050": ("study", "accession"),
    "00081030": ("study", "description"),
    "00200010": ("study", "study_id"),
    "00080090": ("study", "referring"),
    "00100020": ("study", "patient_id"),
    "00100021": ("study", "patient_issuer"),
    "00100010": ("study", "patient_name"),
    "00100030": ("study", "birth_date"),
    "00100040": ("study", "sex"),
    "00080061": ("study", "modalities"),
    "0020000E": ("series", "uid"),
    "00080060": ("series", "modality"),
    "00200011": ("series", "number"),
    "0008103E": ("series", "description"),
    "00180015": ("series", "body_part"),
    "00080021": ("series", "date"),
    "00080031": ("series", "time"),
    "00400244": ("series", "performed_date"),
    "00400245": ("series", "performed_time"),
    "00080018": ("instance", "uid"),
    "00080016": ("instance", "sop_class"),
    "00200013": ("instance", "number"),
}
UNMATCHED = frozenset({"00081190", "00080056", "00201206", "00201208", "00201209"})  # made when answering
_LISTED = frozenset({"00080060", "00080061"})  # a code never has a comma: several are alternatives


def path_of(name: str) -> tuple[tuple[str, ...], str] | None:
    """`RequestAttributesSequence.00400009` → the tags from the dataset down, and the VR at the end; None
    when a part is neither keyword nor tag, or something above the end is no sequence."""
    parts = [tag_of(part) for part in name.split(".")]
    if len(parts) > MAX_DEPTH or any(part is None for part in parts):
        return None
    found = [part for part in parts if part is not None]
    if any(vr not in ("SQ", "UN") for _tag, vr in found[:-1]):
        return None
    return tuple(tag for tag, _vr in found), found[-1][1]


def level_of(tag: str) -> Level:
    """Whose attribute it is; what is neither a patient's, a study's nor a series' is the instance's."""
    if tag in KEYS:
        return KEYS[tag][0]
    return "study" if tag in STUDY_TAGS else "series" if tag in SERIES_TAGS else "instance"


def matches_of(name: str, path: Sequence[str], vr: str, value: str) -> list[Match]:
    """What an attribute must be to fit `value`; [] for a value that everything fits. Raises Invalid, which
    names the attribute as `name`."""
    most = MAX_PATTERN if _wild(value) and vr != "UI" else MAX_VALUE
    if len(value) > most or "\x00" in value or value.count("*") > MAX_STARS:
        raise Invalid("bad-parameter", f"{name} is too long or has a forbidden character")
    if not value.strip("*"):
        return []
    if vr == "SQ" or path[0] in UNMATCHED:
        raise Invalid("bad-parameter", f"{name} cannot be matched")
    known = KEYS.get(path[0]) if len(path) == 1 else None
    level, column = known or (level_of(path[0]), "")
    inside = () if known else tuple(path)
    how, values = _compared(name, vr, column, path[0], value)
    return [Match(level, column, how, values, inside, vr)]  # type: ignore[arg-type]


def plain_matches(name: str, path: Sequence[str], vr: str, value: str) -> list[Match]:
    """The same for datasets that are in no index (work items): every match by its path."""
    return [
        Match("instance", "", match.how, match.values, tuple(path), vr)
        for match in matches_of(name, path, vr, value)
    ]


def _compared(name: str, vr: str, column: str, tag: str, value: str) -> tuple[str, tuple[str, ...]]:
    """PS3.4 §C.2.2.2: UID lists, ranges, wildcards, single values."""
    if vr == "UI":
        uids = tuple(one.strip() for one in value.replace("\\", ",").split(","))
        if not all(map(is_uid, uids)):
            raise Invalid("bad-parameter", f"{name} takes UIDs")
        return "exact", uids
    if vr in ("DA", "TM", "DT"):
        return "range", _range(name, vr, value)
    if vr == "PN":
        return ("like", (fold_wildcards(value),)) if _wild(value) else ("exact", (fold(value),))
    if vr in ("IS", "US", "SS", "UL", "SL", "UV", "SV"):
        return "exact", (_number(name, value),)
    if vr in ("DS", "FL", "FD"):
        return "exact", (_decimal(name, value),)
    if _wild(value):
        return "like", (value,)
    listed = tag in _LISTED and ("," in value or "\\" in value)
    return "exact", tuple(value.replace("\\", ",").split(",")) if listed else (value.strip(),)


def _wild(value: str) -> bool:
    return "*" in value or "?" in value


def _number(name: str, value: str) -> str:
    text = value.strip().removeprefix("+")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise Invalid("bad-parameter", f"{name} takes a whole number")
    return str(int(text))


def _decimal(name: str, value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        raise Invalid("bad-parameter", f"{name} takes a number") from None
    return str(int(number)) if number.is_integer() else str(number)


def _range(name: str, vr: str, value: str) -> tuple[str, str]:
    low, dash, high = value.partition("-")
    low, high = low.strip(), high.strip() if dash else low.strip()
    for bound in (low, high):
        digits = bound.replace(".", "", 1) if vr != "DA" else bound
        if bound and not (digits.isascii() and digits.isdigit() and (vr != "DA" or len(digits) == 8)):
            raise Invalid("bad-parameter", f"{name} takes {_FORMS[vr]}, or a range of them with '-'")
    if vr == "DA":
        return low, high
    return _coarse(low, vr), high and high + "\uffff"  # 0508 means the whole minute


def _coarse(low: str, vr: str) -> str:
    """A lower bound without the zeros at its end, so that 1200 in an image is not before 120000."""
    low = low.rstrip("0").rstrip(".") if "." in low else low
    dated = 8 if vr == "DT" else 0
    while len(low) > dated + 2 and len(low) % 2 == 0 and low.endswith("00"):
        low = low[:-2]
    return low


_FORMS = {"DA": "YYYYMMDD", "TM": "HHMMSS", "DT": "YYYYMMDDHHMMSS"}


def empty(path: Sequence[str], vr: str) -> Match:
    """The attribute is absent or has no value. PS3.4 §C.2.2.2.7"""
    return Match(level_of(path[0]), "", "empty", (), tuple(path), vr)


def alternatives(name: str, path: Sequence[str], vr: str, value: str) -> list[Match]:
    """A list of values, any of which may fit. Raises Invalid, also for wildcards and ranges in it. PS3.4
    §C.2.2.2.8"""
    parts = [part for part in value.split("\\") if part.strip()]
    if vr == "UI" or len(parts) < 2:
        return matches_of(name, path, vr, value)
    found = [match for part in parts for match in matches_of(name, path, vr, part)]
    if len(found) < len(parts) or any(match.how != "exact" for match in found):
        raise Invalid("bad-parameter", f"several values of {name} have no wildcards, no ranges")
    return [replace(found[0], values=tuple(one for match in found for one in match.values))]


def fuzzy(match: Match) -> Match:
    """The same for a name by its words in any order, accents and case aside; other matches as they are."""
    if match.column not in NAMES and match.vr != "PN":
        return match
    words = tuple(match.values[0].replace("*", " ").replace("?", " ").split())
    return Match(match.level, match.column, "words", words, match.path, match.vr)
