"""Where everything lasting is kept. `open_store` picks the engine that the settings name."""

import asyncio

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.sqlite import SqliteStore, schema

__all__ = ["migrate", "open_store"]


def open_store(settings: Settings) -> Store:
    """The store of `TELEDOSSIER_STORE`, not yet opened: `await store.open()`."""
    if settings.store.startswith("sqlite:///"):
        return SqliteStore(settings.sqlite_path)
    from fhir_server.store.mongo import MongoStore  # the driver is loaded only where it is used

    return MongoStore(settings.store)


async def migrate(settings: Settings) -> list[str]:
    """Bring the store to this program's schema; what was done, one line each. Raises SchemaMismatch,
    Unavailable, Invalid for an address that is none."""
    if settings.store.startswith("sqlite:///"):
        await asyncio.to_thread(schema.prepare, settings.sqlite_path)
        return [f"{settings.sqlite_path}: schema {schema.SCHEMA}, with its indexes; nothing more to do"]
    from fhir_server.store.mongo import migrated

    return await migrated(settings.store)
