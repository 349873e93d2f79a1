"""One platform for all tests of the room, a site of its own for each."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("platform") / "var")
    said = made.run("client", "add", CLIENT, "--scope", "system/ImagingStudy.c")
    (made.folder / "secret").write_text(said.split("secret ")[1].strip())
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(platform: Platform, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes a site's gateway, not yet started; `url` and settings as wanted."""
    made: list[Site] = []

    def make(url: str = "", **settings: str) -> Site:
        address = url or f"http://127.0.0.1:{platform.port}"
        secret = (platform.folder / "secret").read_text()
        one = Site(tmp_path / f"site{len(made)}", address, secret, **settings)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop(signal.SIGKILL)
