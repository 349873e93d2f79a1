"""The rooms of this floor wired around a small application that shows what reached it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from fhir_server.settings import Settings
from smart_launch import authorization, outbound, signin
from smart_launch.authorization.keys import Keys, Signing, generate
from smart_launch.guard import Guard
from smart_launch.signin.local import SignIn
from smart_launch.signin.session import Sessions
from tests.smart_launch.memory import Clock, MemoryRecords

HERE = "http://127.0.0.1:8080"
OWN = {"Sec-Fetch-Site": "same-origin"}
_MADE = generate()


def plain(name: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """A render function that shows its arguments."""
    shown = " ".join(f"{key}={value}" for key, value in sorted(context.items()))
    return HTMLResponse(f"[{name}] {shown}", status)


async def show(request: Request) -> Response:
    access, session = request.scope["access"], request.scope["session"]
    if access is None:
        return JSONResponse({"access": None})
    return JSONResponse(
        {
            "subject": access.subject,
            "scopes": [f"{scope.type}.{scope.letters}" for scope in access.scopes],
            "audience": None if access.audience is None else sorted(access.audience),
            "session": session.via if session else None,
        }
    )


@dataclass
class House:
    """Everything of one test."""

    clock: Clock
    store: Any
    settings: Settings
    keys: Keys
    sessions: Sessions
    signin: SignIn
    guard: Guard
    http: httpx.AsyncClient
    audiences: dict[str, frozenset[str]] = field(default_factory=dict)
    outside: dict[str, Any] = field(default_factory=dict)
    asked_outside: list[str] = field(default_factory=list)


def build(settings: Settings, clock: Clock) -> House:
    """Wire it as the roof does; `outside` answers what the server fetches from others, by address."""
    store: Any = MemoryRecords(clock)
    store.kept["signing-keys", "current"] = (_MADE, None)
    keys, sessions = Keys(store, clock), Sessions(store, settings, clock)
    audiences: dict[str, frozenset[str]] = {}
    outside: dict[str, Any] = {}
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        found = outside.get(str(request.url))
        if found is None:
            raise httpx.ConnectError("nobody there")
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    async def audience(practitioner: str) -> frozenset[str]:
        return audiences.get(practitioner, frozenset())

    signing_in = SignIn(store, clock)
    others = outbound.client(transport=httpx.MockTransport(answer))
    app = Starlette(
        routes=[
            *authorization.routes(store, settings, keys, others),
            *signin.routes(signing_in, sessions, plain),
            Route("/{rest:path}", show, methods=["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"]),
        ]
    )
    guard = Guard(app, store=store, settings=settings, keys=keys, sessions=sessions, audience=audience)
    transport = httpx.ASGITransport(app=guard, client=("127.0.0.1", 50000))
    http = httpx.AsyncClient(transport=transport, base_url=settings.url, trust_env=False)
    return House(clock, store, settings, keys, sessions, signing_in, guard, http, audiences, outside, asked)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(clock: Clock) -> AsyncIterator[House]:
    made = build(Settings(), clock)
    async with made.http:
        yield made


@pytest.fixture
async def open_house(clock: Clock) -> AsyncIterator[House]:
    made = build(Settings(auth="open"), clock)
    async with made.http:
        yield made


@pytest.fixture
def signing(clock: Clock) -> Signing:
    return Signing(KeySet.import_key_set(_MADE), clock)
