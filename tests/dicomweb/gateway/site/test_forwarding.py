"""A site's gateway from end to end: modality → gateway → platform, each its own process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dicomweb import making
from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site

pytestmark = pytest.mark.peer("dcmtk")
Make = Callable[..., Site]


def exam(folder: Path, count: int, number: int) -> tuple[str, list[Path]]:
    """A study of its own: UID and files."""
    study = f"2.25.{number}"
    folder.mkdir(parents=True)
    paths = [
        making.write(
            folder / f"{n}.dcm",
            making.dataset(
                StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.1.{n}",
                InstanceNumber=n,
            ),
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    return study, paths


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_what_a_modality_sends_is_on_the_platform_byte_for_byte(
    platform: Platform, site: Make, tmp_path: Path, compression: str
) -> None:
    gateway = site(compression=compression)
    gateway.start()
    study, paths = exam(tmp_path / "exam", 12, 1000 + len(compression))
    gateway.send(paths)
    assert gateway.emptied()
    stored = platform.stored(study)
    assert len(stored) == 12
    with platform.index() as index:
        origins = {one.instance: one for one in index.origins(study)}
    assert set(origins) == set(stored)
    for uid, content in stored.items():
        said = origins[uid]
        assert (said.gateway, said.ae_title) == (CLIENT, "CT1")
        assert said.sha256 == hashlib.sha256(content).hexdigest()
    assert gateway.stop() == 0
