"""How an item is known to be of a slice: discriminators compiled to predicates.

The discriminator's path leads to a branch of the slice; an item is of the slice when what the same path finds
in it keeps what that branch fixes. FHIR R4 profiling.html#discriminator
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from profiles.fhirpath.compiler import compile as compile_path
from profiles.outcomes import Invalid
from profiles.schema.rules.fixed import Fixed, same
from profiles.schema.rules.item import Context, Item, Predicate, Rule
from profiles.schema.rules.pattern import Pattern, contains
from profiles.schema.rules.types import fits
from profiles.schema.snapshot import Branch, expand, known

if TYPE_CHECKING:
    from profiles.schema.compile import Compiler

_STEP = re.compile(r"[^.(]+(?:\([^)]*\))?")


def predicate(compiler: Compiler, slicing: dict[str, Any], slice: Branch, type: str) -> Predicate | None:
    """The test of a slice; None where it cannot be compiled."""
    if slice.name in ("extension", "modifierExtension"):
        return _of_url(slice)
    tests = []
    for discriminator in slicing.get("discriminator") or []:
        test = _test(
            compiler, str(discriminator.get("type")), str(discriminator.get("path", "$this")), slice, type
        )
        if test is None:
            return None
        tests.append(test)
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda item, context: all(test(item, context) for test in tests)


def _of_url(slice: Branch) -> Predicate | None:
    """An extension is known by its URL: its profile's, or the fixed one."""
    types = slice.element.get("type") or [{}]
    urls = [str(url).partition("|")[0] for url in types[0].get("profile", ())]
    child = slice.child("url")
    fixed = child.element.get("fixedUri") if child is not None else None
    if fixed is None and not urls:
        return None
    wanted = frozenset([fixed] if isinstance(fixed, str) else urls)
    return lambda item, context: isinstance(item.value, dict) and item.value.get("url") in wanted


def _test(compiler: Compiler, kind: str, path: str, slice: Branch, type: str) -> Predicate | None:
    branch = branch_at(compiler, slice, path)
    if branch is None:
        return None
    select = _selector(path)
    if select is None:
        return None
    if kind == "exists":
        if branch.element.get("max") == "0":
            return lambda item, context: not select(item, context)
        return lambda item, context: bool(select(item, context))
    if kind == "type":
        types = frozenset(str(one.get("code")) for one in branch.element.get("type", []))
        return lambda item, context: any(fits(one.type, types) for one in select(item, context))
    if kind == "profile":
        rules = compiler.type_rules(branch)
    else:
        rules = compiler.fixing_rules(branch, type if path == "$this" else "")
    if not rules:
        return None
    if len(rules) == 1 and isinstance(rules[0], Pattern | Fixed):
        wanted, fits_value = rules[0].value, contains if isinstance(rules[0], Pattern) else same
        names = path.split(".") if _PLAIN.fullmatch(path) and not _is_choice(branch, path, type) else None
        if path == "$this" or names is not None:
            return lambda item, context: any(
                fits_value(one, wanted) for one in _values(item.value, names or ())
            )
        return lambda item, context: any(fits_value(one.value, wanted) for one in select(item, context))
    return lambda item, context: any(_keeps(one, rules, context) for one in select(item, context))


_PLAIN = re.compile(r"[a-z]\w*(?:\.[a-z]\w*)*")


def _is_choice(branch: Branch, path: str, type: str) -> bool:
    """Whether a step may be a choice, whose JSON names are others."""
    return branch.name.endswith("[x]") or any(step in ("value", "as", "is") for step in path.split("."))


def _values(value: Any, names: Sequence[str]) -> list[Any]:
    """The JSON values that a path of plain names leads to."""
    found = [value]
    for name in names:
        below = [one[name] for one in found if one.__class__ is dict and name in one]
        found = [each for one in below for each in (one if one.__class__ is list else (one,))]
    return found


def _keeps(item: Item, rules: tuple[Rule, ...], context: Context) -> bool:
    asked = context.silent()
    for rule in rules:
        rule.check(item, asked)
        if asked.report.failed:
            return False
    return True


def _selector(path: str) -> Any:
    """What the path finds in an item, as items at the item's own place."""
    if path == "$this":
        return lambda item, context: [item]
    try:
        run = compile_path(path)
    except Invalid:
        return None

    def select(item: Item, context: Context) -> list[Item]:
        try:
            found = run((item.value, item.type, item.sibling), context.environment)
        except Invalid:
            return []
        return [Item(value, type, sibling, item.where) for value, type, sibling in found]

    return select


def branch_at(compiler: Compiler, slice: Branch, path: str) -> Branch | None:
    """The branch that a discriminator's path leads to, expanded on the way."""
    at: Branch | None = slice.copy()
    for step in _STEP.findall(path):
        if at is None:
            return None
        name, _, argument = step.partition("(")
        if step == "$this":
            continue
        if name == "resolve":
            at = _target(compiler, at)
        elif name in ("ofType", "as"):
            at = Branch(at.name, {**at.element, "type": [{"code": argument.rstrip(")")}]}, at.children)
        else:
            expand(at, at, compiler.packages)
            at = _extension(at, argument.rstrip(")").strip("'\"")) if argument else _child(at, name)
    return at


def _child(at: Branch, name: str) -> Branch | None:
    """The child; where the slice lists slices of it (`coding:loinc`), what the first required one fixes."""
    found = at.child(name)
    if found is None:
        return None
    needed = [one for one in found.slices if one.element.get("min")]
    if needed and not found.children and not any(k.startswith(("fixed", "pattern")) for k in found.element):
        return needed[0]
    return found


def _extension(at: Branch, url: str) -> Branch | None:
    whole = at.child("extension")
    for slice in whole.slices if whole is not None else ():
        test = _of_url(slice)
        if test is not None and test(Item({"url": url}, "Extension", None, (None, "", -1)), None):  # type: ignore[arg-type]
            return slice
    return None


def _target(compiler: Compiler, at: Branch) -> Branch | None:
    for type in at.element.get("type", []):
        for url in type.get("targetProfile", []):
            structure = compiler.packages.structure(str(url))
            tree = known(str(url), compiler.packages)
            if structure is not None and tree is not None:
                tree.element = {**tree.element, "type": [{"code": structure["type"], "profile": [url]}]}
                return tree
    return None
