"""FHIRPath N1 §5.3 Subsetting."""

from __future__ import annotations

from collections.abc import Mapping

from profiles.fhirpath.functions.calling import Builder, plain
from profiles.fhirpath.nodes import Collection
from profiles.outcomes import Invalid


def _single(found: Collection) -> Collection:
    if len(found) > 1:
        raise Invalid("fhirpath-single", "FHIRPath single() met several items")
    return found


BUILDERS: Mapping[str, Builder] = {
    "first": plain(lambda found: found[:1], "first"),
    "last": plain(lambda found: found[-1:], "last"),
    "tail": plain(lambda found: found[1:], "tail"),
    "single": plain(_single, "single"),
}
