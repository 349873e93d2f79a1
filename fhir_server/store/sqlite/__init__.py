"""The embedded engine: SQLite in WAL mode."""

from fhir_server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
