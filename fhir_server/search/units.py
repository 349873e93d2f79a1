"""Quantities in UCUM units, on the scale that all units of a dimension share.

An amount in a UCUM unit is indexed, and asked for, a second time under `<code>:canonical`: in base units,
under their canonical code. 1 g, 1000 mg and 0.001 kg are then one number. Both sides convert exactly and
round once, so what is equal stays equal.

A unit whose scale runs the other way (pH counts down as the concentration rises), or that is no UCUM, has
none, and is compared with the same unit alone. FHIR R4 search.html#quantity
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from profiles import quantities

SUFFIX = ":canonical"


@lru_cache(maxsize=4096)
def scale_of(system: str | None, code: str | None) -> str | None:
    """The canonical code of a unit that has one, else None."""
    if system != quantities.SYSTEM or not code:
        return None
    one, two = quantities.canonical(Decimal(1), code), quantities.canonical(Decimal(2), code)
    return one[1] if one is not None and two is not None and one[0] < two[0] else None


@lru_cache(maxsize=32768)
def in_base_units(value: Decimal, code: str) -> float | None:
    """The amount on the scale of its dimension; None out of measure."""
    found = quantities.in_base_units(value, code)
    try:
        return None if found is None else float(found)
    except OverflowError:
        return None
