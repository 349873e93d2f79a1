"""Exams to and from a PACS behind a site's gateway, beside the same straight: `python -m bench.through`.

300 CT of 0.5 MB between the platform (`serve`, `worker`) and Orthanc, by C-STORE and C-GET, alternating runs,
on this machine alone. Each run moves an exam of its own; Orthanc forgets them. Compare within a row.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.gateway import COUNT, exam
from dicomweb.images import Images, open_images
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import EXTENSION
from dicomweb.transfers.record import Order, Transfer
from fhir_server import opening
from smart_launch.authorization import clients
from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site
from tests.dicomweb.gateway.site.test_errands import working
from tests.dicomweb.gateway.test_registry import PAYLOAD, resource
from tests.dicomweb.pacs import Pacs, orthanc
from tests.dicomweb.test_peers import endpoint
from tests.processes import unused_port

RUNS = 3
WAYS = {"straight": "pacs-straight", "through": "pacs-through"}


def peer(pacs: Pacs, id: str, via: str = "", verify: str = "presence") -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"url": "use", "valueCode": one} for one in ("query", "relay")]
    parts.append({"url": "verify", "valueCode": verify})
    if via:
        parts.append({"url": "via", "valueReference": {"reference": f"Endpoint/{via}"}})
    address = f"dicom://127.0.0.1:{pacs.peer.port}/ORTHANC"
    return endpoint(
        id=id, address=address, payloadType=PAYLOAD, extension=[{"url": EXTENSION, "extension": parts}]
    )


async def directory(platform: Platform, pacs: Pacs) -> str:
    """The site, its gateway, and its PACS both ways; the gateway's secret."""
    async with opening.opened(platform.settings) as opened:
        await opened.fhir.update({"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"})
        await opened.fhir.update(resource("gw-auch", CLIENT))
        await opened.fhir.update(peer(pacs, "pacs-straight"))
        await opened.fhir.update(peer(pacs, "pacs-through", "gw-auch"))
        _client, secret = await clients.add(opened.engine.store, CLIENT, scope="system/ImagingStudy.c")
    return secret or ""


def moved(images: Images, kind: Any, id: str, study: str) -> Transfer:
    """The transfer when it is over."""
    asked = images.queue.submit(Order(kind, id, study, 1), time.time_ns() // 1000)
    while (found := images.queue.get(asked.id)) is not None and found.state == "waiting":
        time.sleep(0.02)
    assert found is not None
    assert (found.state, found.done) == ("done", COUNT), found
    return found


def rate(found: Transfer) -> float:
    """Instances a second, from the list to the receipt."""
    return COUNT / ((found.ended - found.started) / 1e6)


def cpu(pids: dict[str, int]) -> dict[str, float]:
    """Seconds of CPU of each and its children so far."""
    tick, found = os.sysconf("SC_CLK_TCK"), dict.fromkeys(pids, 0.0)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            for name, pid in pids.items():
                if pid in (int(folder.name), int(fields[1])):
                    found[name] += (int(fields[11]) + int(fields[12])) / tick
    return found


def forget(pacs: Pacs) -> None:
    for one in httpx.get(f"{pacs.http}/studies", timeout=20).json():
        httpx.delete(f"{pacs.http}/studies/{one}", timeout=60)


def relays(images: Images, pacs: Pacs, folder: Path, pids: dict[str, int]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for run in range(RUNS):
        study, paths = exam(folder / f"out{run}", 100 + run)
        for path in paths:
            ingest(path, Arrival(1), images.files, images.index)
        for name, id in WAYS.items():
            before = cpu(pids)
            rates[name].append(rate(moved(images, "relay", id, study)))
            after = cpu(pids)
            spent = {one: round((after[one] - before[one]) / COUNT * 1000, 1) for one in pids}
            print(f"relay {name}: {rates[name][-1]:.0f}/s; CPU an instance, ms: {spent}")
            forget(pacs)
    said("relay", rates)


def imports(images: Images, pacs: Pacs, folder: Path) -> None:
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for run in range(RUNS):
        for place, (name, id) in enumerate(WAYS.items()):
            study, paths = exam(folder / f"in{run}{place}", 200 + 10 * run + place)
            pacs.load(paths)
            rates[name].append(rate(moved(images, "import", id, study)))
            print(f"import {name}: {rates[name][-1]:.0f}/s")
            forget(pacs)
    said("import", rates)


def said(what: str, rates: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(found) for name, found in rates.items()}
    ratio = middle["through"] / middle["straight"]
    load = os.getloadavg()[0]
    print(f"{what}: straight {middle['straight']:.0f}/s, through {middle['through']:.0f}/s: {ratio:.2f} ×; "
          f"load {load:.1f}")  # fmt: skip


def main() -> None:
    os.environ["TCP_NODELAY"] = "1"  # read by DCMTK, which Orthanc is made of
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        platform = Platform(folder / "platform")
        site = Site(folder / "site", f"http://127.0.0.1:{platform.port}", "", health_seconds="30")
        dicom = unused_port()
        to = {"gateway": ["PASSERELLE", "127.0.0.1", site.port]}
        pacs = stack.enter_context(orthanc(folder / "pacs", dicom, unused_port(), DicomModalities=to))
        site.environment["TELEDOSSIER_GATEWAY_PEERS"] = f"ORTHANC=127.0.0.1:{dicom}"
        (site.folder / "secret").write_text(asyncio.run(directory(platform, pacs)))
        stack.callback(platform.stop)
        platform.start()
        work = stack.enter_context(working(platform))
        stack.callback(site.stop)
        site.start()
        images = open_images(platform.settings, None)  # type: ignore[arg-type]
        stack.callback(images.close)
        processes = {"serve": platform.process, "worker": work.process, "gateway": site.process}
        pids = {"PACS": pacs.process.pid, **{name: one.pid for name, one in processes.items() if one}}
        relays(images, pacs, folder, pids)
        imports(images, pacs, folder)
        print(f"memory of the gateway: {site.peak_memory() / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
