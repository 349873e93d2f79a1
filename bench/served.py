"""The server as it is run: `teledossier serve --workers 2` in open mode, over HTTP, every write durable.

    python -m bench.served [--seconds 6] [--clients 32]

Creates alone; a mix of create, read, update and delete in equal parts; transaction Bundles. Server and
clients share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from bench.bundles import PER_ENCOUNTER, directory, transaction
from bench.rest import PATIENT
from bench.serving import Client, connected, free_port, megabytes, started, wait

ENCOUNTERS = 30
Cycle = Callable[[Client, Iterator[str]], Awaitable[int]]
"""One client's round; answers how many it did."""


def _patient(id: str, city: str) -> bytes:
    made = {**PATIENT, "id": id, "address": [{"city": city}]}
    return json.dumps(made).encode()


NEW = json.dumps({key: value for key, value in PATIENT.items() if key != "id"}).encode()


async def _expect(client: Client, status: int, method: str, path: str, body: bytes = b"") -> None:
    found = await client.ask(method, path, body)
    assert found == status, (method, path, found)


async def _create(client: Client, ids: Iterator[str]) -> int:
    await _expect(client, 201, "POST", "/fhir/Patient", NEW)
    return 1


async def _mix(client: Client, ids: Iterator[str]) -> int:
    """By PUT, so that the id is known without reading the answer."""
    id = next(ids)
    path = f"/fhir/Patient/{id}"
    await _expect(client, 201, "PUT", path, _patient(id, "Toulouse"))
    await _expect(client, 200, "GET", path)
    await _expect(client, 200, "PUT", path, _patient(id, "Auch"))
    await _expect(client, 204, "DELETE", path)
    return 4


async def _rate(port: int, count: int, seconds: float, cycle: Cycle) -> tuple[float, float]:
    """(done a second, p95 of a round in ms)."""
    until, done, waits = time.perf_counter() + seconds, 0, []
    prefix, numbers = secrets.token_hex(4), itertools.count()
    ids = (f"{prefix}-{number}" for number in numbers)

    async def work(client: Client) -> None:
        nonlocal done
        while (began := time.perf_counter()) < until:
            made = await cycle(client, ids)  # before the sum: `done += await` would lose what others add
            done += made
            waits.append(time.perf_counter() - began)

    async with connected(port, count) as clients:
        await asyncio.gather(*map(work, clients))
    return done / seconds, statistics.quantiles(waits, n=20)[18] * 1000


async def _measure(port: int, seconds: float, count: int) -> None:
    async with connected(port, 1) as (client,):
        for one in directory():
            await _expect(
                client, 201, "PUT", f"/fhir/{one['resourceType']}/{one['id']}", json.dumps(one).encode()
            )
    rng = random.Random(1)
    bundles = [json.dumps(transaction(ENCOUNTERS, rng)).encode() for _ in range(20)]
    size = 1 + ENCOUNTERS * (1 + PER_ENCOUNTER)

    async def load(client: Client, ids: Iterator[str]) -> int:
        await _expect(client, 200, "POST", "/fhir", rng.choice(bundles))
        return size

    for name, clients, cycle in (
        ("creates, each durable", count, _create),
        ("mix: create, read, update, delete", count, _mix),
        (f"transactions of {size}, resources", 4, load),
    ):
        rate, p95 = await _rate(port, clients, seconds, cycle)
        print(f"{name:36} {rate:7.0f}/s   p95 of a round {p95:6.1f} ms, {clients} clients", flush=True)


def main() -> None:
    """Runs it and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    port = free_port()
    environment = {"TELEDOSSIER_AUTH": "open", "TELEDOSSIER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with started(folder, ["serve", "--workers", str(options.workers)], environment) as serve:
            wait(port)
            asyncio.run(_measure(port, options.seconds, options.clients))
            for pid in _family(serve.pid):
                print(f"largest memory of process {pid}: {megabytes(pid):.0f} MB")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


if __name__ == "__main__":
    main()
