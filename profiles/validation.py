"""Base validation: does a resource keep the structure of FHIR R4?

Unknown elements, JSON kinds, cardinality, choices, formats and existing dates, ids, required codes,
references, contained resources, narratives, nothing empty. Invariants and profiles are not judged here.
Returns findings and raises nothing: what to do with them is for the interaction to say.

FHIR R4 validation.html
"""

from __future__ import annotations

from typing import Any

from profiles import definitions
from profiles.codes import CodeChecker, Coding, Verdict
from profiles.outcomes import Issue
from profiles.schema.report import Report
from profiles.schema.structure import check_resource

__all__ = ["CodeChecker", "Coding", "Verdict", "validate"]


def validate(resource: dict[str, Any], type: str = "") -> list[Issue]:
    """All findings, at most 200; empty when the resource is sound. With `type`, the resource must be of that
    type, as when it is sent to `[base]/[type]`."""
    found = resource.get("resourceType")
    if type and found != type:
        said = (
            f"a {found}"
            if isinstance(found, str) and found in definitions.resource_types()
            else "no such resource"
        )
        text = f"{said} is here; expected a {type}"
        return [Issue("error", "invalid", "resource-type-mismatch", text, f"{type}.resourceType")]
    report = Report()
    root = found if isinstance(found, str) and found in definitions.resource_types() else "Resource"
    check_resource(resource, (None, root, -1), report)
    return report.issues
