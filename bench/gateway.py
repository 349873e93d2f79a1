"""A site's gateway: what it receives and delivers per second, its memory, what compression gains.

300 CT of 0.5 MB by DCMTK's storescu → `teledossier gateway` → `teledossier serve`, on this machine. The
pictures are a head with a scanner's noise (deviation 12 HU), not one repeated.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dicomweb.gateway import sending
from dicomweb.gateway.outgoing import Entry
from simulators.modality import phantom
from tests.dicomweb import making
from tests.dicomweb.gateway.site.conftest import register
from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site, Wire, eventually

COUNT = 300


def exam(folder: Path, number: int) -> tuple[str, list[Path]]:
    study = f"2.25.{number}"
    folder.mkdir(parents=True)
    random = np.random.default_rng(number)
    paths = []
    for n in range(COUNT):
        picture = phantom.head(512, n / COUNT, "CT", number) + random.normal(0, 12, (512, 512))
        pixels = np.clip(picture + 1024, 0, 4095).astype("<u2").tobytes()
        made = making.dataset(
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.1",
            SOPInstanceUID=f"{study}.1.{n}",
            InstanceNumber=n,
            Rows=512,
            Columns=512,
            PixelData=pixels,
        )
        paths.append(making.write(folder / f"{n}.dcm", made))
    return study, paths


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compression(paths: list[Path]) -> None:
    """What a request's body shrinks to, and how fast, one core."""
    entries = [
        Entry(
            f"1.{n}",
            "1",
            "1",
            "1",
            "00" * 32,
            "00" * 32,
            path.stat().st_size,
            str(path),
            "CT1",
            1,
            False,
            n,
            0,
        )
        for n, path in enumerate(paths[:60])
    ]
    size = sum(one.size for one in entries)
    for coding in ("zstd", "gzip"):
        made = 0
        began = time.perf_counter()
        for chunk in sending.body(entries, lambda one: Path(one.path), "B", coding):
            made += len(chunk)
        seconds = time.perf_counter() - began
        print(f"{coding}: {made / size:.1%} of the size, {size / seconds / 1e6:.0f} MB/s")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platform = Platform(folder / "platform")
        secret = platform.run("client", "add", CLIENT, "--scope", "system/ImagingStudy.c").split("secret ")[1]
        operator = platform.run("client", "add", "operator", "--scope", "system/*.cruds").split("secret ")[1]
        platform.start()
        site = Site(folder / "site", f"http://127.0.0.1:{platform.port}", secret.strip(), health_seconds="30")
        try:
            register(platform, operator.strip())
            compression(exam(folder / "a", 1)[1])
            measure(platform, site, folder)
            site.stop()
            urgent(platform, secret.strip(), folder)
        finally:
            site.stop()
            platform.stop()


def measure(platform: Platform, site: Site, folder: Path) -> None:
    site.start()
    study, paths = exam(folder / "b", 2)
    began = time.perf_counter()
    sent = timed(lambda: site.send(paths))
    assert eventually(lambda: len(platform.stored(study)) == COUNT, 120)
    total = time.perf_counter() - began
    print(f"together: received {COUNT / sent:.0f}/s, delivered {COUNT / total:.0f}/s")
    platform.stop()
    _study, paths = exam(folder / "c", 3)
    sent = timed(lambda: site.send(paths))
    print(f"reception alone, the platform away: {COUNT / sent:.0f}/s")
    site.stop()
    platform.start()
    site.start()
    began = time.perf_counter()
    assert site.emptied(120)
    print(f"delivery alone: {COUNT / (time.perf_counter() - began):.0f}/s")
    print(f"memory of the gateway: {site.peak_memory() / 1e6:.0f} MB")
    large(platform, site, folder)


def large(platform: Platform, site: Site, folder: Path) -> None:
    """One multiframe of 315 MB: noise, as nothing shortens it."""
    noise = np.random.default_rng(1).integers(0, 2000, 512 * 512, "<u2").tobytes()
    made = making.dataset(
        StudyInstanceUID="2.25.9", SOPInstanceUID="2.25.9.1", Rows=512, Columns=512, NumberOfFrames=600,
        PixelData=noise * 600,
    )  # fmt: skip
    path = making.write(folder / "large.dcm", made)
    del made
    sent = timed(lambda: site.send([path]))
    assert site.emptied(120)
    size = path.stat().st_size / 1e6
    print(f"one of {size:.0f} MB: received in {sent:.1f} s; memory {site.peak_memory() / 1e6:.0f} MB")


def urgent(platform: Platform, secret: str, folder: Path) -> None:
    """An acute stroke's 20 images behind a backlog of 300 on a line of 20 Mbit/s."""
    wire = Wire(platform.port)
    site = Site(folder / "slow", f"http://127.0.0.1:{wire.port}", secret, urgent="ae:SCANAVC")
    study, paths = exam(folder / "d", 4)
    avc, few = exam(folder / "e", 5)
    try:
        wire.rate = 250_000
        site.start()
        site.send(paths)
        wire.rate = 2_500_000
        began = time.perf_counter()
        site.send(few[:20], calling="SCANAVC")
        assert eventually(lambda: len(platform.stored(avc)) == 20, 120)
        took = time.perf_counter() - began
        left = COUNT - len(platform.stored(study))
        size = sum(path.stat().st_size for path in few[:20]) / 1e6
        print(f"urgent, {size:.0f} MB, 20 Mbit/s: delivered in {took:.1f} s; {left} of {COUNT} still wait")
    finally:
        wire.close()
        site.stop()


if __name__ == "__main__":
    main()
