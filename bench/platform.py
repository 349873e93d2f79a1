"""The whole platform: how soon it answers, and what each process needs while a 2,000-image study passes
through.

python -m bench.platform [--images 2000]
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import httpx

from bench.serving import free_port, megabytes, started, wait
from simulators.modality.exams import read_scenario
from simulators.modality.generate import generate
from simulators.modality.send import send

ROOT = Path(__file__).parent.parent
SCENARIO = Path(str(files("fhir_server") / "demo" / "scenario.yaml"))


def _start_up(folder: Path) -> None:
    taken = []
    for _ in range(5):
        port = free_port()
        began = time.perf_counter()
        with started(folder, ["serve"], {"TELEDOSSIER_PORT": str(port)}):
            wait(port)
            taken.append(time.perf_counter() - began)
    print(f"serve answers /readyz        {statistics.median(taken):6.2f} s (median of 5; goal < 2)")


def _study(folder: Path, images: int) -> None:
    web, dimse = free_port(), free_port()
    environment = {
        "TELEDOSSIER_PORT": str(web), "TELEDOSSIER_DIMSE_PORT": str(dimse), "TELEDOSSIER_AUTH": "open",
    }  # fmt: skip
    exam = replace(read_scenario(SCENARIO)["ex05"], images=images, series=4, size=256)
    generate(exam, folder / "exam")
    bytes_sent = sum(path.stat().st_size for path in (folder / "exam").glob("*.dcm"))
    with (
        started(folder, ["serve"], environment) as serve,
        started(folder, ["dimse"], environment) as node,
        started(folder, ["worker"], environment) as worker,
    ):
        wait(web)
        _wait_port(dimse)
        began = time.perf_counter()
        sent = send(folder / "exam", "127.0.0.1", dimse, "TELEDOSSIER", calling="BENCH")
        took = time.perf_counter() - began
        rate = bytes_sent / took / 1e6
        print(f"C-STORE, {sent} images of 128 kB {sent / took:6.0f} images/s, {rate:.0f} MB/s")
        before = megabytes(serve.pid)
        url = f"http://127.0.0.1:{web}/dicom-web/studies/{exam.study_uid}"
        began, received = time.perf_counter(), 0
        accept = {"Accept": 'multipart/related; type="application/dicom"'}
        with httpx.stream("GET", url, headers=accept, timeout=120, trust_env=False) as answer:
            for chunk in answer.iter_bytes():
                received += len(chunk)
        took = time.perf_counter() - began
        print(f"WADO-RS, the whole study      {received / took / 1e6:6.0f} MB/s ({received / 1e6:.0f} MB)")
        print(
            f"peak of serve                 {megabytes(serve.pid):6.0f} MB ({before:.0f} before; goal < 300)"
        )
        print(f"peak of the node              {megabytes(node.pid):6.0f} MB (goal < 300)")
        print(f"peak of the worker            {megabytes(worker.pid):6.0f} MB (goal < 300)")


def _wait_port(port: int) -> None:
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _start_up(Path(folder))
        _study(Path(folder), given.images)


if __name__ == "__main__":
    main()
