"""Where everything lasting is kept. `open_store` picks the engine that the settings name."""

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.sqlite import SqliteStore

__all__ = ["open_store"]


def open_store(settings: Settings) -> Store:
    """The store of `TELEDOSSIER_STORE`, not yet opened: `await store.open()`."""
    if settings.store.startswith("sqlite:///"):
        return SqliteStore(settings.sqlite_path)
    from fhir_server.store.mongo import MongoStore  # the driver is loaded only where it is used

    return MongoStore(settings.store)
