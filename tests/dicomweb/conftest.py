"""Images on a real index, real files and a real store; the routes behind a reader's Access."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomweb.images import Images, open_images
from dicomweb.index.contract import Outcome
from dicomweb.ingest import Arrival, ingest
from dicomweb.mount import every_route
from fhir_server.access import SYSTEM, Access
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=f"sqlite:///{tmp_path / 'var' / 'store.db'}",
        files=str(tmp_path / "files"),
        base_url="http://test",
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = open_store(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def images(settings: Settings, store: Store) -> Iterator[Images]:
    opened = open_images(settings, store)
    yield opened
    opened.close()


@pytest.fixture
def take(images: Images) -> Callable[..., Outcome]:
    """Take a file in as a C-STORE would, leaving the original where it is."""

    def take(path: Path, *, received: int = 1_000_000, calling_ae: str = "CT1") -> Outcome:
        spooled = images.files.spool / f"copy-{path.name}"
        shutil.copyfile(path, spooled)
        return ingest(spooled, Arrival(received, calling_ae, calling_ae.lower()), images.files, images.index)

    return take


class As:
    """Puts an Access where the guard would."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.access = app, SYSTEM
        self.still: Callable[[], Awaitable[Access | None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["access"] = self.access
        if scope["type"] == "websocket":
            scope["still"] = self.still
        await self.app(scope, receive, send)


def rows(response: httpx.Response) -> list[dict[str, Any]]:
    """What a search found: 204 is nothing."""
    if response.status_code == 204:
        assert response.content == b""
        return []
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    assert found
    return found


class Client(httpx.AsyncClient):
    """An HTTP client whose reader can be changed: `client.access = …`."""

    def __init__(self, app: As) -> None:
        super().__init__(transport=httpx.ASGITransport(app), base_url="http://test/dicom-web")
        self.app = app

    @property
    def access(self) -> Access:
        return self.app.access

    @access.setter
    def access(self, access: Access) -> None:
        self.app.access = access


@pytest.fixture
async def client(images: Images) -> AsyncIterator[Client]:
    async with Client(As(Starlette(routes=every_route(images)))) as opened:
        yield opened
