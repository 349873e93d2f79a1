"""`teledossier load` as an operator runs it: NDJSON of made-up patients, by structure and trusted.

    python -m bench.load [--rows 40000]

Prints resources per second from the start of the command to its end, and the memory of its largest process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import bundles
from fhir_server.bulk.sources import Chunk, items

ENCOUNTERS = 30
WAYS: dict[str, tuple[str, ...]] = {
    "by structure, one process": ("--processes", "1"),
    "by structure": (),
    "trusted": ("--trusted",),
    "strict": ("--strict",),
}


def resources(rows: int) -> Iterator[dict[str, Any]]:
    """The directory, then patients with what belongs to them, ids and links settled."""
    yield from bundles.directory()
    rng, made = random.Random(7), 0  # the same every time
    while made < rows:
        bundle = json.dumps(bundles.transaction(ENCOUNTERS, rng)).encode()
        for item in items(Chunk("bundle", ((1, bundle),), document=True)):
            assert item.resource is not None
            yield _settled(item.resource)
            made += 1


def _settled(one: dict[str, Any]) -> dict[str, Any]:
    """Conditional references are for Bundles; NDJSON names ids."""
    text = json.dumps(one)
    for number in range(bundles.PRACTITIONERS):
        text = text.replace(
            f"Practitioner?identifier={bundles.PEOPLE}|{number}", f"Practitioner/bench{number}"
        )
    settled: dict[str, Any] = json.loads(
        text.replace(f"Organization?identifier={bundles.PLACES}|1", "Organization/bench")
    )
    return settled


def main() -> None:
    """Each way on a store of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "all.ndjson"
        with source.open("w") as file:
            count = sum(bool(file.write(json.dumps(one) + "\n")) for one in resources(rows))
        for way, options in WAYS.items():
            environment = {
                **os.environ,
                "TELEDOSSIER_STORE": f"sqlite:///{folder}/{len(way)}{way[0]}/t.db",
                "TELEDOSSIER_FILES": f"{folder}/files",
            }
            command = [sys.executable, "-m", "fhir_server", "load", *options, str(source)]
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            took = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            print(f"load, {way}: {count / took:,.0f} resources/s (largest process until now {peak} MB)")


if __name__ == "__main__":
    main()
