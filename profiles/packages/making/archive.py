"""The guide as a FHIR package file: `python -m profiles.packages.making.archive dist`.

The same bytes for the same sources: names in order, no times, no owners. Valid examples are in
`package/example`, invalid ones in `package/tests/invalid`, with what each breaks in its `manifest.json`.
FHIR NPM package specification (hl7.org/fhir/packages.html)
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from profiles import packages
from profiles.packages.making import examples
from profiles.packages.making.common import Json, laid_out
from profiles.packages.making.conformance import manifest

_INDEXED = ("resourceType", "id", "url", "version", "kind", "type", "supplements", "content")


def build() -> bytes:
    """The package file."""
    files: dict[str, Json] = {"package/package.json": manifest()}
    files |= _folder("package", packages.resources())
    files |= _folder("package/example", (one.resource for one in examples.valid()))
    invalid = list(examples.invalid())
    files |= {f"package/tests/invalid/{_name(one.resource)}": one.resource for one in invalid}
    files["package/tests/invalid/manifest.json"] = {
        "examples": [
            {"file": _name(one.resource), "profile": one.url, "breaks": one.breaks, "says": one.says}
            for one in invalid
        ]
    }
    return _tgz({name: (laid_out(one) + "\n").encode() for name, one in files.items()})


def _folder(folder: str, resources: Iterable[Json]) -> dict[str, Json]:
    """The files of a folder, with its index."""
    files = {f"{folder}/{_name(one)}": one for one in resources}
    rows = [
        {"filename": path.rpartition("/")[2], **{name: one[name] for name in _INDEXED if _plain(one, name)}}
        for path, one in sorted(files.items())
    ]
    return {**files, f"{folder}/.index.json": {"index-version": 2, "files": rows}}


def _plain(resource: Json, name: str) -> bool:
    """The index holds texts: the `type` of a PlanDefinition is none."""
    return isinstance(resource.get(name), str)


def _name(resource: Json) -> str:
    return f"{resource['resourceType']}-{resource['id']}.json"


def _tgz(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files, key=lambda name: (name != "package/package.json", name)):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    return gzip.compress(packed.getvalue(), 9, mtime=0)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    folder.mkdir(parents=True, exist_ok=True)
    about = manifest()
    file = folder / f"{about['name']}-{about['version']}.tgz"
    file.write_bytes(build())
    print(file)


if __name__ == "__main__":
    main()
