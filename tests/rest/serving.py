"""A small application out of the FHIR routes, on a real store, with a guard that believes the test."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.access import SYSTEM, Access
from fhir_server.access import Scope as Granted
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.rest.middleware import Figures, Observed, status_routes
from fhir_server.rest.routes import before
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from tests.witness import witness

BASE = "http://test/fhir"
ALL = Access("Client/all", (Granted("*", "cruds"),), None)


def now() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class StubGuard:
    """Puts one Access, or none, on every request."""

    app: ASGIApp
    access: Access | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "access": self.access} if self.access else scope, receive, send)


@dataclass(frozen=True, slots=True)
class Served:
    engine: Engine
    app: ASGIApp
    figures: Figures

    def client(self, access: Access | None = ALL) -> httpx.AsyncClient:
        """A client whose requests carry that Access, and whose answers an independent witness reads. Nothing
        to close: the transport is in the process."""
        transport = httpx.ASGITransport(app=Observed(StubGuard(self.app, access), self.figures))
        return httpx.AsyncClient(transport=transport, base_url=BASE, event_hooks={"response": [witness]})

    @property
    def system(self) -> Fhir:
        return Fhir(self.engine, SYSTEM)


def make_engine(tmp_path: Path, store: Store, **parts: Any) -> Engine:
    settings = Settings(
        base_url="http://test",
        store=f"sqlite:///{tmp_path}/t.db",
        files=str(tmp_path / "files"),
        max_body=1_000_000,
    )
    return Engine(
        store, Files(tmp_path / "files"), settings, now, **{"operations": Operations(STANDARD), **parts}
    )


def serve(engine: Engine, oauth_uris: Mapping[str, str] | None = None) -> Served:
    figures = Figures(engine.trail)
    app = before(Starlette(routes=status_routes(engine.store, figures)), engine, oauth_uris=oauth_uris)
    return Served(engine, app, figures)
