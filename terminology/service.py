"""What a code is, and which codes a value set has: the questions of a terminology service, in process.

A `Terminology` is a `CodeChecker` (profiles.codes) over a library of packages and resources. Code systems and
value sets are compiled when first asked for, and kept: once warm, a code is judged in a few microseconds.
Nothing here waits, and nothing raises for a code, system or value set that is not known.

FHIR R4 terminology-service.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from profiles.codes import Coding, Verdict
from terminology.code_systems.builtin import builtin
from terminology.code_systems.concept import Concept, System
from terminology.code_systems.listed import Listed
from terminology.library import Library, Overlay
from terminology.library import standard as standard_library
from terminology.value_sets.compile import Compiler
from terminology.value_sets.filters import CannotJudge
from terminology.value_sets.value_set import Member, ValueSet

Json = dict[str, Any]
Relation = Literal["equivalent", "subsumes", "subsumed-by", "not-subsumed"]
_IMPLICIT = {"http://snomed.info/sct": "?fhir_vs", "http://loinc.org": "/vs"}
"""Code systems with value sets that have an address and no resource."""


@dataclass(frozen=True, slots=True)
class Terminology:
    """`Terminology(library)`. What it compiled is kept for as long as it lives. `below`: the one whose code
    systems it shares, all that its own library does not replace."""

    library: Library
    below: Terminology | None = field(default=None, repr=False)
    _systems: dict[str, System | None] = field(default_factory=dict, repr=False)
    _value_sets: dict[str, ValueSet | None] = field(default_factory=dict, repr=False)

    # what there is

    def system(self, canonical: str) -> System | None:
        """A loaded code system; None for one that is not, or of which only the name is known."""
        if canonical not in self._systems:
            self._systems[canonical] = self._load_system(canonical)
        return self._systems[canonical]

    def overlaid(self, overlay: Overlay, whole: Mapping[str, str] | None = None) -> Terminology:
        """The same, under more resources; `whole` as of `Library`."""
        return Terminology(self.library.overlaid(overlay, whole), self)

    def _load_system(self, canonical: str) -> System | None:
        if self.below is not None and not self.library.overlays("CodeSystem", canonical):
            return self.below.system(canonical)
        resource = self.library.find("CodeSystem", canonical)
        if resource is None or resource.get("content") == "supplement":
            return builtin(canonical.partition("|")[0])
        if resource.get("content") == "not-present":
            return builtin(canonical.partition("|")[0])
        return Listed(resource)

    def value_set(self, canonical: str) -> ValueSet | None:
        """A compiled value set; None where there is none."""
        if canonical not in self._value_sets:
            resource = self._value_set_resource(canonical)
            self._value_sets[canonical] = None if resource is None else self.compiled(resource)
        return self._value_sets[canonical]

    def compiled(self, resource: Json) -> ValueSet:
        """A value set that someone sends along. Nothing is kept of it."""
        return Compiler(self.system, self._value_set_resource).compile(resource)

    def _value_set_resource(self, canonical: str) -> Json | None:
        found = self.library.find("ValueSet", canonical)
        if found is not None:
            return found
        bare = canonical.partition("|")[0]
        whole = self.library.whole_system(bare)
        for system, mark in _IMPLICIT.items():
            if bare.startswith(system + mark):
                return {"url": bare, "compose": {"include": [{"system": system, "filter": [{}]}]}}
        return None if whole is None else {"url": bare, "compose": {"include": [{"system": whole}]}}

    # the CodeChecker

    def validate_code(self, value_set: str, system: str | None, code: str, display: str | None) -> Verdict:
        """FHIR R4 valueset-operation-validate-code.html"""
        found = self.value_set(value_set)
        if found is None:
            return Verdict("unknown", f"the value set {value_set} is not known here", system)
        return self.judge(found, system, code, display)

    def judge(self, value_set: ValueSet, system: str | None, code: str, display: str | None) -> Verdict:
        """As `validate_code`, of a compiled one."""
        unsure = False
        for each in value_set.systems if system is None else (system,):
            answer = value_set.has(each, code)
            if answer:
                return _member(value_set.member(each, code), display)
            unsure = unsure or answer is None
        if unsure:
            missing = value_set.missing(system)
            why = "; ".join(value_set.problems()) or f"{', '.join(missing)} is not loaded here"
            text = f"the code cannot be judged against {value_set.url or 'the value set'}: {why}"
            return Verdict("unknown", text, system, unknown_systems=missing)
        return Verdict("no", f"the code is not in {value_set.url or 'the value set'}", system)

    def expand(self, value_set: str, *, limit: int) -> tuple[Coding, ...] | None:
        """FHIR R4 valueset-operation-expand.html"""
        found = self.value_set(value_set)
        if found is None:
            return None
        try:
            return tuple(Coding(m.system, m.code, m.display) for m in islice(found.members(), limit))
        except CannotJudge:
            return None

    def subsumed(self, system: str, code: str) -> tuple[str, ...] | None:
        """The code and all below it."""
        found = self.system(system)
        return (found.descendants(code) or None) if found is not None else None

    def ancestors(self, system: str, code: str) -> tuple[str, ...] | None:
        """The code and all above it."""
        found = self.system(system)
        return (found.ancestors(code) or None) if found is not None else None

    # of one code system

    def concept(self, system: str, code: str) -> Concept | None:
        found = self.system(system)
        return None if found is None else found.find(code)

    def validate_in_system(self, system: str, code: str, display: str | None) -> Verdict:
        """Whether the code system has the code. FHIR R4 codesystem-operation-validate-code.html"""
        source = self.system(system)
        if source is None:
            return Verdict("unknown", f"{system} is not loaded here", system, unknown_systems=(system,))
        return judge_in(source, code, display)

    def subsumes(self, system: str, code_a: str, code_b: str) -> Relation | None:
        """None where the system or one of the codes is not known."""
        source = self.system(system)
        return None if source is None else relation_in(source, code_a, code_b)


def judge_in(source: System, code: str, display: str | None) -> Verdict:
    """Whether that code system has the code."""
    concept = source.find(code)
    if concept is not None:
        return _member(Member(source.url, concept.code, concept), display)
    if not source.complete:
        text = f"the code cannot be judged: not all of {source.url} is loaded here"
        return Verdict("unknown", text, source.url, unknown_systems=(source.url,))
    return Verdict("no", f"{source.url} has no such code", source.url)


def relation_in(source: System, code_a: str, code_b: str) -> Relation | None:
    """None where a code is not known. FHIR R4 codesystem-operation-subsumes.html"""
    a, b = source.find(code_a), source.find(code_b)
    if a is None or b is None:
        return None
    if a.code == b.code:
        return "equivalent"
    if b.code in source.descendants(a.code):
        return "subsumes"
    return "subsumed-by" if a.code in source.descendants(b.code) else "not-subsumed"


def _member(member: Member, display: str | None) -> Verdict:
    preferred = member.display
    message = ""
    if display and preferred is not None and not _is_named(member, display):
        message = f"the display is none of the code's; expected '{preferred}'"
    return Verdict("yes", message, member.system, preferred)


def _is_named(member: Member, display: str) -> bool:
    said = _plain(display)
    return any(_plain(name) == said for name in _names(member))


def _names(member: Member) -> Iterator[str]:
    if member.display:
        yield member.display
    if member.concept is not None and member.concept.display:
        yield member.concept.display
    for designation in member.designations:
        yield designation.value


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def standard() -> Terminology:
    """Over what is built in."""
    return Terminology(standard_library())
