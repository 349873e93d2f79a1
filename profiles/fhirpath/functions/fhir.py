"""FHIR's own functions: extensions, `hasValue`, and `resolve` as far as a reference alone can tell.

`resolve()` never reads a store: a contained resource is found, any other target is a stand-in of the type
that the reference names, so that `resolve() is Patient` can be decided. FHIR R4 fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from profiles import definitions, references
from profiles.fhirpath.functions.calling import Builder, Run, count, plain
from profiles.fhirpath.nodes import Collection, Node, Scope, boolean, children, resource_node
from profiles.fhirpath.syntax import Expression


def _extension(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("extension", arguments, 1, 1)
    url = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        wanted = [node[0] for node in url(focus, scope)]
        return [
            child
            for node in of(focus, scope)
            for child in children(node, "extension")
            if isinstance(child[0], dict) and child[0].get("url") in wanted
        ]

    return run


def _has_extension(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    extension = _extension(of, arguments, build)
    return lambda focus, scope: boolean(bool(extension(focus, scope)))


def _has_value(found: Collection) -> Collection:
    return boolean(len(found) == 1 and found[0][0] is not None and not isinstance(found[0][0], dict))


def _resolve(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("resolve", arguments, 0, 0)

    def run(focus: Collection, scope: Scope) -> Collection:
        targets = (target(node[0], scope.root) for node in of(focus, scope))
        return [node for node in targets if node is not None]

    return run


def target(reference: Any, root: dict[str, Any]) -> Node | None:
    """The node that a Reference (or canonical text) leads to, None when its type cannot be told."""
    text = reference.get("reference") if isinstance(reference, dict) else reference
    stated = reference.get("type") if isinstance(reference, dict) else None
    if isinstance(text, str):
        found = references.parse(text)
        if found.kind == "fragment":
            return _contained(found.id, root)
        if found.type in definitions.resource_types():
            return ({"resourceType": found.type, "id": found.id}, found.type, None)
    if stated in definitions.resource_types():
        return ({"resourceType": stated}, str(stated), None)
    return None


def _contained(id: str, root: dict[str, Any]) -> Node | None:
    if not id:
        return resource_node(root)
    for resource in root.get("contained", ()):
        if resource.get("id") == id:
            return resource_node(resource)
    return None


BUILDERS: Mapping[str, Builder] = {
    "extension": _extension,
    "hasExtension": _has_extension,
    "hasValue": plain(_has_value, "hasValue"),
    "resolve": _resolve,
}
