"""Observations with the code of a vital sign keep its profile, declared or not.

FHIR R4 observation-vitalsigns.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from profiles.schema.rules.item import Context, Item, codings

CORE = "http://hl7.org/fhir/StructureDefinition/"
PROFILES: Mapping[str, str] = MappingProxyType(
    {
        "85353-1": "vitalspanel",
        "9279-1": "resprate",
        "8867-4": "heartrate",
        "2708-6": "oxygensat",
        "8310-5": "bodytemp",
        "8302-2": "bodyheight",
        "9843-4": "headcircum",
        "29463-7": "bodyweight",
        "39156-5": "bmi",
        "85354-9": "bp",
    }
)
"""LOINC code → the standard's profile."""


def check_vital_sign(item: Item, context: Context) -> None:
    """Asked of who wants to know what is wrong; a write is not refused for it."""
    if not context.strict:
        return
    for system, code, _display in codings(item.value.get("code"), "CodeableConcept"):
        name = PROFILES.get(code) if system == "http://loinc.org" else None
        profile = context.profiles.get(CORE + name) if name else None
        if profile is not None:
            profile.check(item, context)
