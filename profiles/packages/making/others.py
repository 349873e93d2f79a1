"""Search parameters, operations, topics, and what a télédossier server can do.

FHIR R4 searchparameter.html; operationdefinition.html; capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Iterator

from profiles.packages.making.common import Json, computable, head, source


def search_parameters() -> Iterator[Json]:
    """The id says what it is for: `Task-assignee` is the parameter `assignee` of Task."""
    for id, entry in source("search_parameters").items():
        base, _, code = id.partition("-")
        made = head("SearchParameter", id, "", entry["description"])
        made |= {"name": computable(id), "code": code, "base": [base], "type": entry["type"]}
        made |= {"expression": entry["expression"]}
        if "targets" in entry:
            made["target"] = entry["targets"]
        yield made
