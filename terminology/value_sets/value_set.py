"""A value set, compiled: is a code in it, and which codes are.

A value set is includes less excludes. Each is of one system (listed codes, or all that pass the filters, or
all), of other value sets (what is in every one), or both. Answers have three values: True, False, and None
where a code system or value set that would tell is not loaded.

FHIR R4 valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terminology.code_systems.concept import Concept, Designation, System
from terminology.value_sets.filters import CannotJudge, Test


@dataclass(frozen=True, slots=True)
class Listing:
    """What an include says of a code it lists; it goes before what the code system says."""

    display: str | None = None
    designations: tuple[Designation, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A code of an expansion. `concept` is None where the code system is not loaded."""

    system: str
    code: str
    concept: Concept | None = None
    listing: Listing | None = None

    @property
    def display(self) -> str | None:
        if self.listing is not None and self.listing.display:
            return self.listing.display
        return self.concept.display if self.concept is not None else None

    @property
    def designations(self) -> tuple[Designation, ...]:
        listed = self.listing.designations if self.listing is not None else ()
        return listed + (self.concept.designations if self.concept is not None else ())


@dataclass(frozen=True, slots=True)
class Part:
    """One include or exclude. `system` is "" for one of value sets alone; `source` None: not loaded; `listed`
    None: not by a list, and what a list names and the whole system does not have is not selected; `problem`
    says why filters or imports cannot be judged, "" when they can."""

    system: str
    source: System | None = None
    listed: Mapping[str, Listing] | None = None
    tests: tuple[Test, ...] = ()
    imports: tuple[ValueSet, ...] = ()
    problem: str = ""

    def has(self, system: str, code: str) -> bool | None:
        """Whether this part selects the code."""
        if self.system and self.system != system:
            return False
        found = self._own(code) if self.system else True
        for imported in self.imports:
            if found is False:
                return False
            theirs = imported.has(system, code)
            found = theirs if theirs is False or found is True else None
        return None if found and self.problem else found

    def _own(self, code: str) -> bool | None:
        if self.source is None:
            return code in self.listed if self.listed is not None else None
        concept = self.source.find(code)
        if self.listed is not None:
            if concept is None:
                return code in self.listed and not self.source.complete
            return code in self.listed or concept.code in self.listed
        if concept is None:
            return False if self.source.complete else None
        return all(test(concept) for test in self.tests)

    def members(self) -> Iterator[Member]:
        """Those it selects, in order. Raises CannotJudge."""
        if self.problem:
            raise CannotJudge(self.problem)
        if self.system:
            for member in self._own_members():
                if all(_surely(imported, member) for imported in self.imports):
                    yield member
        elif self.imports:
            first, *others = self.imports
            for member in first.members():
                if all(_surely(imported, member) for imported in others):
                    yield member

    def _own_members(self) -> Iterator[Member]:
        source = self.source
        if self.listed is not None:
            for code, listing in self.listed.items():
                concept = source.find(code) if source is not None else None
                if concept is not None or source is None or not source.complete:
                    yield Member(self.system, code, concept, listing)
            return
        if source is None:
            raise CannotJudge(f"the code system {self.system} is not loaded here")
        concepts = source.concepts()
        if concepts is None:
            raise CannotJudge(f"the codes of {self.system} cannot be listed here")
        for concept in concepts:
            if all(test(concept) for test in self.tests):
                yield Member(self.system, concept.code, concept)

    def systems(self) -> Iterator[str]:
        """Whose codes it may select."""
        if self.system:
            yield self.system
        else:
            for imported in self.imports:
                yield from imported.systems

    def missing(self, system: str | None) -> Iterator[str]:
        """The code systems for want of which `has` may answer None."""
        whole = self.source is not None and self.source.complete and not self.problem
        if self.system and system in (None, self.system) and self.listed is None and not whole:
            yield self.system
        for imported in self.imports:
            yield from imported.missing(system)


@dataclass(frozen=True, slots=True)
class ValueSet:
    """`active_only`: what is inactive in its code system is left out. `systems`: those of the includes.
    `weight`: the parts that one question may look into."""

    url: str
    version: str = ""
    name: str = ""
    includes: tuple[Part, ...] = ()
    excludes: tuple[Part, ...] = ()
    active_only: bool = False
    systems: tuple[str, ...] = ()
    weight: int = 1

    def has(self, system: str, code: str) -> bool | None:
        """Whether the code is in the value set."""
        found: bool | None = False
        for part in self.includes:
            answer = part.has(system, code)
            if answer is True:
                if self.active_only and _inactive(part, code):
                    continue
                found = True
                break
            if answer is None:
                found = None
        if found is not False:
            for part in self.excludes:
                answer = part.has(system, code)
                if answer is True:
                    return False
                if answer is None:
                    found = None
        return found

    def member(self, system: str, code: str) -> Member:
        """What is known of a code that is in the value set."""
        for part in self.includes:
            if part.has(system, code):
                if not part.system:
                    return part.imports[0].member(system, code)
                concept = part.source.find(code) if part.source is not None else None
                exact = concept.code if concept is not None else code
                return Member(system, exact, concept, (part.listed or {}).get(exact))
        return Member(system, code)

    def members(self) -> Iterator[Member]:
        """All of them in order, each once. Raises CannotJudge."""
        seen: set[tuple[str, str]] = set()
        for part in self.includes:
            for member in part.members():
                key = (member.system, member.code)
                if key in seen or (
                    self.active_only and member.concept is not None and member.concept.inactive
                ):
                    continue
                seen.add(key)
                if not any(self._excluded(each, member) for each in self.excludes):
                    yield member

    @staticmethod
    def _excluded(part: Part, member: Member) -> bool:
        answer = part.has(member.system, member.code)
        if answer is None:
            raise CannotJudge(
                part.problem or f"what is excluded cannot be told: {member.system} is not loaded here"
            )
        return answer

    def missing(self, system: str | None) -> tuple[str, ...]:
        """Code systems that are not loaded, or not whole, and would be needed."""
        found = [name for part in (*self.includes, *self.excludes) for name in part.missing(system)]
        return tuple(dict.fromkeys(found))

    def problems(self) -> tuple[str, ...]:
        """Why its parts cannot be judged, apart from code systems that are not loaded."""
        parts = (*self.includes, *self.excludes)
        found = [part.problem for part in parts if part.problem]
        found += [one for part in parts for imported in part.imports for one in imported.problems()]
        return tuple(dict.fromkeys(found))


def _inactive(part: Part, code: str) -> bool:
    concept = part.source.find(code) if part.source is not None else None
    return concept is not None and concept.inactive


def _surely(value_set: ValueSet, member: Member) -> bool:
    answer = value_set.has(member.system, member.code)
    if answer is None:
        raise CannotJudge(f"{value_set.url} cannot be judged here for {member.system}")
    return answer
