"""One `store` for every engine; a new engine is one more parameter."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store


@pytest.fixture(params=["sqlite"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The settings of a fresh, empty store of each engine."""
    urls: dict[str, Callable[[], str]] = {"sqlite": lambda: f"sqlite:///{tmp_path / 'store.db'}"}
    return Settings(store=urls[request.param]())


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = open_store(settings)
    await opened.open()
    yield opened
    await opened.close()
