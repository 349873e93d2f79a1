"""The standard's own operations that are offered here; the télédossier's are with it."""

from __future__ import annotations

from fhir_server.operations import export, meta, terminology, validate, versions
from fhir_server.operations.registry import Operation

STANDARD: tuple[Operation, ...] = (
    *export.OPERATIONS,
    *meta.OPERATIONS,
    *terminology.OPERATIONS,
    *validate.OPERATIONS,
    *versions.OPERATIONS,
)
