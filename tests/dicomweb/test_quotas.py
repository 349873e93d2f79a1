"""A site over its quota: what is here stays, its exam is completed, the new one is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicomweb import reasons
from dicomweb.images import Images
from dicomweb.index.contract import Outcome, Trace, Usage
from dicomweb.ingest import Arrival, ingest
from dicomweb.reasons import Refused
from dicomweb.storage import quotas
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]
NOW = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1e6)
TODAY, YESTERDAY, OLD = "20260302", "20260301", "20260228"


def file(folder: Path, study: str, uid: str, date: str) -> Path:
    made = making.dataset(StudyInstanceUID=study, SOPInstanceUID=uid, StudyDate=date)
    return making.write(folder / uid, made)


def limited(images: Images, limits: dict[str, int]) -> None:
    images.files.quotas = limits


@pytest.mark.parametrize(
    ("share", "study", "date", "is_taken"),
    [
        (1.01, "2.25.2", OLD, True),  # the first exam is under it
        (1.0, "2.25.2", OLD, False),
        (0.9, "2.25.2", TODAY, True),
        (0.9, "2.25.2", YESTERDAY, True),
        (0.9, "2.25.2", OLD, False),
        (0.9, "2.25.1", OLD, True),  # of the exam that is here
        (0.5, "2.25.2", TODAY, False),
        (0.5, "2.25.1", TODAY, True),
        (0.0, "2.25.2", TODAY, False),
    ],
)
@pytest.mark.parametrize("who", ["site", "*"])
def test_who_may_still_store(
    images: Images, tmp_path: Path, share: float, study: str, date: str, is_taken: bool, who: str
) -> None:
    """`share`: the quota as a part of what is used."""
    arrival = Arrival(NOW, "CT1", "site")
    ingest(file(tmp_path, "2.25.1", "2.25.1.1", OLD), arrival, images.files, images.index)
    used = images.index.usage()["site"]
    limited(images, {who: int(share * used.bytes + (0.5 if share > 1 else 0)), "other": 0})
    path = file(tmp_path, study, "2.25.9", date)
    if is_taken:
        assert ingest(path, arrival, images.files, images.index) == "stored"
        return
    with pytest.raises(Refused) as refused:
        ingest(path, arrival, images.files, images.index)
    assert refused.value.reason is reasons.OVER_QUOTA
    assert images.index.usage()["site"] == used
    assert [one.uid for one in images.index.files("2.25.1")] == ["2.25.1.1"]
    known = file(tmp_path, "2.25.1", "2.25.1.1", OLD)
    assert ingest(known, arrival, images.files, images.index) == "duplicate"


def test_usage_counts_conflicts_and_what_is_masked(images: Images, take: Take, tmp_path: Path) -> None:
    first, other = (making.write(tmp_path / name, making.dataset(StudyDescription=name)) for name in "ab")
    for path, outcome in ((first, "stored"), (first, "duplicate"), (other, "conflict"), (other, "conflict")):
        assert take(path) == outcome
    size = first.stat().st_size + other.stat().st_size
    assert images.index.usage() == {"ct1": Usage(2, size)}
    images.index.mask((making.STUDY, None, None), Trace(5, "Device/x", "wrong"))
    assert images.index.usage() == {"ct1": Usage(2, size)}
    ((number, masked),) = images.index.purgeable(6, 10)
    assert masked.uid == "2.25.1"
    images.index.mark_purged(number, 7)
    images.index.mark_purged(number, 8)
    assert images.index.usage() == {"ct1": Usage(1, other.stat().st_size)}


async def test_stow_says_why(images: Images, client: Client, tmp_path: Path) -> None:
    limited(images, {"*": 0})
    body = making.write(tmp_path / "a", making.dataset()).read_bytes()
    answer = await store(client, body)
    assert answer.status_code == 507
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA700]
    limited(images, {})
    assert (await store(client, body)).status_code == 200


async def store(client: Client, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
    return await client.post("/studies", content=body, headers=headers)


def test_operators_are_told(images: Images, take: Take, tmp_path: Path) -> None:
    path = making.write(tmp_path / "a", making.dataset())
    take(path)
    size = path.stat().st_size
    told: dict[Any, list[str]] = {
        size: ["site ct1: 100 % of its quota is used"],
        2 * size: [],
    }
    for allowed, lines in told.items():
        assert quotas.told(images.index, {"*": allowed}) == lines
