"""`_include` and `_revinclude`: what comes along with a page.

An include is a search like any other, so the reader's Access applies to it in the same way, before its limit:
included by `_include=A:p` is every T that some A of the page refers to by p, be it by its canonical; by
`_revinclude=B:p` every B that refers to one of the page. `:iterate` repeats on what came along, until nothing
new comes.

FHIR R4 search.html#include
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from fhir_server.access import Access
from fhir_server.search.bind import Binder
from fhir_server.search.nodes import And, Has, Ids, Node, Or, Reference, Select, Token
from fhir_server.search.rewrite import simplified
from fhir_server.store.contract import Store, Version
from profiles import references
from profiles.definitions import resource_types, search_parameters
from profiles.fhirpath import paths
from profiles.fhirpath.paths import Branch
from profiles.outcomes import Invalid

MOST = 1_000  # included resources of one page
ROUNDS = 16  # of `:iterate`

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Include:
    """`params` are reference parameters of `source`; `targets` the types they may lead to; `canonicals` how
    those parameters that hold a canonical find it."""

    source: str
    params: tuple[str, ...]
    targets: frozenset[str]
    reverse: bool
    iterate: bool
    canonicals: tuple[tuple[str, Branch], ...] = ()


@dataclass(slots=True)
class Included:
    """What came along, in the order it was found; `cut` when MOST was reached."""

    versions: dict[Key, Version] = field(default_factory=dict)
    cut: bool = False


def includes(binder: Binder, types: Sequence[str], name: str, value: str) -> list[Include]:
    """One `_include` or `_revinclude` parameter of a search of these types, checked. `*` alone is each
    reference of the types searched, or of every type that refers to them. Raises Invalid."""
    what, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise Invalid("unknown-modifier", f"'{what}' has no modifier ':{modifier}'; it takes :iterate")
    form = _Form(what, what == "_revinclude", bool(modifier))
    if value == "*":
        sources = _referring(binder, types) if form.reverse else types
        return [_include(binder, types, form, [source, "*"]) for source in sources]
    return [_include(binder, types, form, value.split(":"))]


@dataclass(frozen=True, slots=True)
class _Form:
    """The parameter as it is written."""

    name: str
    reverse: bool
    iterate: bool


def _referring(binder: Binder, types: Sequence[str]) -> list[str]:
    """The types that can refer to one of these."""
    return [
        source
        for source in sorted(resource_types())
        if any(
            each.type == "reference" and (not each.targets or not set(types).isdisjoint(each.targets))
            for each in binder.definitions(source).values()
        )
    ]


def _include(binder: Binder, types: Sequence[str], form: _Form, parts: list[str]) -> Include:
    if len(parts) not in (2, 3) or not all(parts):
        raise Invalid(
            "bad-include",
            f"'{form.name}' takes [type]:[reference parameter], [type]:[parameter]:[target type], [type]:* "
            "or *",
        )
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    for each in filter(None, (source, target)):
        if each not in resource_types():
            raise Invalid("unknown-type", f"'{form.name}': '{each}' is not a resource type")
    if not form.iterate and not form.reverse and source not in types:
        raise Invalid(
            "bad-include",
            f"'_include' starts at {' or '.join(types[:5])}; from what comes along use _include:iterate",
        )
    params, targets, canonicals = _params(binder, form.name, source, code)
    if target and target not in targets:
        raise Invalid("bad-include", f"{source}:{code} does not refer to {target}")
    if form.reverse and not form.iterate and targets.isdisjoint(types):
        raise Invalid("bad-include", f"{source}:{code} does not refer to {' or '.join(types[:5])}")
    targets = frozenset({target}) if target else targets
    return Include(source, params, targets, form.reverse, form.iterate, canonicals)


def _params(
    binder: Binder, what: str, source: str, code: str
) -> tuple[tuple[str, ...], frozenset[str], tuple[tuple[str, Branch], ...]]:
    if code == "*":
        found = [each for each in binder.definitions(source).values() if each.type == "reference"]
    else:
        found = [binder.parameter(source, code)]
    if not all(each.type == "reference" for each in found):
        raise Invalid("bad-include", f"'{what}': {source}.{code} is no reference")
    targets = frozenset(target for each in found for target in each.targets or resource_types())
    canonicals = tuple(
        (each.code, branch)
        for each in found
        for branch in paths.branches(each.expression, source) or ()
        if branch.type in ("canonical", "uri")
    )
    return tuple(each.code for each in found), targets, canonicals


async def gather(
    store: Store, access: Access, includes: Sequence[Include], matches: Sequence[Version]
) -> Included:
    """All that comes along with `matches`: no match again, nothing twice, nothing this reader may not see."""
    known = {(match.type, match.id) for match in matches}
    result = Included()
    fresh: list[Version] = list(matches)
    specs = list(includes)
    for _ in range(ROUNDS):
        found = [
            version for spec in specs for version in await _hop(store, access, spec, fresh, known, result)
        ]
        fresh = found
        specs = [spec for spec in includes if spec.iterate]
        if not fresh or not specs or result.cut:
            break
    return result


async def _hop(
    store: Store, access: Access, spec: Include, fresh: Sequence[Version], known: set[Key], result: Included
) -> list[Version]:
    """One include from the newest resources; what is new is added to `result` and returned."""
    added: list[Version] = []
    for type, where in _ways(spec, fresh):
        node = simplified(access.restrict(type, where))
        for row in await store.search(Select(type, node, count=MOST + len(known) + 1)):
            key = (row.version.type, row.version.id)
            if key in known:
                continue
            if len(result.versions) >= MOST:
                result.cut = True
                return added
            known.add(key)
            result.versions[key] = row.version
            added.append(row.version)
    return added


def _ways(spec: Include, fresh: Sequence[Version]) -> Iterable[tuple[str, Node]]:
    """(type to search, condition) of one include from these resources."""
    if spec.reverse:
        near = [each for each in fresh if each.type in spec.targets]
        targets = tuple(f"{each.type}/{each.id}" for each in near)
        nodes: list[Node] = [Reference(param, targets) for param in spec.params if targets]
        named = _named(near) if spec.canonicals else ()
        nodes += [Reference(param, named) for param in dict(spec.canonicals) if named]
        if nodes:
            yield spec.source, _any(nodes)
        return
    sources = [each for each in fresh if each.type == spec.source]
    ids = Ids(tuple(each.id for each in sources))
    for type in sorted(_referred(sources) & spec.targets):
        yield type, _any([Has(spec.source, param, ids) for param in spec.params])
    meant = _meant(spec, sources)
    for type in sorted(spec.targets) if meant else ():
        if "url" in search_parameters(type):
            yield type, _any([_of_canonical(each) for each in meant])


def _meant(spec: Include, sources: Sequence[Version]) -> list[str]:
    """The canonicals that these resources hold in the parameters of the include."""
    found: dict[str, None] = {}
    for version in sources if spec.canonicals else ():
        body = orjson.loads(version.body or b"{}")
        for _, branch in spec.canonicals:
            found.update(dict.fromkeys(each for each in branch.values(body) if isinstance(each, str)))
    return [each for each in found if not each.startswith("#")]


def _of_canonical(canonical: str) -> Node:
    """`url|version`, or any version. FHIR R4 references.html#canonical"""
    url, bar, version = canonical.partition("#")[0].partition("|")
    node = Token("url", (("", url),))
    return And((node, Token("version", ((None, version),)))) if bar else node


def _named(versions: Sequence[Version]) -> tuple[str, ...]:
    """How these resources are named by canonicals: in their version, and in any."""
    found = []
    for version in versions:
        body = orjson.loads(version.body or b"{}")
        url, number = body.get("url"), body.get("version")
        if isinstance(url, str):
            found += [url, f"{url}|{number}"] if number else [url]
    return tuple(found)


def _any(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))


def _referred(versions: Sequence[Version]) -> set[str]:
    """The types that some Reference in these bodies names: so that only those are searched."""
    found = set()
    for version in versions:
        for _, holder in references.walk(orjson.loads(version.body or b"{}")):
            parsed = references.parse(holder["reference"])
            if parsed.type:
                found.add(parsed.type)
    return found
