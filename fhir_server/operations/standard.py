"""The standard's own operations that are offered here; the télédossier's are with it."""

from __future__ import annotations

from fhir_server.operations import export, importing, meta, terminology, validate, versions
from fhir_server.operations.registry import Operation

STANDARD: tuple[Operation, ...] = (
    *export.OPERATIONS,
    *importing.OPERATIONS,
    *meta.OPERATIONS,
    *terminology.OPERATIONS,
    *validate.OPERATIONS,
    *versions.OPERATIONS,
)
