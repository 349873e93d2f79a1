"""A StructureDefinition → its snapshot as a tree of branches, from the differential where none is given.

A branch is one element with what is below it: children, and slices of the same element. A differential is
laid over a copy of the base's tree; children that the base does not spell out come from the type, its
profile, or the element that a content reference names.

FHIR R4 profiling.html#snapshot; elementdefinition.html#id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from profiles import definitions
from profiles.schema.packages import Packages

Json = dict[str, Any]
MAX_BASES = 20
MAX_STEPS = 100
URL_SLICING = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open", "ordered": False}
TYPE_SLICING = {"discriminator": [{"type": "type", "path": "$this"}], "rules": "open", "ordered": False}


@dataclass(slots=True)
class Branch:
    """One element. `name` is its last step as in the path (`value[x]`); `problems`, at a root, are what the
    differential says that its base does not allow."""

    name: str
    element: Json
    children: list[Branch] = field(default_factory=list)
    slices: list[Branch] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def child(self, name: str) -> Branch | None:
        """The child of that name, `[x]` or not."""
        return next((one for one in self.children if one.name in (name, name + "[x]")), None)

    def slice(self, name: str) -> Branch | None:
        """The slice of that name."""
        return next((one for one in self.slices if one.element.get("sliceName") == name), None)

    def bare(self) -> Branch:
        """A copy without what content references have been expanded to: copies of those would double with
        every level of a recursive element."""
        if "contentReference" in self.element:
            return Branch(self.name, dict(self.element))
        children = [one.bare() for one in self.children]
        return Branch(self.name, dict(self.element), children, [one.bare() for one in self.slices])

    def copy(self) -> Branch:
        """A copy that can be changed; element contents are never changed in place."""
        return Branch(
            self.name,
            dict(self.element),
            [one.copy() for one in self.children],
            [one.copy() for one in self.slices],
            list(self.problems),
        )


def snapshot(structure: Json, packages: Packages, above: frozenset[str] = frozenset()) -> Branch | None:
    """The tree of a StructureDefinition; None where its base is not known or goes round in a circle. `above`
    are the URLs of those that are being made."""
    given = (structure.get("snapshot") or {}).get("element")
    if given:
        return parse(given)
    above |= {str(structure.get("url", ""))}
    root = known(str(structure.get("baseDefinition", "")), packages, above)
    if root is None:
        return None
    root.name = str(structure.get("type", root.name))
    growth = _Growth(root, packages, above, structure.get("derivation") == "specialization")
    for id, element in _identified((structure.get("differential") or {}).get("element") or []):
        growth.lay(id, element)
    return root


def known(canonical: str, packages: Packages, above: frozenset[str] = frozenset()) -> Branch | None:
    """The tree of a definition of the packages, to be changed at will: each is made once. None for one that
    is not known, or that is being made."""
    structure = packages.structure(canonical)
    if structure is None:
        return None
    url = str(structure.get("url", ""))
    made = packages.trees.get(url)
    if made is None:
        if url in above or len(above) > MAX_BASES:
            return None
        made = snapshot(structure, packages, above)
        if made is None:
            return None
        packages.trees[url] = made
    return made.copy()


def parse(elements: list[Json]) -> Branch:
    """A snapshot's elements as a tree."""
    known: dict[str, Branch] = {}
    root: Branch | None = None
    for id, element in _identified(elements):
        above, _, last = id.rpartition(".")
        name, _, slice = last.partition(":")
        branch = Branch(name, dict(element))
        known[id] = branch
        if root is None:
            root = branch
            continue
        parent = known.get(above, root)
        whole = known.get(f"{above}.{name}") if slice else None
        outer = known.get(f"{above}.{name}:{slice.rpartition('/')[0]}") if "/" in slice else whole
        if slice and (outer or whole) is not None:
            (outer or whole or parent).slices.append(branch)
        else:
            parent.children.append(branch)
    return root if root is not None else Branch("", {})


def _identified(elements: list[Json]) -> Iterator[tuple[str, Json]]:
    """Elements with their ids; one that has none gets it from path and slice name."""
    latest: dict[str, str] = {}
    for element in elements:
        path = str(element.get("path", ""))
        above, _, last = path.rpartition(".")
        id = element.get("id")
        if not isinstance(id, str) or not _agree(id, path):
            slice = element.get("sliceName")
            id = (f"{latest.get(above, above)}." if above else "") + last + (f":{slice}" if slice else "")
        latest[path] = id
        yield id, element


def _agree(id: str, path: str) -> bool:
    """Whether an id is of that path; `value[x]:valueQuantity` is `valueQuantity` or `value[x]`. The path
    counts, an id may be anything."""
    names, steps = [part.split(":")[0] for part in id.split(".")], path.split(".")
    if len(names) != len(steps):
        return False
    return all(
        name == step or (name.endswith("[x]") and step.startswith(name[:-3]))
        for name, step in zip(names, steps, strict=True)
    )


class _Growth:
    """Lays a differential over a tree."""

    def __init__(self, root: Branch, packages: Packages, above: frozenset[str], is_new_type: bool) -> None:
        self.root = root
        self.packages = packages
        self.above = above
        self.is_new_type = is_new_type

    def lay(self, id: str, element: Json) -> None:
        if id.count(".") > MAX_STEPS:
            self.root.problems.append(f"{id[:60]}: it lies deeper than {MAX_STEPS} steps")
            return
        at = self.root
        for segment in id.split(".")[1:]:
            name, _, slice = segment.partition(":")
            below = self._child(at, name)
            if below is None:
                self.root.problems.append(f"{id}: its base has no such element")
                return
            at, implied = below
            for part in _reslices(slice or implied):
                at = self._slice(at, part)
        if self.is_new_type or at.element.get("sliceName"):
            merge(at.element, element)
            return
        self.root.problems += [f"{id}: {problem}" for problem in widened(at.element, element)]
        merge(at.element, element)

    def _child(self, at: Branch, name: str) -> tuple[Branch, str] | None:
        """The child of that name, and the slice that `valueQuantity` means on `value[x]`."""
        expand(at, self.root, self.packages, self.above)
        found = at.child(name.removesuffix("[x]"))
        if found is not None:
            return found, ""
        for choice in at.children:
            stem = choice.name.removesuffix("[x]")
            if choice.name.endswith("[x]") and name.startswith(stem):
                codes = [str(type.get("code")) for type in choice.element.get("type", [])]
                if any(name == stem + code[:1].upper() + code[1:] for code in codes):
                    return choice, name
        if not self.is_new_type:
            return None
        made = Branch(name, {})
        at.children.append(made)
        return made, ""

    def _slice(self, at: Branch, name: str) -> Branch:
        found = at.slice(name)
        if found is not None:
            return found
        made = Branch(at.name, {k: v for k, v in at.element.items() if k != "slicing"})
        made.children = [one.copy() for one in at.children]
        made.element.update(sliceName=name, min=0)
        stem = at.name.removesuffix("[x]")
        if at.name.endswith("[x]"):
            made.element["type"] = [
                type
                for type in at.element.get("type", [])
                if name == stem + str(type.get("code"))[:1].upper() + str(type.get("code"))[1:]
            ] or at.element.get("type", [])
            at.element.setdefault("slicing", TYPE_SLICING)
        elif stem in ("extension", "modifierExtension"):
            at.element.setdefault("slicing", URL_SLICING)
        at.slices.append(made)
        return made


def _reslices(slice: str) -> Iterator[str]:
    """`a/b` → `a`, then `a/b`."""
    parts = slice.split("/") if slice else []
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


def widened(base: Json, over: Json) -> Iterator[str]:
    """What a differential allows and its base does not. FHIR R4 profiling.html#cardinality"""
    least, most, allowed = over.get("min"), over.get("max"), str(base.get("max", "*"))
    if isinstance(least, int) and least < base.get("min", 0):
        yield f"min {least} is less than the base's {base['min']}"
    if isinstance(most, str) and allowed.isdigit() and (not most.isdigit() or int(most) > int(allowed)):
        yield f"max {most[:9]} is more than the base's {allowed}"
    if isinstance(least, int) and isinstance(most, str) and most.isdigit() and least > int(most):
        yield f"min {least} is more than max {most[:9]}"
    codes = {str(one.get("code")) for one in base.get("type", ())}
    if not codes or any(code.startswith("http://hl7.org/fhirpath/") for code in codes):
        return  # an id's or URL's type is named in an extension
    for type in over.get("type", ()):
        code = str(type.get("code"))
        if not any(definitions.is_kind_of(code, one) for one in codes):
            yield f"its base does not allow the type {code[:64]}"


def merge(element: Json, over: Json) -> None:
    """A differential's element over the base's: what it says replaces, but invariants add up."""
    constraints = element.get("constraint", [])
    for key, value in over.items():
        if key in ("id", "path"):
            continue
        if key.startswith(("fixed", "pattern")):
            for old in [k for k in element if k.startswith(("fixed", "pattern"))]:
                del element[old]
        element[key] = {**element.get(key, {}), **value} if key in ("slicing", "binding") else value
    if over.get("constraint"):
        keys = {row.get("key") for row in over["constraint"]}
        element["constraint"] = [row for row in constraints if row.get("key") not in keys] + over[
            "constraint"
        ]


def expand(at: Branch, root: Branch, packages: Packages, above: frozenset[str] = frozenset()) -> None:
    """Children of a branch that has none: those of its type, profile or content reference."""
    if at.children:
        return
    reference = at.element.get("contentReference")
    if isinstance(reference, str):
        target = find(root, reference.rpartition("#")[2])
        if target is not None:
            at.children = [one.bare() for one in target.children]
        return
    types = at.element.get("type") or []
    codes = {str(type.get("code")) for type in types}
    names = [*(types[0].get("profile", ()) if len(types) == 1 else ())]
    names += [code if len(codes) == 1 else "Element" for code in codes][:1]
    for name in names:
        if name.startswith("http://hl7.org/fhirpath/"):
            name = "Element"
        tree = known(name, packages, above)
        if tree is not None:
            at.children = tree.children
            return


def find(root: Branch, id: str) -> Branch | None:
    """The branch of an element id such as `Questionnaire.item`, without slices."""
    at: Branch | None = root
    for name in id.split(".")[1:]:
        at = at.child(name.partition(":")[0]) if at is not None else None
    return at
