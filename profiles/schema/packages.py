"""The definitions that validation knows: a read-only set of packages, found by canonical URL.

Built in are R4 core, FR Core and our own guide; installed ones are added by whoever makes the set. A package
is opened when first asked, and a definition is read when first used.

FHIR R4 references.html#canonical; profiling.html
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from profiles import packages as own
from profiles.outcomes import Invalid
from profiles.schema.report import Report
from profiles.schema.structure import check_resource

Json = dict[str, Any]


class Package:
    """One compact package. Its index is read once, its definitions one by one."""

    def __init__(self, name: str, open: Callable[[], BinaryIO]) -> None:
        self.name = name
        self._open = open

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            with self._open() as file:
                return zipfile.ZipFile(io.BytesIO(file.read()))  # no file stays open
        except (OSError, zipfile.BadZipFile):
            raise Invalid("bad-package", f"the installed package {self.name} cannot be read") from None

    @cached_property
    def _index(self) -> Json:
        index: Json = orjson.loads(self._zip.read("index.json"))
        return index

    @property
    def manifest(self) -> Json:
        """name, version, dependencies, … of package.json."""
        manifest: Json = self._index["package"]
        return manifest

    @cached_property
    def entries(self) -> Mapping[str, Json]:
        """Canonical URL without version → index entry. A later one of the same URL is passed over."""
        found: dict[str, Json] = {}
        for entry in self._index["entries"]:
            found.setdefault(entry["url"], entry)
        return found

    def load(self, url: str) -> Json | None:
        """The definition with that URL, None when it is not of this package."""
        entry = self.entries.get(url)
        if entry is None:
            return None
        found: Json = orjson.loads(self._zip.read(entry["file"]))
        return found


class Packages:
    """Several packages, the first that knows a URL answers."""

    def __init__(self, packages: Iterable[Package], extra: Iterable[Json] = ()) -> None:
        self.packages = tuple(packages)
        self._extra = {one["url"]: one for one in extra if isinstance(one.get("url"), str)}
        self._found: dict[str, Json] = {}
        self.trees: dict[str, Any] = {}
        """Snapshots as trees, by URL: kept here by `schema.snapshot`."""
        self._structures: dict[str, Json | None] = {}
        self._bindings: dict[str, dict[str, tuple[str, str]]] = {}

    def find(self, canonical: str) -> Json | None:
        """The definition of a canonical URL; a version in it is not insisted upon."""
        url = canonical.partition("|")[0]
        if url in self._extra:
            return self._extra[url]
        if url in self._found:
            return self._found[url]
        loaded = (package.load(url) for package in self.packages)
        found = next((one for one in loaded if one is not None), None)
        if found is not None:  # anybody may name any URL: what is not known is not kept
            self._found[url] = found
        return found

    def structure(self, canonical: str) -> Json | None:
        """As `find`, for a StructureDefinition; a bare type name is one of the standard's. One that holds
        something else than its elements' kinds of JSON is not known here: who compiles it relies on them."""
        url = canonical.partition("|")[0]
        if ":" not in url:
            url = "http://hl7.org/fhir/StructureDefinition/" + url
        if url in self._structures:
            return self._structures[url]
        found = self.find(url)
        if found is None:
            return None
        usable = found.get("resourceType") == "StructureDefinition" and _is_well_formed(found)
        self._structures[url] = found if usable else None
        return self._structures[url]

    def bindings(self, type: str) -> Mapping[str, tuple[str, str]]:
        """Path of an element → (strength, value set) that the standard's own type binds it to."""
        if type not in self._bindings:
            elements = ((self.structure(type) or {}).get("snapshot") or {}).get("element", ())
            self._bindings[type] = {
                element["path"]: (
                    element["binding"].get("strength", ""),
                    element["binding"].get("valueSet", ""),
                )
                for element in elements
                if "binding" in element
            }
        return self._bindings[type]

    def urls(self, type: str) -> Iterator[str]:
        """Canonical URLs of every definition of that resource type."""
        yield from (url for url, one in self._extra.items() if one["resourceType"] == type)
        for package in self.packages:
            yield from (url for url, entry in package.entries.items() if entry["resourceType"] == type)

    def with_resources(self, resources: Iterable[Json]) -> Packages:
        """The same set with some more definitions, as a caller sends them along."""
        return Packages(self.packages, [*self._extra.values(), *resources])


_KINDS = frozenset({"wrong-type", "not-a-list", "too-many", "bad-format", "empty", "several-choices"})


def _is_well_formed(structure: Json | None) -> bool:
    report = Report()
    check_resource(structure, (None, "StructureDefinition", -1), report)
    return not any(issue.slug in _KINDS for issue in report.issues)


@cache
def built_in(name: str) -> Package:
    """A package of the distribution: `hl7.fhir.r4.core`, `hl7.fhir.fr.core`."""
    place = files("profiles.definitions").joinpath("packages", f"{name}.zip")
    return Package(name, lambda: place.open("rb"))  # type: ignore[arg-type,return-value]


BUILT_IN = ("hl7.fhir.r4.core", "hl7.fhir.fr.core")


@cache
def standard() -> Packages:
    """What is built in: R4 core, FR Core, our guide."""
    return Packages([built_in(name) for name in BUILT_IN], own.resources())


def installed(folder: Path) -> Packages:
    """R4 core, then every package installed in `folder` in the order of their names, then FR Core: an
    installed edition goes before the one that is built in, but nothing before the standard itself."""
    names = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    more = [Package(path.stem, lambda path=path: path.open("rb")) for path in names]  # type: ignore[misc]
    core, *others = (built_in(name) for name in BUILT_IN)
    return Packages([core, *more, *others], own.resources())
