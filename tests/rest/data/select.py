"""Makes r4-examples.ndjson.xz: `python -m tests.rest.data.select ARCHIVE.tar.xz`.

Out of the examples of HL7's R4 (4.0.1) package, licensed CC0, the smallest ones that together have a value
for every (type, search parameter) that any of them has a value for; narratives, and the data of Binary, are
left out. One JSON a line.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

from profiles import codec, definitions
from tests.rest import test_search_examples as cases


def main(archive: str) -> None:
    cases.ARCHIVE = archive
    found = []
    for resource in cases.examples():
        resource.pop("text", None)
        if resource["resourceType"] == "Binary":
            resource.pop("data", None)
        parameters = definitions.search_parameters(resource["resourceType"]).values()
        covered = {
            (resource["resourceType"], parameter.code)
            for parameter in parameters
            if parameter.expression and next(cases.asked(parameter, resource), None)
        }
        found.append((covered, codec.dump(resource)))
    chosen: list[bytes] = []
    left = set().union(*(covered for covered, _ in found))
    total = len(left)
    while left:
        covered, body = max(found, key=lambda pair: len(pair[0] & left) / (300 + len(pair[1])))
        left -= covered
        chosen.append(body)
    data = lzma.compress(b"\n".join(sorted(chosen)) + b"\n", preset=9)
    (Path(__file__).parent / "r4-examples.ndjson.xz").write_bytes(data)
    print(f"{len(chosen)} resources for {total} parameters, {len(data)} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
