"""The engine for a region: MongoDB, by PyMongo's own asynchronous client."""

from fhir_server.store.mongo.store import MongoStore, migrated

__all__ = ["MongoStore", "migrated"]
