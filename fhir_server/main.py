"""The roof: every room is wired here, once, from one Settings. Imported by the commands alone.

`application()` is what uvicorn starts; `opened()` gives the same engine to a command or a job, without the web.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from fastapi import FastAPI
from starlette.types import ASGIApp

from dicomweb import routes as image_routes
from dicomweb.images import Images, open_images
from fhir_server import settings as config
from fhir_server.access import SYSTEM
from fhir_server.audit import Trail
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.logs import log_to_stderr
from fhir_server.operations.registry import Operations
from fhir_server.rest import middleware
from fhir_server.rest import routes as fhir_routes
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from fhir_server.teledossier import membership, operations, rules
from smart_launch import authorization, outbound, signin
from smart_launch.app import routes as portal_routes
from smart_launch.app.rendering import render
from smart_launch.authorization import Keys
from smart_launch.guard import Guard
from smart_launch.signin.local import SignIn
from smart_launch.signin.session import Sessions


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Platform:
    """The open parts that a command works with."""

    settings: Settings
    engine: Engine

    @property
    def fhir(self) -> Fhir:
        """The FHIR interactions as the platform itself, seeing everything."""
        return Fhir(self.engine, SYSTEM)


def make_engine(settings: Settings, store: Store) -> Engine:
    """The FHIR engine with the télédossier's operations and write rules; the store is opened by the caller."""
    return Engine(
        store=store,
        files=Files(settings.files_path),
        settings=settings,
        now=now,
        write_rules=rules.WRITE_RULES,
        operations=Operations(tuple(operations.OPERATIONS)),
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Platform]:
    """The platform without the web, for commands and jobs."""
    log_to_stderr(settings)
    store = open_store(settings)
    await store.open()
    try:
        yield Platform(settings, make_engine(settings, store))
    finally:
        await store.close()
