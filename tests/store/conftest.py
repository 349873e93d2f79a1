"""One `store` for every engine; a new engine is one more parameter."""

from collections.abc import AsyncIterator, Callable

import pytest

from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from tests.mongodb import ENGINES


@pytest.fixture(params=ENGINES)
def settings(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> Settings:
    """The settings of a fresh, empty store of each engine."""
    return Settings(store=store_url(request.param))


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = open_store(settings)
    await opened.open()
    yield opened
    await opened.close()
