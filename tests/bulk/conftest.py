from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.settings import Settings
from fhir_server.store import open_store
from tests.rest.serving import Served, make_engine, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    store = open_store(Settings(store=f"sqlite:///{tmp_path}/t.db"))
    await store.open()
    yield serve(make_engine(tmp_path, store, operations=Operations(STANDARD)))
    await store.close()
