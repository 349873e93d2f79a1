"""`python -m tests.profiles.validator_suite.make FOLDER`: HL7's cases as one compact file."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

CASES = Path(__file__).parent / "cases.json.gz"


def main(folder: Path) -> None:
    rows = [
        [case["name"], case["file"], case["valid"], (folder / case["file"]).read_bytes().decode("utf-8-sig")]
        for case in json.loads((folder / "expected.json").read_bytes())
    ]
    CASES.write_bytes(gzip.compress(json.dumps(rows, ensure_ascii=False).encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
