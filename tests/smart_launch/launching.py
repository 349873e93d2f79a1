"""The platform on a socket of its own, the simulated DPI as a process of its own, and a browser between
them."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.operations.registry import Operations
from fhir_server.rest.routes import before
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.files import Files
from fhir_server.teledossier import membership, operations, rule
from smart_launch import authorization, launch, outbound, signin
from smart_launch.app import routes as portal
from smart_launch.app.dpi.issuers import Issuer, register
from smart_launch.app.rendering import render
from smart_launch.authorization import Keys
from smart_launch.clock import now
from smart_launch.guard import Guard
from smart_launch.signin import local
from smart_launch.signin.local import SignIn
from smart_launch.signin.session import Sessions

BASE = "https://teledossier.example/fhir"
SCENARIO = Path(__file__).parents[1] / "simulators" / "scenario.yaml"
# account and Practitioner id → (RPPS, local number, organization, role code)
PEOPLE = {
    "d1": ("89990000088", "", "urg-un", "requerant"),
    "d2": ("", "UN-002", "urg-un", "manipulateur"),
    "d3": ("89990000013", "", "med-deux", "requerant"),
    "d4": ("89990000039", "", "urg-un", "requerant"),
}


def directory() -> dict[str, Any]:
    """The organizations, people and roles as one transaction."""
    made = [
        _organization("ch-un", "etablissement"),
        _organization("ch-deux", "etablissement"),
        _organization("urg-un", "communaute", "ch-un"),
        _organization("med-deux", "communaute", "ch-deux"),
    ]
    for id, (rpps, number, organization, role) in PEOPLE.items():
        home = "ch-" + organization.rpartition("-")[2]
        system = "https://rpps.esante.gouv.fr" if rpps else f"{BASE}/NamingSystem/agent/{home}"
        made.append(
            {
                "resourceType": "Practitioner",
                "id": id,
                "name": [{"family": id.upper(), "given": ["Test"]}],
                "identifier": [{"system": system, "value": rpps or number}],
            }
        )
        made.append(
            {
                "resourceType": "PractitionerRole",
                "id": f"{id}-{organization}",
                "active": True,
                "practitioner": {"reference": f"Practitioner/{id}"},
                "organization": {"reference": f"Organization/{organization}"},
                "code": [{"coding": [{"system": f"{BASE}/CodeSystem/role", "code": role}]}],
            }
        )
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in made
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _organization(id: str, type: str, parent: str = "") -> dict[str, Any]:
    coding = {"system": f"{BASE}/CodeSystem/organization-type", "code": type}
    made = {"resourceType": "Organization", "id": id, "name": id, "type": [{"coding": [coding]}]}
    return made | ({"partOf": {"reference": f"Organization/{parent}"}} if parent else {})


@dataclass
class Town:
    """Both sides, running."""

    platform: str
    dpi: str
    store: Any
    fhir: Fhir
    browsers: list[Browser] = field(default_factory=list)

    def issuer(self, org: str) -> str:
        return f"{self.dpi}/{org}/fhir"

    async def faults(self, *names: str) -> None:
        async with httpx.AsyncClient() as http:
            answer = await http.post(self.dpi + "/panne", json={"pannes": list(names)})
            assert answer.status_code == 200, answer.text

    def browser(self) -> Browser:
        made = Browser(self, httpx.AsyncClient(trust_env=False, follow_redirects=False))
        self.browsers.append(made)
        return made

    async def close_browsers(self) -> None:
        while self.browsers:
            await self.browsers.pop().http.aclose()

    async def drafts(self) -> list[dict[str, Any]]:
        return await self.fhir.search("ServiceRequest", [("status", "draft")])


@dataclass
class Browser:
    """Follows redirects by hand, as a person's browser does; one cookie jar for both sites."""

    town: Town
    http: httpx.AsyncClient

    async def sign_in(self, org: str, person: str) -> None:
        """At the DPI."""
        form = {"etablissement": org, "professionnel": f"ps-{person}"}
        answer = await self.http.post(self.town.dpi + "/", data=form)
        assert answer.headers["location"] == f"/{org}/patients"

    async def patient(self, org: str, name: str) -> str:
        """The address of a patient's page, found on the list by name."""
        page = await self.http.get(f"{self.town.dpi}/{org}/patients")
        found = re.search(rf'href="(/{org}/patients/[0-9a-f]+)">{name} ', page.text)
        assert found, page.text
        return self.town.dpi + found[1]

    async def click(self, org: str, name: str) -> str:
        """The button; the address at the platform that it opens."""
        answer = await self.http.post(await self.patient(org, name) + "/tle")
        assert answer.status_code == 303
        return answer.headers["location"]

    async def follow(self, address: str, until: str = "") -> httpx.Response:
        """GET and go on until a page, or an address that begins with `until`."""
        for _ in range(12):
            answer = await self.http.get(address)
            if not answer.is_redirect:
                return answer
            address = str(answer.url.join(answer.headers["location"]))
            if until and urlsplit(address).path.startswith(until):
                return httpx.Response(303, headers={"location": address})
        raise AssertionError("too many redirects")

    async def launch(self, org: str, person: str, name: str) -> httpx.Response:
        """Everything a person does: be signed in at the DPI, open the patient, one click."""
        await self.sign_in(org, person)
        return await self.follow(await self.click(org, name), "/dossiers/")


def wire(settings: Settings, store: Any, outside: httpx.AsyncClient) -> tuple[ASGIApp, Engine]:
    """The platform as its roof wires it, less the images."""
    parts = {"write_rules": rule.WRITE_RULES, "operations": Operations(tuple(operations.OPERATIONS))}
    engine = Engine(store, Files(settings.files_path), settings, now, **parts)  # type: ignore[arg-type]
    keys, sessions = Keys(store), Sessions(store, settings)
    built: list[ASGIApp] = []
    app_ref = lambda: built[0]  # noqa: E731
    app = Starlette(
        routes=[
            *authorization.routes(store, settings, keys, outside),
            *signin.routes(SignIn(store), sessions, render),
            *launch.routes(store, settings, keys, sessions, outside, app_ref, render),
            *portal.routes(app_ref),
        ]
    )
    audience = partial(membership.audience, store)
    app = before(app, engine)
    guard = Guard(app, store=store, settings=settings, keys=keys, sessions=sessions, audience=audience)
    built.append(guard)
    return guard, engine


@asynccontextmanager
async def simulated_dpi(platform: str, *options: str) -> AsyncIterator[str]:
    """The process; its address."""
    arguments = ["--port", "0", "--portal", platform, "--scenario", str(SCENARIO), *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.dpi", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        yield line.partition(": ")[2].strip().rstrip("/").removeprefix(" ")
    finally:
        process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


@asynccontextmanager
async def served(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    """The application on its socket, in this event loop."""
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none")
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve([listening]))
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def town(path: Path, options: Sequence[str] = (), secret: str | None = None) -> AsyncIterator[Town]:
    """Everything started, people and DPIs registered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = Settings(store=f"sqlite:///{path}/t.db", files=str(path / "files"), port=port)
        store = open_store(settings)
        await store.open()
        try:
            async with outbound.client() as outside:
                app, engine = wire(settings, store, outside)
                fhir = Fhir(engine, SYSTEM)
                await fhir.transaction(directory())
                for person in PEOPLE:
                    await local.create_account(store, person, person, None)
                async with served(app, listening), simulated_dpi(settings.url, *options) as dpi:
                    for org in ("ch-un", "ch-deux"):
                        await register(store, Issuer(f"{dpi}/{org}/fhir", org, org, "teledossier", secret))
                    made = Town(settings.url, dpi, store, fhir)
                    try:
                        yield made
                    finally:
                        await made.close_browsers()
        finally:
            await store.close()
