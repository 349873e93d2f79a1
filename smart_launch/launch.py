"""Fills the launch's ports with the store, the accounts, the sessions and the keys of this server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from fhir_server.search.nodes import Select, Token
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from smart_launch import outbound
from smart_launch.app import dpi
from smart_launch.app.dpi.ports import Person, Platform, Render
from smart_launch.authorization.keys import STATEMENT_ALGORITHM, Keys
from smart_launch.authorization.peer_keys import PeerKeys
from smart_launch.signin import local
from smart_launch.signin.session import Sessions


@dataclass(frozen=True, slots=True)
class StoredPeople:
    """The directory's Practitioners and the accounts, in one store."""

    store: Store

    async def find(self, identifiers: Sequence[tuple[str, str]]) -> Person | None:
        """Two Practitioners with the same number are nobody: an identity is not guessed."""
        where = Token("identifier", tuple(identifiers))
        rows = await self.store.search(Select("Practitioner", where, count=2))
        if len(rows) != 1:
            return None
        account = await local.of_practitioner(self.store, rows[0].version.id)
        return Person(account.username, account.practitioner, account.disabled) if account else None


@dataclass(frozen=True, slots=True)
class CookieDoors:
    """Sessions by cookie."""

    sessions: Sessions
    origin: str

    async def open(self, person: Person, via: str, request: Request) -> tuple[str, str]:
        await self.sessions.end(self.value(request))
        value = await self.sessions.open(person.account, person.practitioner, via)
        return value, Sessions.key(value)

    async def current(self, request: Request) -> str | None:
        session = await self.sessions.find(self.value(request))
        return session.key if session else None

    def give(self, response: Response, value: str) -> None:
        self.sessions.give(response, value)

    def headers(self, value: str) -> dict[str, str]:
        return {"cookie": f"{self.sessions.cookie}={value}", "origin": self.origin}

    def value(self, request: Request) -> str:
        return request.cookies.get(self.sessions.cookie, "")


def routes(
    store: Store,
    settings: Settings,
    keys: Keys,
    sessions: Sessions,
    http: httpx.AsyncClient,
    app_ref: Callable[[], ASGIApp],
    render: Render,
) -> list[BaseRoute]:
    """The launch's addresses. `http` reaches the DPIs (`outbound.client()`), `app_ref` gives the guarded
    platform."""

    async def sign(claims: Mapping[str, Any]) -> str:
        return (await keys.load()).sign(claims, algorithm=STATEMENT_ALGORITHM)

    return dpi.routes(
        Platform(
            url=settings.url,
            records=store,
            people=StoredPeople(store),
            doors=CookieDoors(sessions, outbound.origin(settings.url)),
            sign=sign,
            http=http,
            peers=PeerKeys(http, keys.clock),
            app_ref=app_ref,
            render=render,
            clock=keys.clock,
        )
    )
