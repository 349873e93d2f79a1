"""Images, measured by hand: `python -m bench.dicom`. C-STORE instances/s, metadata and rendering in ms,
memory.

One run each on a shared machine: compare with figures of the same hour only.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from dicomweb import frames, qido, rendered, showing, wado
from dicomweb.images import open_images
from fhir_server.store import open_store
from simulators.modality import send
from tests.dicomweb import making
from tests.dicomweb.node import Node

COUNT = 300


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(1).integers(0, 2000, (512, 512), "<u2").tobytes()
        paths = making.files(
            folder / "exam", COUNT, lambda _n: {"Rows": 512, "Columns": 512, "PixelData": noise}
        )
        node = Node(folder / "node", 11_997)
        node.start()
        try:
            start = time.perf_counter()
            send(folder / "exam", "127.0.0.1", node.port)
            print(
                f"C-STORE of 0.5 MB CT, one association: {len(paths) / (time.perf_counter() - start):.0f}/s"
            )
            print(f"node, peak memory: {node.peak_memory() / 1e6:.0f} MB")
        finally:
            node.stop()
        images = open_images(node.settings, open_store(node.settings))
        study = {"study": making.STUDY}
        report("series metadata, 300 instances", lambda: b"".join(wado.metadata(images, study)))
        search = qido.parse("study", {}, [("PatientName", "LAB*")])
        report("QIDO studies", lambda: qido.answer(images.index, search, "http://x"))
        one = frames.framed(images, next(images.index.files(making.STUDY)))
        asked = rendered.parse({}, "image/jpeg")
        report("512 x 512 CT rendered as JPEG", lambda: showing.show(images, one, [1], asked))
        images.close()


def report(what: str, act: Any) -> None:
    times = []
    for _ in range(20):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    print(f"{what}: {statistics.median(times) * 1000:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
