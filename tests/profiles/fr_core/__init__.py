"""The examples of FR Core 2.2.0 (Interop'Santé, CC0-1.0), as they are in its package.

`python -m tests.profiles.fr_core PACKAGE.tgz` makes `examples.json.gz`, the same bytes for the same package.
"""

from __future__ import annotations

import copy
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FILE = Path(__file__).parent / "examples.json.gz"


@cache
def _all() -> dict[str, Json]:
    found: dict[str, Json] = json.loads(gzip.decompress(FILE.read_bytes()))
    return found


def names() -> list[str]:
    return list(_all())


def example(name: str) -> Json:
    """A copy of one, by its file name without the ending."""
    return copy.deepcopy(_all()[name])


def patient() -> Json:
    """The patient with an INS, its key put right (1234567890122 has the key 12), without its narrative,
    which is as long as all the rest."""
    found = example("Patient-FRCorePatientExample")
    del found["text"]
    found["identifier"][0]["value"] = "123456789012212"
    return found
