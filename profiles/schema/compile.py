"""A profile → a tree of small rules: what it asks beyond the base type, and nothing else.

`Profiles` compiles each profile when first asked for and keeps it. What cannot be compiled becomes a warning
at its element; the rest of the profile is judged. FHIR R4 profiling.html; elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from profiles import definitions
from profiles.fhirpath.compiler import criterion
from profiles.fhirpath.parser import parse
from profiles.outcomes import Invalid, Severity
from profiles.schema import messages
from profiles.schema.discriminate import predicate
from profiles.schema.packages import Packages
from profiles.schema.report import Message, Where
from profiles.schema.rules.binding import SEVERITY, Binding
from profiles.schema.rules.conforms import Conforms
from profiles.schema.rules.element import ElementRule, beyond
from profiles.schema.rules.fixed import Fixed
from profiles.schema.rules.invariant import Invariant
from profiles.schema.rules.item import Context, Item, Members, Rule
from profiles.schema.rules.length import Length
from profiles.schema.rules.limits import Limit
from profiles.schema.rules.pattern import Pattern
from profiles.schema.rules.reference import Targets
from profiles.schema.rules.slicing import Slice, Slicing
from profiles.schema.rules.types import Types
from profiles.schema.snapshot import Branch, snapshot

Json = dict[str, Any]
CORE = "http://hl7.org/fhir/StructureDefinition/"
JUDGED_ELSEWHERE = frozenset(
    {"ele-1", "ext-1", "dom-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "ref-1", "txt-1", "txt-2"}
)
"""Invariants that the base check judges in one pass, and dom-6, which recommends a narrative."""
ERRATA = {
    "que-7": "operator = 'exists' implies (answer is boolean)",
    "que-12": "enableWhen.count() < 2 or enableBehavior.exists()",
    "bdl-8": "fullUrl.empty() or fullUrl.contains('/_history/').not()",
    "ras-2": "probability.empty() or (probability is decimal implies (probability as decimal) <= 100)",
}
"""R4 invariants whose expression does not say what their text says: one names FHIRPath's type for FHIR's, one
counts wrongly, two are empty, which is not true, where there is nothing to judge."""
_ROOTS = "element.where(path.contains('.').not())"
_BARE = "all(label.empty() and code.empty() and requirements.empty())"
CHEAPER = {
    "sdf-9": f"snapshot.{_ROOTS}.{_BARE} and differential.{_ROOTS}.{_BARE}",
    "sdf-23": f"snapshot.{_ROOTS}.sliceName.empty() and differential.{_ROOTS}.sliceName.empty()",
}
"""The same invariants, said without comparing a whole snapshot to a whole differential."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A compiled profile. `warnings` are what could not be compiled."""

    url: str
    type: str
    rules: tuple[Rule, ...]
    warnings: tuple[tuple[str, Message], ...] = ()

    def suits(self, type: str) -> bool:
        """Whether the profile is of this type, or of one that it specialises."""
        return definitions.is_kind_of(type, self.type)

    def check(self, item: Item, context: Context) -> None:
        for path, message in self.warnings:
            context.report.note(_below(item.where, path), message)
        for rule in self.rules:
            rule.check(item, context)


def _below(where: Where, path: str) -> Where:
    for step in path.split(".")[1:]:
        where = (where, step, -1)
    return where


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension's definition: whether it modifies, its compiled profile, and where it may stand, by the
    names of its holder, as far as that has been asked."""

    structure: Json
    modifies: bool
    profile: Profile | None
    allowed: dict[tuple[str, ...], bool] = field(default_factory=dict)


@dataclass(slots=True)
class Profiles:
    """Compiled profiles by URL, over a set of packages."""

    packages: Packages
    _compiled: dict[str, Profile | None] = field(default_factory=dict)
    _extensions: dict[str, Extension] = field(default_factory=dict)

    def get(self, canonical: str) -> Profile | None:
        """The compiled profile; None when it, or its base, is not known here."""
        url = canonical.partition("|")[0]
        if url in self._compiled:
            return self._compiled[url]
        structure = self.packages.structure(url)
        if structure is None:
            return None  # and not kept: anybody may name any URL
        made = self._compiled[url] = Compiler(self.packages, structure).profile()
        return made

    def extension(self, url: str) -> Extension | None:
        """What is known of an extension; None when no package defines it."""
        if url in self._extensions:
            return self._extensions[url]
        structure = self.packages.structure(url)
        if structure is None:
            return None
        profile = self.get(url)
        elements = (structure.get("snapshot") or structure.get("differential") or {}).get("element") or [{}]
        made = self._extensions[url] = Extension(
            structure,
            elements[0].get("isModifier") is True,
            profile if profile is not None and profile.suits("Extension") else None,
        )
        return made


class Compiler:
    """Compiles one StructureDefinition."""

    def __init__(self, packages: Packages, structure: Json, depth: int = 0) -> None:
        """`depth`: how many extensions of extensions led here."""
        self.packages = packages
        self.depth = depth
        self.structure = structure
        self.url = str(structure.get("url", ""))
        self.name = self.url.rpartition("/")[2] if self.url.startswith(CORE) else self.url
        self.warnings: list[tuple[str, Message]] = []
        self.is_core_type = structure.get("derivation") != "constraint"

    def profile(self) -> Profile | None:
        """None where there is no snapshot and no base to make it from."""
        tree = snapshot(self.structure, self.packages)
        if tree is None:
            return None
        type = str(self.structure.get("type", tree.name))
        self.warnings += [(type, messages.unjudged(*problem.split(": ", 1))) for problem in tree.problems]
        if self.is_core_type:
            return Profile(self.url, type, ())  # the base check judges the standard's own types
        if type == "Extension":  # which is found by its URL: that needs no rule
            tree.children = [one for one in tree.children if one.element.get("fixedUri") != self.url]
        rules = (*self._invariants(tree), *self._children(tree, type))
        return Profile(self.url, type, rules, tuple(self.warnings))

    def _children(self, branch: Branch, type: str) -> Iterable[Rule]:
        """Rules of what is below an element of that type key."""
        key = "Element" if type in definitions.primitives() else type
        for child in branch.children:
            rule = self._element(child, key)
            if rule is not None:
                yield rule

    def _element(self, branch: Branch, above: str) -> ElementRule | None:
        name = branch.name.removesuffix("[x]")
        properties = definitions.properties(above)
        members, of_element = [], None
        for member, (element, type) in properties.items():
            if element.name == name:
                step = f"{name}.ofType({type})" if element.choice else name
                members.append((member, type, step))
                of_element = element
        if of_element is None:
            return None
        least, most = _counts(branch.element)
        allowed = self._allowed(branch, [type for _member, type, _step in members])
        rules: list[Rule] = []
        if len(allowed) < len(members):
            rules.append(Types(allowed, messages.types(allowed, self.name)))
        type = next((t for _m, t, _s in members if t in allowed), members[0][1])
        rules += self.item_rules(branch, type, above)
        slicing = self._slicing(branch, type, above)
        same_count = least <= of_element.min and (most is None or most == of_element.max)
        if same_count and not rules and slicing is None:
            return None
        few, many = messages.too_few(least, name, self.name), messages.too_many(most or 0, name, self.name)
        return ElementRule(name, Members(members), least, most, few, many, tuple(rules), slicing)

    def _allowed(self, branch: Branch, keys: list[str]) -> frozenset[str]:
        """Of an element's type keys, those that the profile leaves."""
        if len(keys) == 1:
            return frozenset(keys)
        codes = {str(type.get("code")) for type in branch.element.get("type", [])}
        return frozenset(key for key in keys if key in codes) or frozenset(keys)

    def item_rules(self, branch: Branch, type: str, above: str) -> tuple[Rule, ...]:
        """Everything that one item must keep. `above` is the type key that the element is of."""
        rules = [*self._values(branch), *self.type_rules(branch)]
        binding = self._binding(branch, above)
        if binding is not None:
            rules.append(binding)
        below = tuple(self._children(branch, type))
        return (*rules, *self._invariants(branch), *beyond(below, self._of_extension(branch)))

    def _of_extension(self, branch: Branch) -> tuple[Rule, ...]:
        """The rules of an extension's own definition: the base check judges every extension by it."""
        types = branch.element.get("type") or [{}]
        is_extension = branch.name in ("extension", "modifierExtension")
        urls: list[Any] = types[0].get("profile") or []
        structure = self.packages.structure(str(urls[0])) if is_extension and len(urls) == 1 else None
        if structure is None or structure.get("url") == self.url or self.depth > 1:
            return ()
        made = Compiler(self.packages, structure, self.depth + 1).profile()
        return made.rules if made is not None else ()

    def fixing_rules(self, branch: Branch, type: str) -> tuple[Rule, ...]:
        """What makes an item known as one of a slice: fixed values, patterns, a required binding, or such
        below it."""
        rules = [rule for rule in self._values(branch) if isinstance(rule, Fixed | Pattern)]
        if rules:
            return tuple(rules)
        binding = self._binding(branch, "")
        if binding is not None and binding.strength == "required":
            return (binding,)
        of_types = [str(one.get("code")) for one in branch.element.get("type", [])]
        return tuple(self._children(branch, type or (of_types[0] if of_types else "")))

    def _values(self, branch: Branch) -> Iterable[Rule]:
        for key, value in branch.element.items():
            if key.startswith("fixed"):
                yield Fixed(value, messages.fixed(value, self.name))
            elif key.startswith("pattern"):
                yield Pattern(value, messages.pattern(value, self.name))
            elif key.startswith("minValue"):
                yield Limit(value, 1, messages.limit(value, 1, self.name))
            elif key.startswith("maxValue"):
                yield Limit(value, -1, messages.limit(value, -1, self.name))
            elif key == "maxLength" and isinstance(value, int):
                yield Length(value, messages.length(value, self.name))

    def type_rules(self, branch: Branch) -> tuple[Rule, ...]:
        """Profiles of the types, and targets of references."""
        types = branch.element.get("type") or []
        rules: list[Rule] = []
        urls = tuple(str(url) for type in types for url in type.get("profile", ()))
        unknown = [url for url in urls if self.packages.structure(url) is None]
        is_extension = branch.name in ("extension", "modifierExtension")  # the base check judges those
        if unknown and not is_extension:
            path = str(branch.element.get("path", branch.name))
            self.warnings += [(path, messages.unknown_profile(url)) for url in unknown]
        if urls and all("profile" in type for type in types) and not is_extension:
            rules.append(Conforms(urls, messages.conforms(urls, self.name)))
        targets = [
            str(url)
            for type in types
            for url in type.get("targetProfile", ())
            if type.get("code") == "Reference"
        ]
        structures = [self.packages.structure(url) for url in targets]
        names = frozenset(str(one["type"]) for one in structures if one is not None)
        if targets and None not in structures and not names & definitions.ABSTRACT:
            rules.append(Targets(names, messages.targets(names, self.name)))
        return tuple(rules)

    def _binding(self, branch: Branch, above: str) -> Binding | None:
        """What it is bound to beyond its own type, whose bindings the base check judges. `above` is the type
        key that the element is of, "" where that does not matter."""
        found = branch.element.get("binding") or {}
        value_set, strength = found.get("valueSet"), found.get("strength")
        if not isinstance(value_set, str) or strength not in SEVERITY:
            return None
        same = (
            self.packages.bindings(above.partition(".")[0]).get(f"{above}.{branch.name}") if above else None
        )
        if (
            same is not None
            and same[0] == strength
            and same[1].partition("|")[0] == value_set.partition("|")[0]
        ):
            return None
        return Binding(strength, value_set)

    def _invariants(self, branch: Branch) -> Iterable[Rule]:
        for row in branch.element.get("constraint") or []:
            key, expression = str(row.get("key", "")), row.get("expression")
            if key in JUDGED_ELSEWHERE or not isinstance(expression, str) or self._of_base(branch, key):
                continue
            rule = invariant(row)
            if isinstance(rule, Message):
                self.warnings.append((str(branch.element.get("path", "")), rule))
            else:
                yield rule

    def _of_base(self, branch: Branch, key: str) -> bool:
        """Whether the standard's own type has this invariant there: the base check judges it."""
        path = str(branch.element.get("path", ""))
        base = self.packages.structure(path.partition(".")[0])
        if base is None:
            return False
        for element in (base.get("snapshot") or {}).get("element", ()):
            if element["path"] == path:
                return any(row.get("key") == key for row in element.get("constraint", ()))
        return False

    def _slicing(self, branch: Branch, type: str, above: str) -> Slicing | None:
        if not branch.slices:
            return None
        slicing = branch.element.get("slicing") or {}
        if not slicing and branch.name.endswith("[x]"):
            slicing = {"discriminator": [{"type": "type", "path": "$this"}], "rules": "open"}
        step = branch.name.removesuffix("[x]")
        given = self.item_rules(branch, type, above)
        slices = tuple(self._slice(one, slicing, type, above, given) for one in branch.slices)
        names = [one.name for one in slices]
        return Slicing(
            slices,
            str(slicing.get("rules", "open")),
            slicing.get("ordered") is True,
            messages.closed(step, names, self.name),
            messages.at_end(step, self.name),
            messages.order(step, self.name),
        )

    def _slice(self, branch: Branch, slicing: Json, type: str, above: str, given: tuple[Rule, ...]) -> Slice:
        """`given` are the rules of the whole element, which each item has to keep anyway."""
        name = str(branch.element.get("sliceName", ""))
        codes = [str(one.get("code")) for one in branch.element.get("type", [])]
        if branch.name.endswith("[x]") and len(codes) == 1:
            type = codes[0]
        matches = predicate(self, slicing, branch, type)
        if matches is None:
            path = str(branch.element.get("path", branch.name))
            self.warnings.append(
                (
                    path,
                    messages.unjudged(f"the slice {name}", "its discriminator fixes nothing that is known"),
                )
            )
        least, most = _counts(branch.element)
        of = f"{branch.name.removesuffix('[x]')}:{name}"
        return Slice(
            name,
            matches,
            least,
            most,
            messages.too_few(least, of, self.name),
            messages.too_many(most or 0, of, self.name),
            beyond(self.item_rules(branch, type, above), given) if matches is not None else (),
            self._slicing(branch, type, above),
        )


def invariant(row: Json) -> Invariant | Message:
    """The rule of a constraint, or the warning that it cannot be compiled."""
    key = str(row.get("key", ""))
    expression = {**ERRATA, **CHEAPER}.get(key, str(row["expression"]))
    try:
        tree, judge = parse(expression), criterion(expression)
    except Invalid as error:
        return messages.unjudged(key, str(error))
    severity: Severity = "warning" if row.get("severity") == "warning" else "error"
    human = str(row.get("human", ""))
    return Invariant(
        tree,
        judge,
        messages.invariant(key, human, _in_french(row) or human, severity),
        messages.unjudged(key, "its expression does not fit this content"),
    )


def _in_french(row: Json) -> str:
    """What a constraint says in French, "" when it is not translated. FHIR R4 extension-translation.html"""
    for one in (row.get("_human") or {}).get("extension", ()):
        parts = {part.get("url"): part for part in one.get("extension", ())}
        if str(parts.get("lang", {}).get("valueCode", "")).startswith("fr"):
            return str(parts.get("content", {}).get("valueString", ""))
    return ""


def _counts(element: Json) -> tuple[int, int | None]:
    least, most = element.get("min", 0), str(element.get("max", "*"))
    return (least if isinstance(least, int) else 0), (int(most) if most.isdigit() else None)
