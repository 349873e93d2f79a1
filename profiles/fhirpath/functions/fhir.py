"""FHIR's own functions: extensions, values, references, conformance.

`resolve()` asks the environment. Without one that resolves, a contained resource is found and any other
target is a stand-in of the type that the reference names, so that `resolve() is Patient` can be decided.

FHIR R4 fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from profiles import definitions, references
from profiles.fhirpath.functions.calling import (
    Builder,
    Compile,
    Run,
    Test,
    TestBuilder,
    argument,
    count,
    plain,
    plain_test,
    valued,
    valued_test,
)
from profiles.fhirpath.nodes import Collection, Node, Scope, resource_node
from profiles.fhirpath.steps import child as step_to
from profiles.fhirpath.steps import children
from profiles.fhirpath.syntax import Expression
from profiles.fhirpath.values import single, value_of
from profiles.outcomes import Invalid
from profiles.schema.narrative import is_narrative


def _extension(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    count("extension", arguments, 1, 1)
    url, extensions = compile.run(arguments[0]), step_to("extension")

    def run(focus: Collection, scope: Scope) -> Collection:
        wanted = [node[0] for node in url(focus, scope)]
        return [
            child
            for node in of(focus, scope)
            for child in extensions(node)
            if isinstance(child[0], dict) and child[0].get("url") in wanted
        ]

    return run


def _has_extension(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
    extension = _extension(of, arguments, compile)
    return lambda focus, scope: bool(extension(focus, scope))


def _has_value(found: Collection) -> bool:
    return len(found) == 1 and found[0][0] is not None and not isinstance(found[0][0], dict)


def _get_value(found: Collection) -> Collection:
    """A FHIR primitive as a value of FHIRPath's own."""
    if len(found) != 1 or found[0][0] is None or isinstance(found[0][0], dict):
        return []
    kind, _of = value_of(found[0])
    return [(found[0][0], "System." + kind, None)] if kind else []


def _resolve(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    count("resolve", arguments, 0, 0)

    def run(focus: Collection, scope: Scope) -> Collection:
        look = scope.evaluation.environment.resolve
        if look is None:
            targets = (target(node[0], scope.evaluation.root) for node in of(focus, scope))
            return [node for node in targets if node is not None]
        return [found for node in of(focus, scope) for found in _looked_up(node[0], scope, look)]

    return run


def _looked_up(reference: Any, scope: Scope, look: Callable[[str], dict[str, Any] | None]) -> Collection:
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if not isinstance(text, str):
        return []
    scope.evaluation.spend(10)
    if text.startswith("#"):
        node = _contained(text[1:], scope.evaluation.root)
        return [] if node is None else [node]
    found = look(text)
    return [] if found is None else [resource_node(found)]


def _conforms_to(found: Collection, arguments: list[Collection], scope: Scope) -> bool | None:
    """By type for FHIR's own structures, else as the environment judges. Raises Invalid for a profile that
    nobody here knows."""
    node, url = single(found), argument(arguments[0]).of
    if node is None or not isinstance(url, str):
        return None
    name = url.removeprefix(definitions.FHIR_STRUCTURE)
    if name != url and definitions.is_type(name) and not definitions.is_kind_of(node[1], name):
        return False
    ask = scope.evaluation.environment.conforms_to
    scope.evaluation.spend(100)
    if ask is not None and isinstance(node[0], dict):
        answer = ask(node[0], url)
        if answer is not None:
            return answer
    if name != url and definitions.is_type(name):
        return True
    raise Invalid("fhirpath-unknown-profile", "FHIRPath conformsTo() names a profile that is not known here")


def _html_checks(found: Collection) -> bool | None:
    """Empty for what is no text."""
    texts = [node[0] for node in found if isinstance(node[0], str)]
    return all(map(is_narrative, texts)) if texts and len(texts) == len(found) else None


def _check_modifiers(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    known = {argument(item).of for item in arguments}
    for node in found:
        for extension in children(node, "modifierExtension"):
            if not isinstance(extension[0], dict) or extension[0].get("url") not in known:
                raise Invalid("fhirpath-modifier", "FHIRPath checkModifiers() met a modifier not named")
    return found


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
    if isinstance(stated, str) and stated in definitions.resource_types():
        return ({"resourceType": stated}, stated, None)
    return None


def _contained(id: str, root: dict[str, Any]) -> Node | None:
    if not id:
        return resource_node(root)
    contained = root.get("contained")
    for resource in contained if isinstance(contained, list) else ():
        if isinstance(resource, dict) and resource.get("id") == id:
            return resource_node(resource)
    return None


BUILDERS: Mapping[str, Builder] = {
    "extension": _extension,
    "getValue": plain(_get_value, "getValue"),
    "resolve": _resolve,
    "checkModifiers": valued("checkModifiers", 0, 20, _check_modifiers),
}
TESTS: Mapping[str, TestBuilder] = {
    "hasExtension": _has_extension,
    "hasValue": plain_test("hasValue", _has_value),
    "conformsTo": valued_test("conformsTo", 1, 1, _conforms_to),
    "htmlChecks": plain_test("htmlChecks", _html_checks),
}
