"""The standard's own operations that are offered here; the télédossier's are with it."""

from __future__ import annotations

from fhir_server.operations import (
    everything,
    export,
    graphql,
    importing,
    meta,
    reindexing,
    terminology,
    validate,
    versions,
)
from fhir_server.operations.registry import Operation

STANDARD: tuple[Operation, ...] = (
    *everything.OPERATIONS,
    *export.OPERATIONS,
    *graphql.OPERATIONS,
    *importing.OPERATIONS,
    *meta.OPERATIONS,
    *reindexing.OPERATIONS,
    *terminology.OPERATIONS,
    *validate.OPERATIONS,
    *versions.OPERATIONS,
)
