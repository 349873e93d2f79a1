"""FHIR packages of an installation: one compact file each, in the folder that the settings name.

A package is put into place whole or not at all; of a name there is one, a newer one takes the place of the
older.
https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiles.outcomes import Invalid, NotFound
from profiles.schema import pack
from profiles.schema.packages import BUILT_IN, Package, built_in

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.IGNORECASE)
CORE = re.compile(r"hl7\.fhir\.r\d+[a-z]?\.(core|expansions|examples)")


@dataclass(frozen=True, slots=True)
class Installed:
    """A package in the folder. `counts`: definitions by resource type; `missing`: the packages it depends on
    that are neither installed nor built in, as `name version`."""

    name: str
    version: str
    counts: dict[str, int]
    missing: tuple[str, ...]


def install(folder: Path, file: Path) -> Installed:
    """Reads a package file and puts it in place. Raises Invalid for what is no FHIR R4 package, TooLarge,
    OSError."""
    manifest, resources = pack.read(file)
    name = str(manifest["name"])
    if not _NAME.fullmatch(name):
        raise Invalid("bad-package", f"{file.name}: its name is not that of a package")
    _check_version(file, manifest)
    if CORE.fullmatch(name):
        raise Invalid("bad-package", f"{name} is the standard itself, which is built in")
    body = pack.build(manifest, resources)
    folder.mkdir(parents=True, exist_ok=True)
    place, draft = folder / f"{name}.zip", folder / f".{name}.{os.getpid()}.part"
    try:
        with draft.open("wb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    return _described(_package(place), folder)


def _check_version(file: Path, manifest: Json) -> None:
    versions = manifest.get("fhirVersions") or manifest.get("fhir-version-list") or []
    found = [str(one) for one in versions] if isinstance(versions, list) else [str(versions)]
    if found and not any(one.startswith("4.0") for one in found):
        raise Invalid(
            "bad-package",
            f"{file.name} is for FHIR {', '.join(found)[:60]}; this server is of FHIR 4.0.1 (R4)",
        )


def listed(folder: Path) -> Iterator[Installed]:
    """What is installed, by name. Raises Invalid for a file that cannot be read."""
    for place in sorted(folder.glob("*.zip")) if folder.is_dir() else ():
        yield _described(_package(place), folder)


def remove(folder: Path, name: str) -> None:
    """Raises NotFound."""
    place = folder / f"{name}.zip"
    if not _NAME.fullmatch(name) or not place.is_file():
        raise NotFound("no-such-package", f"{name} is not installed")
    place.unlink()


def _package(place: Path) -> Package:
    return Package(place.stem, lambda: place.open("rb"))


def _described(package: Package, folder: Path) -> Installed:
    manifest = package.manifest
    counts = Counter(str(entry["resourceType"]) for entry in package.entries.values())
    needed = manifest.get("dependencies")
    here = {place.stem for place in folder.glob("*.zip")} | set(BUILT_IN)
    missing = [
        f"{name} {version}"
        for name, version in (needed.items() if isinstance(needed, dict) else ())
        if name not in here
    ]
    return Installed(
        package.name, str(manifest.get("version", "")), dict(sorted(counts.items())), tuple(sorted(missing))
    )


def own() -> Iterator[Installed]:
    """What is built in."""
    for name in BUILT_IN:
        yield _described(built_in(name), Path(os.devnull))
