from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.access import SYSTEM
from fhir_server.demo.directory import everyone
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import Operations
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.files import Files
from fhir_server.teledossier.operations import OPERATIONS
from fhir_server.teledossier.rule import WRITE_RULES
from fhir_server.teledossier.vocabulary import key


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine on an empty store, with the domain's operations and write rule."""
    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", files=str(tmp_path / "files"))
    store = open_store(settings)
    await store.open()
    yield Engine(store, Files(tmp_path / "files"), settings, now, WRITE_RULES, Operations(OPERATIONS))
    await store.close()


@pytest.fixture
async def region(engine: Engine) -> Engine:
    """The demonstration's directory and patients, no télédossier."""
    entries = [{"resource": one, "request": {"method": "PUT", "url": key(one)}} for one in everyone()]
    await Fhir(engine, SYSTEM).transaction(
        {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    )
    return engine
