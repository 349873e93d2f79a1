"""A ValueSet resource → a compiled value set, with the code systems and value sets it names.

FHIR R4 valueset.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from terminology.code_systems.concept import Designation, System
from terminology.value_sets.filters import CannotJudge, Test, test_of
from terminology.value_sets.value_set import Listing, Part, ValueSet

Json = dict[str, Any]
MOST_NESTED = 12
"""Value sets that import one another, one in the other."""
MOST_PARTS = 20_000
"""Includes and excludes that one question may have to look into, those of imports each time they are met."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """`system` and `value_set` find by canonical URL, None for what is not known; `within` are the value sets
    being compiled: one that imports itself, however far round, cannot be judged; `done` are those compiled on
    the way, which others may import too."""

    system: Callable[[str], System | None]
    value_set: Callable[[str], Json | None]
    within: tuple[str, ...] = ()
    done: dict[str, ValueSet] = field(default_factory=dict)

    def compile(self, resource: Json) -> ValueSet:
        """The resource was validated, or is of a package."""
        url = str(resource.get("url") or "")
        within = {f"#{one.get('id')}": one for one in resource.get("contained") or ()}

        def value_set(canonical: str) -> Json | None:
            found = within.get(canonical)
            return (
                self.value_set(canonical)
                if found is None or found.get("resourceType") != "ValueSet"
                else found
            )

        inside = Compiler(self.system, value_set, (*self.within, url), {} if within else self.done)
        compose = resource.get("compose")
        excludes: tuple[Part, ...] = ()
        if compose is None:
            includes = inside.expanded(resource.get("expansion") or {})
        else:
            includes = tuple(inside.part(one) for one in compose.get("include") or ())
            excludes = tuple(inside.part(one) for one in compose.get("exclude") or ())
        return ValueSet(
            url,
            resource.get("version") or "",
            resource.get("name") or resource.get("title") or "",
            includes,
            excludes,
            active_only=(compose or {}).get("inactive") is False,
            systems=tuple(dict.fromkeys(name for part in includes for name in part.systems())),
            weight=1 + sum(1 + _weight(part.imports) for part in (*includes, *excludes)),
        )

    def part(self, include: Json) -> Part:
        """One include or exclude."""
        url = include.get("system") or ""
        source = self.system(_canonical(url, include.get("version"))) if url else None
        listed = None
        if include.get("concept"):
            listed = {one["code"]: _listing(one) for one in include["concept"]}
        tests: list[Test] = []
        imports, problem = self._imports(include.get("valueSet") or [])
        if source is not None:
            try:
                tests = [test_of(source, filter) for filter in include.get("filter") or ()]
            except CannotJudge as error:
                problem = str(error)
        return Part(url, source, listed, tuple(tests), imports, problem)

    def _imports(self, urls: list[str]) -> tuple[tuple[ValueSet, ...], str]:
        found: list[ValueSet] = []
        for url in urls:
            bare = url.partition("|")[0]
            if bare in self.within:
                return tuple(found), f"the value set {bare} includes itself"
            if len(self.within) >= MOST_NESTED:
                return tuple(found), f"the value sets nest deeper than {MOST_NESTED}"
            if url not in self.done:
                resource = self.value_set(url)
                if resource is None:
                    return tuple(found), f"the value set {bare} is not known here"
                self.done[url] = self.compile(resource)
            if _weight(found) + self.done[url].weight > MOST_PARTS:
                return tuple(found), f"the value sets import more than {MOST_PARTS} parts"
            found.append(self.done[url])
        return tuple(found), ""

    def expanded(self, expansion: Json) -> tuple[Part, ...]:
        """Of a value set that has only its expansion: the codes of that."""
        by_system: dict[str, dict[str, Listing]] = {}
        pending = list(expansion.get("contains") or ())
        for row in pending:
            if row.get("code") and row.get("system") and not row.get("abstract"):
                by_system.setdefault(row["system"], {})[row["code"]] = _listing(row)
            pending.extend(row.get("contains") or ())
        return tuple(Part(url, self.system(url), listed) for url, listed in by_system.items())


def _weight(imports: Iterable[ValueSet]) -> int:
    return sum(each.weight for each in imports)


def _canonical(url: str, version: str | None) -> str:
    return f"{url}|{version}" if version else url


def _listing(row: Json) -> Listing:
    return Listing(
        row.get("display"),
        tuple(
            Designation(one["value"], one.get("language", ""), one.get("use"))
            for one in row.get("designation") or ()
        ),
    )
