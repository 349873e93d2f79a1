"""The engine with everything that the télédossier adds to it, opened from one Settings: what commands, jobs
and the web tier work with.

No web framework, no portal and no images are loaded for it, so that a command is quick to start.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from fhir_server.access import SYSTEM
from fhir_server.audit import Trail
from fhir_server.clock import utc_microseconds
from fhir_server.interactions.engine import Engine, Judging
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from fhir_server.teledossier.operations import OPERATIONS
from fhir_server.teledossier.rule import WRITE_RULES
from profiles.schema import packages
from profiles.schema.rules.identifier import TEST_SYSTEMS
from profiles.validation import validator


@dataclass(frozen=True, slots=True)
class Platform:
    """The open parts that a command works with."""

    settings: Settings
    engine: Engine

    @property
    def fhir(self) -> Fhir:
        """The FHIR interactions as the platform itself, seeing everything."""
        return Fhir(self.engine, SYSTEM)


def make_engine(settings: Settings, store: Store, trail: Trail | None = None) -> Engine:
    """The FHIR engine with the télédossier's operations and write rules; the caller opens the store."""
    refused = TEST_SYSTEMS if settings.production else frozenset()
    return Engine(
        validator=validator(packages.installed(settings.packages_path), refused_systems=refused),
        store=store,
        files=Files(settings.files_path),
        settings=settings,
        now=utc_microseconds,
        write_rules=WRITE_RULES,
        operations=Operations((*OPERATIONS, *STANDARD)),
        trail=trail,
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Platform]:
    """The platform without the web, for commands and jobs."""
    store = open_store(settings)
    await store.open()
    try:
        yield Platform(settings, make_engine(settings, store))
    finally:
        await store.close()


@asynccontextmanager
async def opened_engine(settings: Settings, judging: Judging = "all") -> AsyncIterator[Engine]:
    """The engine alone, for processes that prepare what others write."""
    async with opened(settings) as platform:
        yield replace(platform.engine, judging=judging)
