"""What the launch needs of the rest of the platform, as shapes: this folder imports neither the FHIR server
nor its store. `smart_launch.launch` fills them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from smart_launch.authorization.peer_keys import PeerKeys
from smart_launch.clock import Clock

Json = dict[str, Any]
Render = Callable[[str, Mapping[str, Any], int], Response]


class Records(Protocol):
    """Plain records with an expiry in UTC microseconds; `take_record` gives one to exactly one caller."""

    async def put_record(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        expires: int | None = None,
        only_if_absent: bool = False,
    ) -> bool: ...

    async def get_record(self, kind: str, key: str) -> Json | None: ...

    async def take_record(self, kind: str, key: str) -> Json | None: ...

    async def delete_record(self, kind: str, key: str) -> bool: ...

    async def list_records(self, kind: str) -> list[tuple[str, Json]]: ...


@dataclass(frozen=True, slots=True)
class Person:
    """Someone with an account: its name and the Practitioner's id."""

    account: str
    practitioner: str
    disabled: bool = False


class People(Protocol):
    """The directory and the accounts, as far as a launch may ask."""

    async def find(self, identifiers: Sequence[tuple[str, str]]) -> Person | None:
        """The one person with an account whose Practitioner bears one of these (system, value)
        identifiers."""


class Doors(Protocol):
    """Sessions: opened without a password for somebody whom a registered DPI vouches for."""

    async def open(self, person: Person, via: str, request: Request) -> tuple[str, str]:
        """The cookie's value, and the session's key; a session the browser had before ends."""

    async def current(self, request: Request) -> str | None:
        """The key of the session of this request."""

    def give(self, response: Response, value: str) -> None:
        """Set the cookie."""

    def headers(self, value: str) -> dict[str, str]:
        """Request headers that act as this session's own pages."""

    def value(self, request: Request) -> str:
        """The cookie's value in this request."""


@dataclass(frozen=True, slots=True)
class Platform:
    """All of it. `url` is this server's address without a final slash; `sign(claims, algorithm)` signs as
    this server."""

    url: str
    records: Records
    people: People
    doors: Doors
    sign: Callable[[Mapping[str, Any]], Any]
    http: httpx.AsyncClient
    peers: PeerKeys
    app_ref: Callable[[], ASGIApp]
    render: Render
    clock: Clock
