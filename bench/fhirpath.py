"""How fast FHIRPath is: search expressions and invariants. `python -m bench.fhirpath`.

CPU time of this process, the best of five rounds, on the made-up record of `bench.profiles`. An invariant is
one evaluation of one `constraint.expression` of the standard on one element where it applies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from bench.profiles import best, record
from profiles import definitions
from profiles.fhirpath import compiler, paths
from profiles.fhirpath.nodes import Environment, Node, resource_node
from profiles.fhirpath.steps import all_children
from profiles.schema.packages import standard

Json = dict[str, Any]
TARGETS = {"search_expression_us": 1.5, "invariants_per_ms": 200.0}


@cache
def judges(type: str) -> tuple[compiler.Judge, ...]:
    """The compiled invariants of a type."""
    structure = standard().structure(type) or {"snapshot": {"element": []}}
    return tuple(
        compiler.criterion(row["expression"])
        for element in structure["snapshot"]["element"]
        if element["path"] == type
        for row in element.get("constraint", ())
        if "expression" in row
    )


def elements(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in all_children(node):
        yield from elements(child)


def measure() -> dict[str, float]:
    """The figures by name."""
    resources = record()
    searches = [
        (branch, resource)
        for resource in resources
        for parameter in definitions.search_parameters(resource["resourceType"]).values()
        if parameter.expression
        for branch in (paths.branches(parameter.expression, resource["resourceType"]) or ())
    ]
    work = [
        (judge, node, environment)
        for resource in resources
        for environment in [Environment(resource=resource)]
        for node in elements(resource_node(resource))
        for judge in judges(node[1])
    ]
    search = best(lambda: [branch.values(resource) for branch, resource in searches])
    judged = best(lambda: [judge(node, environment) for judge, node, environment in work])
    return {
        "search_branches": len(searches),
        "search_expression_us": search / len(searches) * 1e6,
        "invariants": len(work),
        "invariants_per_ms": len(work) / judged / 1000,
    }


if __name__ == "__main__":
    print(json.dumps({"figures": measure(), "targets": TARGETS}, indent=1))
