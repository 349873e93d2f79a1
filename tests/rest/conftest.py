from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from tests.rest.serving import Served, make_engine, serve


@pytest.fixture
def engine_name() -> str:
    """A module of tests that runs on every engine has its own fixture of this name, with parameters."""
    return "sqlite"


@pytest.fixture
async def store(engine_name: str, store_url: Callable[[str], str]) -> AsyncIterator[Store]:
    store = open_store(Settings(store=store_url(engine_name)))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def served(tmp_path: Path, store: Store) -> Served:
    return serve(make_engine(tmp_path, store))
