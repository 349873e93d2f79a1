"""The embedded store alone: durable creates with 32 clients, reads by id, selective searches.

    python -m bench.store [--rows 10000] [--seconds 3] [--keep PATH]

Made-up observations of made-up patients, extracted by the real index; no HTTP, no validation. Prints one line
per figure.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from fhir_server.access import SYSTEM
from fhir_server.search.index import extract
from fhir_server.search.plan import plan, run
from fhir_server.store.contract import Put, Store
from fhir_server.store.sqlite import SqliteStore

BASE, ZONE = "https://here.example/fhir", ZoneInfo("Europe/Paris")
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CODES = [f"{n}-{n % 10}" for n in range(400)]
CLIENTS = 32
BATCH = 2_000


def patient(n: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{n}",
        "gender": "male" if n % 2 else "female",
        "birthDate": f"{1930 + n % 90}-0{n % 9 + 1}-11",
        "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.11", "value": f"{n:015}"}],
        "name": [{"family": f"Nom{n % 5000}", "given": [f"Prénom{n % 700}"]}],
    }


def day() -> str:
    return f"20{random.randrange(10, 26)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"


def observation(n: int, patients: int) -> dict[str, Any]:
    code = CODES[min(int(random.expovariate(0.02)), 399)]  # a few codes are frequent, most are rare
    return {
        "resourceType": "Observation",
        "id": f"o{n}",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": LOINC, "code": code, "display": f"Mesure {code}"}],
            "text": f"Mesure {code}",
        },
        "subject": {"reference": f"Patient/p{random.randrange(patients)}"},
        "effectiveDateTime": f"{day()}T10:00:00+01:00",
        "valueQuantity": {
            "value": random.randrange(1, 400),
            "unit": "mg/dL",
            "system": UCUM,
            "code": "mg/dL",
        },
    }


def put(made: dict[str, Any]) -> Put:
    return Put(
        made["resourceType"], made["id"], 0, 0, "create", orjson.dumps(made), extract(made, BASE, ZONE)
    )


async def fill(store: Store, rows: int) -> None:
    patients = max(10, rows // 100)
    start = time.perf_counter()
    for first in range(0, patients, BATCH):
        await store.commit([put(patient(n)) for n in range(first, min(first + BATCH, patients))])
    for first in range(0, rows - patients, BATCH):
        await store.commit(
            [put(observation(n, patients)) for n in range(first, min(first + BATCH, rows - patients))]
        )
    took = time.perf_counter() - start
    print(f"load, one process, commits of {BATCH:,}: {rows / took:,.0f} resources/s")


async def creates(store: Store, seconds: float, clients: int, patients: int) -> None:
    done, waits = 0, []
    run_id = secrets.token_hex(4)  # a kept database has those of earlier runs
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal done
        n = 0
        while time.perf_counter() < end:
            made = observation(0, patients) | {"id": f"{run_id}-{number}-{n}"}
            start = time.perf_counter()
            await store.commit([put(made)])
            waits.append(time.perf_counter() - start)
            done, n = done + 1, n + 1

    await asyncio.gather(*(client(number) for number in range(clients)))
    print(f"durable creates, {clients} clients: {done / seconds:,.0f}/s, p95 {quantile(waits):.1f} ms")


async def reads(store: Store, seconds: float, patients: int) -> None:
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(200):
            await store.read("Patient", f"p{random.randrange(patients)}")
        done += 200
    print(f"read by id: {done / seconds:,.0f}/s")


async def timed(name: str, work: Callable[[], Awaitable[Any]], repeats: int) -> None:
    waits, found = [], 0
    for _ in range(repeats):
        start = time.perf_counter()
        result = await work()
        waits.append(time.perf_counter() - start)
        found = result.total if result.total is not None else len(result.matches)
    print(
        f"{name}: p50 {statistics.median(waits) * 1000:.2f} ms, p95 {quantile(waits):.2f} ms "
        f"({found:,} at the last)"
    )


async def searches(store: Store, patients: int) -> None:
    async def ask(query: list[tuple[str, str]], type: str = "Observation") -> Any:
        return await run(store, plan(type, query, SYSTEM, fhir_base=BASE, zone=ZONE), SYSTEM)

    def somebody() -> str:
        return f"Patient/p{random.randrange(patients)}"

    def some_code() -> str:
        return f"{LOINC}|{random.choice(CODES)}"

    none = ("_total", "none")
    cases: list[tuple[str, Callable[[], Awaitable[Any]], int]] = [
        ("token page", lambda: ask([("code", some_code()), none]), 300),
        ("reference page", lambda: ask([("subject", somebody()), none]), 300),
        (
            "reference and token page",
            lambda: ask([("subject", somebody()), ("code", some_code()), none]),
            300,
        ),
        (
            "token and date page",
            lambda: ask([("code", some_code()), ("date", "ge2020-03"), ("date", "lt2020-06"), none]),
            300,
        ),
        ("date page", lambda: ask([("date", f"2020-0{random.randrange(1, 10)}-11"), none]), 100),
        ("family page", lambda: ask([("family", f"nom{random.randrange(5000)}"), none], "Patient"), 100),
        (
            "chain page",
            lambda: ask([("subject:Patient.identifier", f"{random.randrange(patients):015}"), none]),
            300,
        ),
        (
            "chain page, wide",
            lambda: ask([("subject:Patient.gender", "male"), ("code", some_code()), none]),
            100,
        ),
        ("_has page", lambda: ask([("_has:Observation:subject:code", some_code()), none], "Patient"), 50),
        ("sorted by date", lambda: ask([("_sort", "-date"), ("code", some_code()), none]), 50),
        ("sorted by date, all", lambda: ask([("_sort", "-date"), none]), 50),
        (
            "page with _include",
            lambda: ask([("code", some_code()), ("_include", "Observation:subject"), none]),
            100,
        ),
        ("total of one code", lambda: ask([("code", f"{LOINC}|{CODES[0]}"), ("_count", "0")]), 20),
        (
            "total of code and dates",
            lambda: ask([("code", f"{LOINC}|{CODES[0]}"), ("date", "ge2015"), ("_count", "0")]),
            10,
        ),
        (
            "total of a wide chain",
            lambda: ask(
                [("subject:Patient.gender", "male"), ("code", f"{LOINC}|{CODES[0]}"), ("_count", "0")]
            ),
            5,
        ),
    ]
    for name, work, repeats in cases:
        await timed(name, work, repeats)


def quantile(waits: list[float]) -> float:
    """The 95th percentile, milliseconds."""
    return sorted(waits)[int(len(waits) * 0.95)] * 1000 if waits else 0.0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--keep", type=Path, help="a database to keep, and to use again when it is there")
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "bench.db"
        filled = path.exists()
        store = SqliteStore(path)
        await store.open()
        print(f"SQLite {sqlite3.sqlite_version}, {options.rows:,} resources")
        if not filled:
            await fill(store, options.rows)
        patients = max(10, options.rows // 100)
        await searches(store, patients)
        await reads(store, options.seconds, patients)
        for clients in (1, CLIENTS):
            await creates(store, options.seconds, clients, patients)
        print(
            f"database {path.stat().st_size / 1e6:,.0f} MB, log "
            f"{path.with_name(path.name + '-wal').stat().st_size / 1e6:,.0f} MB, "
            f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB"
        )
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
