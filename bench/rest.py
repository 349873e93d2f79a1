"""FHIR over HTTP, one uvicorn worker in a process of its own: read by id against a bare Starlette route that
returns the same bytes, search, creates. Both sides are measured in alternation in the same run.

    python -m bench.rest [--seconds 4] [--clients 16]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.serving import Client, connected
from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.rest.answer import FHIR_JSON
from fhir_server.rest.middleware import Figures, Observed
from fhir_server.rest.routes import before
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.files import Files

PATIENT = {
    "resourceType": "Patient",
    "id": "bench",
    "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.11", "value": "180057503800125"}],
    "name": [{"use": "official", "family": "BANC", "given": ["Essai", "Mesure"]}],
    "gender": "female",
    "birthDate": "1980-05-12",
    "address": [{"line": ["1 rue du Banc"], "postalCode": "31000", "city": "Toulouse"}],
    "telecom": [{"system": "phone", "value": "0500000000"}],
}


class _Trusting:
    """Stands where the guard stands, so that the guard's own cost is not in the figures."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["access"] = SYSTEM
        await self.app(scope, receive, send)


def _serve(folder: str, listening: socket.socket, ready: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_server(Path(folder), listening, ready))


async def _server(folder: Path, listening: socket.socket, ready: Connection) -> None:
    settings = Settings(store=f"sqlite:///{folder}/bench.db", files=str(folder / "files"))
    store = open_store(settings)
    await store.open()
    engine = Engine(store, Files(folder / "files"), settings, lambda: time.time_ns() // 1000)
    await Fhir(engine, SYSTEM).update(PATIENT)
    stored = await store.read("Patient", "bench")
    assert stored is not None

    async def bare(request: Request) -> Response:
        return Response(stored.body, media_type=FHIR_JSON)

    app = Observed(_Trusting(before(Starlette(), engine)), Figures())
    plain = Starlette(routes=[Route("/bare/{id}", bare)])

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await (plain if scope["path"].startswith("/bare/") else app)(scope, receive, send)

    config = uvicorn.Config(wrapped, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    ready.send(True)
    await server.serve(sockets=[listening])
    await store.close()


async def _rate(
    clients: list[Client], seconds: float, method: str, path: str, body: bytes, ok: int
) -> tuple[float, float]:
    """(requests a second, p95 in ms) of all clients together."""
    until, times = time.perf_counter() + seconds, []

    async def work(client: Client) -> None:
        while (began := time.perf_counter()) < until:
            status = await client.ask(method, path, body)
            assert status == ok, status
            times.append(time.perf_counter() - began)

    await asyncio.gather(*map(work, clients))
    return len(times) / seconds, statistics.quantiles(times, n=20)[18] * 1000


async def _measure(port: int, seconds: float, count: int) -> None:
    body = json.dumps({key: value for key, value in PATIENT.items() if key != "id"}).encode()
    bare: list[float] = []
    read: list[float] = []
    async with connected(port, count) as clients:
        for _ in range(3):
            bare.append((await _rate(clients, seconds / 3, "GET", "/bare/bench", b"", 200))[0])
            read.append((await _rate(clients, seconds / 3, "GET", "/fhir/Patient/bench", b"", 200))[0])
        b, r = statistics.median(bare), statistics.median(read)
        print(f"bare Starlette route   {b:8.0f}/s")
        print(f"read by id             {r:8.0f}/s   {r / b:.0%} of the bare route")
        found = "/fhir/Patient?identifier=180057503800125&_total=none"
        for name, method, path, sent, ok in (
            ("search by identifier", "GET", found, b"", 200),
            ("create, durable", "POST", "/fhir/Patient", body, 201),
        ):
            rate, p95 = await _rate(clients, seconds, method, path, sent, ok)
            print(f"{name:22} {rate:8.0f}/s   p95 {p95:.1f} ms, {count} clients")


def main() -> None:
    """Runs it and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    # Named TCP, else the event loop does not switch off Nagle on what it accepts: 40 ms an answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        server = context.Process(target=_serve, args=(folder, listening, theirs), daemon=True)
        server.start()
        ours.recv()
        try:
            asyncio.run(_measure(listening.getsockname()[1], options.seconds, options.clients))
        finally:
            server.terminate()
            server.join(10)


if __name__ == "__main__":
    main()
