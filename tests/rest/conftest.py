from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from tests.rest.serving import Served, make_engine, serve


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(Settings(store=f"sqlite:///{tmp_path}/t.db"))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def served(tmp_path: Path, store: Store) -> Served:
    return serve(make_engine(tmp_path, store))
