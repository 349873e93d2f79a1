"""UCUM units. A filter may ask for those of one dimension: `canonical = s` are all units of time.

FHIR R4 ucum.html
"""

from __future__ import annotations

from profiles import quantities
from terminology.code_systems.syntax import Syntax

CANONICAL = "canonical"
UCUM = Syntax(
    quantities.SYSTEM,
    "UCUM",
    quantities.valid,
    version="2.2",
    properties=frozenset({"concept", "code", CANONICAL}),
)
