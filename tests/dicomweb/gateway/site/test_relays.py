"""Relays to a PACS behind a gateway, by real processes: what is killed on the way, what is overtaken, what is
cancelled.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from dicomweb.ingest import Arrival, ingest
from dicomweb.transfers.record import Order
from tests.dicomweb import making
from tests.dicomweb.gateway.site.test_errands import Region, behind_at, receipt, region
from tests.dicomweb.pacs import qrscp
from tests.processes import eventually, unused_port

__all__ = ["region"]  # fixture
pytestmark = [
    pytest.mark.peer("orthanc"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def given(region: Region, folder: Path, study: str, count: int, size: int = 64) -> list[str]:
    """An exam on the platform; the UIDs of its instances, as they are numbered."""
    uids = []
    pixels = np.random.default_rng(1).integers(0, 2000, size * size, "<u2").tobytes()
    for n in range(1, count + 1):
        made = making.dataset(
            StudyInstanceUID=study, SeriesInstanceUID=study + ".1", SOPInstanceUID=f"{study}.1.{n}",
            InstanceNumber=n, Rows=size, Columns=size, PixelData=pixels,
        )  # fmt: skip
        ingest(making.write(folder / f"{n}.dcm", made), Arrival(1), region.images.files, region.images.index)
        uids.append(str(made.SOPInstanceUID))
    return uids


def came(region: Region) -> list[str]:
    """SOP Instance UIDs in the order in which the PACS stored them."""
    url, since, found = region.pacs.http, 0, list[str]()
    while True:
        page = httpx.get(f"{url}/changes?since={since}&limit=1000", timeout=20).json()
        new = [one["ID"] for one in page["Changes"] if one["ChangeType"] == "NewInstance"]
        known = {one["ID"]: one["MainDicomTags"]["SOPInstanceUID"]
                 for one in httpx.get(f"{url}/instances?expand", timeout=20).json()}  # fmt: skip
        found += [known.get(one, "") for one in new]
        since = page["Last"]
        if page["Done"]:
            return found


def kill_gateway(region: Region) -> None:
    region.site.stop(signal.SIGKILL)
    region.site.start()


def kill_worker(region: Region) -> None:
    region.work.stop(signal.SIGKILL)
    region.work.start()


def kill_platform(region: Region) -> None:
    region.platform.stop(signal.SIGKILL)
    region.platform.start(workers=2)


@pytest.mark.parametrize("kill", [kill_gateway, kill_worker, kill_platform])
def test_nothing_is_lost_whoever_is_killed(
    kill: Callable[[Region], None], region: Region, tmp_path: Path
) -> None:
    """Twice on the way: the PACS has every instance once, byte for byte, and commits to it."""
    study, count = f"2.25.55{len(kill.__name__)}", 120
    uids = given(region, tmp_path, study, count, 512)
    id = region.transfer("relay", study)
    for part in (10, 60):
        assert eventually(lambda part=part: region.standing(id).done >= part, 60)  # type: ignore[misc]
        kill(region)
    assert region.standing(id).done < count or kill is kill_platform
    after = region.ended(id, 120)
    assert (after.state, after.done, after.failed) == ("done", count, 0)
    told = receipt(region, id)
    assert (told["verified"], {one["proof"] for one in told["instances"]}) == ("commitment", {"committed"})
    assert sorted(one for one in region.pacs.instances() if one.startswith(study + ".")) == sorted(uids)
    assert not list((region.site.folder / "var" / "files" / "spool").rglob("errand-*"))


def test_a_stroke_overtakes_within_an_image(region: Region, tmp_path: Path) -> None:
    """Behind a long exam of large images: what the PACS stores next, but for the one under way."""
    routine, stroke = "2.25.66", "2.25.67"
    given(region, tmp_path, routine, 150, 512)
    urgent = given(region, tmp_path, stroke, 10)
    id = region.transfer("relay", routine)
    assert eventually(lambda: region.standing(id).done >= 20, 60)
    stored_so_far = httpx.get(f"{region.pacs.http}/statistics", timeout=20).json()["CountInstances"]
    began = time.monotonic()
    order = Order("relay", "pacs-auch", stroke, 0)
    vital = region.images.queue.submit(order, time.time_ns() // 1000).id
    assert eventually(lambda: region.standing(vital).done >= 1, 30)
    first = time.monotonic() - began
    assert region.ended(vital).state == "done"
    all_came = came(region)
    places = sorted(all_came.index(one) for one in urgent)
    start = places[0]
    between = start - stored_so_far
    print(f"\nstroke: its first image after {first:.2f} s, {between} others since it was asked for")
    assert places == list(range(start, start + 10))  # nothing comes between
    assert first < 3
    assert region.ended(id, 120).done == 150
    assert len(came(region)) == len(set(came(region)))


def test_cancelled_on_the_way_it_stops(region: Region, tmp_path: Path) -> None:
    study = "2.25.68"
    given(region, tmp_path, study, 150, 512)
    id = region.transfer("relay", study)
    assert eventually(lambda: region.standing(id).done >= 10, 60)
    assert region.images.queue.cancel(id, time.time_ns() // 1000)
    stopped = region.standing(id).done
    under_way = "SELECT id FROM errand WHERE state <> 'over'"  # a killed worker's are over, and stay a while
    assert eventually(lambda: not region.images.board.rows(under_way), 10)
    there = sum(one.startswith(study + ".") for one in region.pacs.instances())
    assert stopped <= there < 150
    time.sleep(0.5)  # nothing more comes: there is no event for that
    assert sum(one.startswith(study + ".") for one in region.pacs.instances()) <= there + 1


@pytest.mark.slow
def test_the_gateways_memory_is_flat(region: Region, tmp_path: Path) -> None:
    """One instance of 315 MB among small ones."""
    study = "2.25.69"
    noise = np.random.default_rng(1).integers(0, 2000, 512 * 512, "<u2").tobytes()
    made = making.dataset(
        StudyInstanceUID=study, SeriesInstanceUID=study + ".1", SOPInstanceUID=f"{study}.1.99", Rows=512,
        Columns=512, NumberOfFrames=600, PixelData=noise * 600,
    )  # fmt: skip
    path = making.write(tmp_path / "large.dcm", made)
    del made
    ingest(path, Arrival(1), region.images.files, region.images.index)
    given(region, tmp_path, study, 20)
    after = region.ended(region.transfer("relay", study), 240)
    assert (after.state, after.done) == ("done", 21)
    print(f"\nmemory of the gateway: {region.site.peak_memory() / 1e6:.0f} MB")
    assert region.site.peak_memory() < 150_000_000


@pytest.mark.peer("dcmtk")
def test_a_pacs_that_commits_to_nothing_is_believed_by_its_list(region: Region, tmp_path: Path) -> None:
    """DCMTK's dcmqrscp behind the gateway: asked, it does not offer it, and the receipt says so."""
    dicom, study = unused_port(), "2.25.70"
    uids = given(region, tmp_path, study, 30)
    kept = region.site.environment["TELEDOSSIER_GATEWAY_PEERS"]
    with qrscp(tmp_path / "qrscp", dicom, 1), region.client() as client:
        resource = behind_at(f"127.0.0.1:{dicom}/DCMQRSCP", "pacs-dcmtk")
        client.put("/fhir/Endpoint/pacs-dcmtk", json=resource).raise_for_status()
        region.site.stop()
        region.site.environment["TELEDOSSIER_GATEWAY_PEERS"] = f"{kept}, DCMQRSCP=127.0.0.1:{dicom}"
        try:
            region.site.start()
            after = region.ended(region.transfer("relay", study, "pacs-dcmtk"))
        finally:
            region.site.stop()
            region.site.environment["TELEDOSSIER_GATEWAY_PEERS"] = kept
            region.site.start()
    assert (after.state, after.done) == ("done", 30)
    told = receipt(region, after.id)
    assert (told["verified"], told["commitment"]) == ("presence", "not-offered")
    assert {one["sopInstanceUID"]: one["proof"] for one in told["instances"]} == dict.fromkeys(
        uids, "presence"
    )
