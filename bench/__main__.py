"""`make bench`: every benchmark, one after another, each in a process of its own. By hand, never as a
test."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "profiles", "fhirpath", "store", "load", "rest", "served", "dicom", "dimse", "gateway", "through", "qido",
    "platform",
)  # fmt: skip


def main() -> int:
    failed = 0
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
