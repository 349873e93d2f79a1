"""Where CodeSystem and ValueSet resources come from: an overlay of resources, then packages.

FHIR R4 references.html#canonical
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from profiles import packages as own
from profiles.schema.packages import BUILT_IN, Package, built_in

Json = dict[str, Any]
Load = Callable[[], Json]
Overlay = Mapping[tuple[str, str], Mapping[str, Load]]
"""(resource type, URL) → version or "" → how to load it."""


class Library:
    """`overlay` goes before the packages, which are asked in their order. A version in a canonical URL is
    preferred, not insisted upon: the one that is there answers for one that is not."""

    def __init__(
        self,
        packages: Iterable[Package],
        overlay: Overlay | None = None,
        whole: Mapping[str, str] | None = None,
    ) -> None:
        """`whole`: the overlay's value sets that its code systems name as all of their codes."""
        self.packages = tuple(packages)
        self._overlay = overlay or {}
        self._whole = whole or {}

    def find(self, type: str, canonical: str) -> Json | None:
        """The resource of that type with that URL."""
        url, _, version = canonical.partition("|")
        fallback: Load | None = None
        if version:  # some of R4's own code systems have the bar in their URL
            for _version, load in self._candidates(type, canonical):
                return load()
        for found, load in self._candidates(type, url):
            if not version or found == version:
                return load()
            fallback = fallback or load
        return fallback() if fallback is not None else None

    def _candidates(self, type: str, url: str) -> Iterable[tuple[str, Load]]:
        yield from self._overlay.get((type, url), {}).items()
        for package in self.packages:
            entry = package.entries.get(url)
            if entry is not None and entry["resourceType"] == type:
                yield entry.get("version", ""), lambda package=package: package.load(url)  # type: ignore[misc]

    def whole_system(self, value_set: str) -> str | None:
        """The code system that names this value set (its URL) as all of its codes. R4's own are value sets
        already."""
        found = self._whole.get(value_set)
        if found is None:
            others = (package for package in self.packages if package is not standard_package())
            found = next((url for package in others if (url := _whole_of(package).get(value_set))), None)
        return found

    def overlays(self, type: str, canonical: str) -> bool:
        """Whether the overlay has such a resource."""
        return (type, canonical.partition("|")[0]) in self._overlay or (type, canonical) in self._overlay

    def overlaid(self, overlay: Overlay, whole: Mapping[str, str] | None = None) -> Library:
        """The same packages below another overlay."""
        return Library(self.packages, overlay, whole)


@cache
def _whole_of(package: Package) -> Mapping[str, str]:
    """URL of a value set → the package's code system that names it as all of its codes."""
    found: dict[str, str] = {}
    for url, entry in package.entries.items():
        system = package.load(url) if entry["resourceType"] == "CodeSystem" else None
        if system is not None and isinstance(system.get("valueSet"), str):
            found.setdefault(system["valueSet"].partition("|")[0], url)
    return found


@cache
def standard_package() -> Package:
    """The code systems and value sets of R4, as `terminology.generate` made them."""
    place = files("terminology").joinpath("packages", "hl7.fhir.r4.core.zip")
    return Package("hl7.fhir.r4.core", lambda: place.open("rb"))  # type: ignore[arg-type,return-value]


@cache
def standard() -> Library:
    """What is built in: R4, FR Core, our guide."""
    return of_packages(())


def installed(folder: Path) -> Library:
    """What is built in, and every package installed in `folder`; those first, as they are newer."""
    names = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    return of_packages(Package(path.stem, lambda path=path: path.open("rb")) for path in names)  # type: ignore[misc]


def of_packages(packages: Iterable[Package]) -> Library:
    """These, then what is built in."""
    others = [built_in(name) for name in BUILT_IN if name != "hl7.fhir.r4.core"]
    return Library([*packages, _Guide(), standard_package(), *others])


class _Guide(Package):
    """Our own definitions, as a package."""

    def __init__(self) -> None:
        super().__init__("teledossier", _no_file)

    @cached_property
    def entries(self) -> Mapping[str, Json]:
        return {
            one["url"]: one for one in own.resources() if one["resourceType"] in ("CodeSystem", "ValueSet")
        }

    def load(self, url: str) -> Json | None:
        return self.entries.get(url)


def _no_file() -> Any:
    raise FileNotFoundError
