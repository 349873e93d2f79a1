"""Where everything lasting is kept. `open_store` picks the engine that the settings name."""

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.sqlite import SqliteStore
from profiles.outcomes import NotSupported

__all__ = ["open_store"]


def open_store(settings: Settings) -> Store:
    """The store of `TELEDOSSIER_STORE`, not yet opened: `await store.open()`. Raises NotSupported."""
    if settings.store.startswith("sqlite:///"):
        return SqliteStore(settings.sqlite_path)
    raise NotSupported(
        "store-not-supported",
        "this build has only the embedded engine: TELEDOSSIER_STORE must be "
        "sqlite:///PATH; the MongoDB engine is not part of it yet",
    )
