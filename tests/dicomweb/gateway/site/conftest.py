"""One platform for all tests of the room, a site of its own for each."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site
from tests.dicomweb.gateway.test_registry import resource


def register(platform: Platform, secret: str) -> None:
    """Put the site and its gateway into the directory."""
    url = f"http://127.0.0.1:{platform.port}"
    form = {"grant_type": "client_credentials", "scope": "system/*.cruds"}
    answer = httpx.post(f"{url}/oauth/token", auth=("operator", secret), data=form)
    headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    organization = {"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"}
    for one in (organization, resource("gw-auch", CLIENT)):
        address = f"{url}/fhir/{one['resourceType']}/{one['id']}"
        httpx.put(address, json=one, headers=headers).raise_for_status()


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("platform") / "var")
    said = made.run("client", "add", CLIENT, "--scope", "system/ImagingStudy.c")
    (made.folder / "secret").write_text(said.split("secret ")[1].strip())
    operator = made.run("client", "add", "operator", "--scope", "system/*.cruds")
    made.start()
    register(made, operator.split("secret ")[1].strip())
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
