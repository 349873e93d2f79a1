"""`$export` over HTTP: kick-off, status, manifest, files, cancel. Bulk Data Access IG 2.0.0 export.html"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from fhir_server.bulk import export as exporting
from fhir_server.bulk.export import export
from fhir_server.interactions.engine import Engine
from fhir_server.jobs.record import Job
from fhir_server.jobs.runner import Report, Runner, folder_of
from tests.rest.serving import ALL, BASE, Served
from tests.rest.test_bundle import slugs

ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}
PEOPLE = frozenset({"Organization/1"})


async def put(served: Served, kind: str, id: str, /, **more: Any) -> None:
    body = {"resourceType": kind, "id": id, **more}
    response = await served.client().put(f"/{kind}/{id}", json=body)
    assert response.status_code in (200, 201), response.text


async def region(served: Served) -> None:
    """Two patients with an observation each, an organization beside."""
    for n in ("a", "b"):
        await put(served, "Patient", n, active=n == "a")
        await put(
            served,
            "Observation",
            f"o{n}",
            status="final",
            code={"text": "x"},
            subject={"reference": f"Patient/{n}"},
        )
    await put(served, "Organization", "org", name="x")
    members = [
        {"entity": {"reference": "Patient/a"}},
        {"entity": {"reference": "Patient/b"}, "inactive": True},
    ]
    await put(served, "Group", "g", type="person", actual=True, member=members)


async def kicked(served: Served, path: str, access: Access = ALL) -> str:
    response = await served.client(access).get(path, headers=ASYNC)
    assert response.status_code == 202, response.text
    return str(response.headers["content-location"])


async def exported(served: Served, path: str, access: Access = ALL) -> dict[str, set[str]]:
    """File type → the ids in its files; the counts of the manifest are held to the files."""
    place = await kicked(served, path, access)
    client = served.client(access)
    assert (await client.get(place)).status_code == 202
    await Runner(served.engine, {"export": export}).once()
    done = await client.get(place)
    assert done.status_code == 200, done.text
    manifest = done.json()
    assert manifest["requiresAccessToken"] is True
    assert manifest["request"] == f"{BASE}{path}"
    found: dict[str, set[str]] = {}
    for part in ("output", "deleted", "error"):
        for each in manifest[part]:
            lines = (await client.get(each["url"])).text.splitlines()
            assert len(lines) == each["count"]
            resources = [json.loads(line) for line in lines]
            assert {r["resourceType"] for r in resources} == {each["type"]}
            found.setdefault(each["type"] if part == "output" else part, set()).update(
                r.get("id", r["resourceType"]) for r in resources
            )
    return found


CASES: list[tuple[str, str, dict[str, set[str]]]] = [
    (
        "system",
        "/$export",
        {"Patient": {"a", "b"}, "Observation": {"oa", "ob"}, "Organization": {"org"}, "Group": {"g"}},
    ),
    ("types", "/$export?_type=Patient,Organization", {"Patient": {"a", "b"}, "Organization": {"org"}}),
    ("filter", "/$export?_type=Patient&_typeFilter=Patient%3Factive%3Dtrue", {"Patient": {"a"}}),
    (
        "filters are alternatives",
        "/$export?_typeFilter=Patient%3F_id%3Da,Patient%3F_id%3Db",
        {"Patient": {"a", "b"}},
    ),
    (
        "all patients",
        "/Patient/$export",
        {"Patient": {"a", "b"}, "Observation": {"oa", "ob"}, "Group": {"g"}},
    ),
    (
        "one patient",
        "/Patient/$export?patient=Patient/b&_type=Patient,Observation",
        {"Patient": {"b"}, "Observation": {"ob"}},
    ),
    (
        "a group's active members",
        "/Group/g/$export",
        {"Patient": {"a"}, "Observation": {"oa"}, "Group": {"g"}},
    ),
    ("since the end of time", "/$export?_since=2100-01-01T00:00:00Z", {}),
    ("since before", "/$export?_since=2000-01-01T00:00:00Z&_type=Group", {"Group": {"g"}}),
]


@pytest.mark.parametrize(("path", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_what_is_exported(served: Served, path: str, expected: dict[str, set[str]]) -> None:
    await region(served)
    assert await exported(served, path) == expected


async def test_only_what_the_reader_sees(served: Served) -> None:
    """The directory is open; nothing clinical leads to this reader's organization."""
    await region(served)
    reader = Access("Practitioner/1", (Scope("*", "rs"),), PEOPLE)
    assert await exported(served, "/$export", reader) == {"Organization": {"org"}}
    some = Access("Client/some", (Scope("Patient", "rs"),), None)
    assert await exported(served, "/$export", some) == {"Patient": {"a", "b"}}
    refused = await served.client(some).get("/$export?_type=Group", headers=ASYNC)
    assert (refused.status_code, slugs(refused)) == (403, ["scope"])


async def test_elements(served: Served) -> None:
    await region(served)
    place = await kicked(served, "/$export?_type=Patient&_elements=Patient.active")
    await Runner(served.engine, {"export": export}).once()
    (file,) = (await served.client().get(place)).json()["output"]
    first = json.loads((await served.client().get(file["url"])).text.splitlines()[0])
    assert set(first) == {"resourceType", "id", "meta", "active"}
    assert first["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_deletions_since(served: Served) -> None:
    await region(served)
    await served.client().delete("/Observation/oa")
    assert await exported(served, "/$export?_since=2000-01-01T00:00:00Z&_type=Observation") == {
        "Observation": {"ob"},
        "deleted": {"Bundle"},
    }


async def test_the_state_of_the_moment_it_began(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others write meanwhile: a change ahead of the walk, one behind it, a new one, without end."""
    monkeypatch.setattr(exporting, "PAGE", 2)
    for n in range(6):
        await put(served, "Patient", f"p{n}", birthDate="2000")
    engine = served.engine
    real, calls = engine.store.search, [0]

    async def search(select: Any) -> Any:
        calls[0] += 1
        if calls[0] > 1:
            await put(served, "Patient", f"new{calls[0]}", birthDate="2001")
        if calls[0] == 2:
            await put(served, "Patient", "p0", birthDate="2001")
            await put(served, "Patient", "p5", birthDate="2001")
        return await real(select)

    monkeypatch.setattr(engine.store, "search", search)
    job = Job("x", "export", ALL, exporting.Asked(types=("Patient",)).request(), 0)
    folder = folder_of(engine, "x")
    folder.mkdir(parents=True)
    result = await export(engine, job, Report(engine.jobs, "x", folder, engine.now))
    lines = [json.loads(line) for line in (folder / "Patient.1.ndjson").read_text().splitlines()]
    assert sorted((line["id"], line["birthDate"]) for line in lines) == [(f"p{n}", "2000") for n in range(6)]
    assert result["output"] == [{"type": "Patient", "file": "Patient.1.ndjson", "count": 6}]


async def test_many_files(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    monkeypatch.setattr(exporting, "LINES", 2)
    for n in range(5):
        await put(served, "Patient", f"p{n}")
    assert await exported(served, "/$export?_type=Patient") == {"Patient": {f"p{n}" for n in range(5)}}


async def test_a_large_binary_is_named_not_cut(served: Served) -> None:
    client = served.client()
    sent = await client.post("/Binary", content=b"x" * 300_000, headers={"Content-Type": "text/plain"})
    assert sent.status_code == 201
    await put(served, "Binary", "small", contentType="text/plain", data="eA==")
    assert await exported(served, "/$export?_type=Binary") == {
        "Binary": {"small"},
        "error": {"OperationOutcome"},
    }


async def test_a_job_is_its_askers_alone(served: Served) -> None:
    await region(served)
    place = await kicked(served, "/$export")
    other = served.client(Access("Client/other", (Scope("*", "cruds"),), None))
    for method in ("GET", "DELETE"):
        response = await other.request(method, place)
        assert (response.status_code, slugs(response)) == (404, ["no-such-job"])
    await Runner(served.engine, {"export": export}).once()
    assert (await other.get(f"{place}/Patient.1.ndjson")).status_code == 404
    for name in ("..%2F..%2Ft.db", "Patient.9.ndjson", "x"):
        assert (await served.client().get(f"{place}/{name}")).status_code == 404


async def test_cancel_and_expiry(served: Served) -> None:
    """A cancelled job stops, its files go; what is over is forgotten."""
    await region(served)
    client, engine = served.client(), served.engine
    place = await kicked(served, "/$export")
    assert (await client.delete(place)).status_code == 202
    assert (await client.get(place)).status_code == 404
    runner = Runner(engine, {"export": export})
    await runner.once()
    assert list(folder_of(engine, "").glob("*")) == []
    done = await kicked(served, "/$export")
    await runner.once()
    assert len(list(folder_of(engine, "").glob("*"))) == 1
    assert (await client.delete(done)).status_code == 202
    await runner.once()
    assert list(folder_of(engine, "").glob("*")) == []
    assert (await client.get(done)).status_code == 404


async def test_cancelled_while_it_runs(served: Served) -> None:
    await region(served)
    place = await kicked(served, "/$export")

    async def stopped(engine: Engine, job: Job, report: Report) -> dict[str, Any]:
        assert (await served.client().delete(place)).status_code == 202
        (report.folder / "x").write_text("x")
        await report("further")
        raise AssertionError("it went on")

    await Runner(served.engine, {"export": stopped}).once()
    assert (await served.client().get(place)).status_code == 404
    assert list(folder_of(served.engine, "").glob("*")) == []


async def test_one_of_several_processes_does_it_and_a_lost_lease_is_taken_over(served: Served) -> None:
    await region(served)
    place = await kicked(served, "/$export?_type=Group")
    begun: list[str] = []

    async def counted(engine: Engine, job: Job, report: Report) -> Any:
        begun.append(job.id)
        return await export(engine, job, report)

    runners = [Runner(served.engine, {"export": counted}) for _ in range(3)]
    await asyncio.gather(*(runner.once() for runner in runners))
    assert len(begun) == 1
    assert (await served.client().get(place)).status_code == 200
    left = await kicked(served, "/$export?_type=Group")
    id = left.rpartition("/")[2]
    assert await served.engine.jobs.take(id), "a process that died holds it"
    await runners[0].once()
    assert (await served.client().get(left)).status_code == 202
    await served.engine.store.delete_record("job-lease", id)  # what its expiry does
    await runners[0].once()
    assert (await served.client().get(left)).status_code == 200


async def test_a_failing_job_says_so(served: Served) -> None:
    async def failing(engine: Engine, job: Job, report: Report) -> Any:
        raise RuntimeError("broken")

    place = await kicked(served, "/$export")
    await Runner(served.engine, {"export": failing}).once()
    response = await served.client().get(place)
    assert (response.status_code, response.json()["resourceType"]) == (503, "OperationOutcome")


REFUSED: list[tuple[str, str, dict[str, str], int, str]] = [
    ("not asynchronous", "/$export", {"Prefer": ""}, 400, "not-async"),
    ("format", "/$export?_outputFormat=text/csv", ASYNC, 400, "bad-format"),
    ("type", "/$export?_type=Patients", ASYNC, 400, "unknown-type"),
    ("parameter", "/$export?_typ=Patient", ASYNC, 400, "unknown-parameter"),
    ("patient at the system", "/$export?patient=Patient/a", ASYNC, 400, "unknown-parameter"),
    ("patient", "/Patient/$export?patient=a", ASYNC, 400, "bad-patient"),
    ("not of a patient", "/Patient/$export?_type=Organization", ASYNC, 400, "not-in-compartment"),
    (
        "filter without type",
        "/$export?_type=Patient&_typeFilter=Group%3F_id%3Da",
        ASYNC,
        400,
        "filter-without-type",
    ),
    ("filter without query", "/$export?_typeFilter=Patient", ASYNC, 400, "bad-filter"),
    ("filter's parameter", "/$export?_typeFilter=Patient%3Fnam%3Dx", ASYNC, 400, "unknown-parameter"),
    ("since", "/$export?_since=yesterday", ASYNC, 400, "bad-date"),
    ("group", "/Group/none/$export", ASYNC, 404, "no-such-resource"),
]


@pytest.mark.parametrize(
    ("path", "headers", "status", "slug"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
async def test_refused(served: Served, path: str, headers: dict[str, str], status: int, slug: str) -> None:
    response = await served.client().get(path, headers=headers)
    assert (response.status_code, slugs(response)) == (status, [slug])
    assert await served.engine.jobs.waiting() == []


async def test_not_too_many(served: Served) -> None:
    for _ in range(5):
        await kicked(served, "/$export")
    response = await served.client().get("/$export", headers=ASYNC)
    assert (response.status_code, slugs(response)) == (429, ["too-many-jobs"])
