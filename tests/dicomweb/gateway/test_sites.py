"""The health of gateways, what is an alarm, and who sees which site."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dicomweb.gateway.region.figures import GatewayFigures
from dicomweb.gateway.region.health import HOUR, KEPT, SECOND, Health, healths, history, note
from dicomweb.gateway.region.sites import ESTABLISHMENT
from dicomweb.gateway.report import Reachable, Report
from dicomweb.images import Images
from fhir_server.access import Access, Scope
from fhir_server.administration import ROLE
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.fixtures import app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import Site, machine
from tests.dicomweb.gateway.test_registry import behind, resource
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_worker import put

__all__ = ["app", "clock", "fhir", "region", "site", "worker"]  # fixtures
AT = 500_000 * HOUR
FINESS = {"ch-auch": "320000086", "ch-castres": "810000331", "ch-pau": "640781290"}
GOOD = Report(at=AT, disk_free=50, disk_total=100)


@pytest.mark.parametrize(
    ("health", "later", "expected"),
    [
        (Health(), 0, ["never"]),
        (Health(AT), 0, []),
        (Health(AT, AT, GOOD), 119, []),
        (Health(AT, AT, GOOD), 121, ["silent"]),
        (Health(AT, AT, replace(GOOD, waiting=1, oldest=899)), 0, []),
        (Health(AT, AT, replace(GOOD, waiting=1, oldest=901)), 0, ["waiting"]),
        (Health(AT, AT, replace(GOOD, disk_free=9)), 0, ["disk"]),
        (Health(AT, AT, replace(GOOD, disk_free=10)), 0, []),
        (Health(AT, AT, replace(GOOD, refused=1)), 0, ["refused"]),
        (Health(AT, AT + 61 * SECOND, GOOD), 0, ["clock"]),
        (Health(AT, AT - 61 * SECOND, GOOD), 0, ["clock"]),
        (Health(AT, AT - 59 * SECOND, GOOD), 0, []),
        (
            Health(AT, AT, Report(AT, "", 5, 5, 9999, 3, 1, 100)),
            999,
            ["silent", "waiting", "disk", "refused"],
        ),
    ],
)
def test_what_is_an_alarm(health: Health, later: int, expected: list[str]) -> None:
    assert health.alarms(AT + later * SECOND) == expected


def test_what_is_kept_of_two_weeks(images: Images) -> None:
    """Of each hour the worst; after two weeks an hour goes."""
    board = images.board
    note(board, "gw-auch", replace(GOOD, waiting=3, oldest=5.0), AT)
    note(board, "gw-auch", replace(GOOD, waiting=1, oldest=50.0, disk_free=20), AT + HOUR - 1)
    note(board, "gw-auch", replace(GOOD, refused=2), AT + HOUR)
    hours = history(board, "gw-auch")
    assert [(one.start, one.reports, one.waiting, one.oldest, one.refused, one.disk) for one in hours] == [
        (AT, 2, 3, 50.0, 0, 0.2), (AT + HOUR, 1, 0, 0.0, 2, 0.5),
    ]  # fmt: skip
    note(board, "gw-auch", GOOD, AT + (KEPT + 1) * HOUR)
    assert [one.start for one in history(board, "gw-auch")] == [AT + HOUR, AT + (KEPT + 1) * HOUR]
    assert healths(board)["gw-auch"].report == GOOD
    assert history(board, "gw-castres") == []


async def test_a_report_is_durable_and_is_the_gateways_own(images: Images, site: Site) -> None:
    report = replace(GOOD, at=time.time_ns() // 1000, peers=(Reachable("pacs-auch", True),))
    assert (await site.http.post("/gateway/health", json=report.as_json())).status_code == 204
    assert (await site.http.post("/gateway/health", json={"at": "now"})).status_code == 400
    assert (await site.http.post("/gateway/health", content=b"x" * 30_000)).status_code == 413
    images.board.close()
    images.board.open()
    found = healths(images.board)
    assert (set(found), found["gw-auch"].report) == ({"gw-auch"}, report)


def person(id: str) -> Access:
    return Access(f"Practitioner/{id}", (Scope("*", "rs"),), frozenset({f"Practitioner/{id}"}))


@pytest.fixture
async def administrated(region: Fhir) -> Fhir:
    """Auch with a gateway and two PACS, Castres with a gateway; an administrator of each kind."""
    kind = [{"coding": [{"system": ESTABLISHMENT[0], "code": ESTABLISHMENT[1]}]}]
    for id, name in (("ch-auch", "CH Auch"), ("ch-castres", "CH Castres"), ("ch-pau", "CH Pau")):
        finess = [{"system": "https://finess.esante.gouv.fr", "value": FINESS[id]}]
        organization = {"resourceType": "Organization", "id": id, "name": name, "identifier": finess}
        await region.update({**organization, "active": True, "type": kind})
    elsewhere = {"reference": "Organization/ch-castres"}
    await region.update(resource("gw-castres", "gateway-castres", managingOrganization=elsewhere))
    await region.update(behind("pacs-1", {"valueReference": {"reference": "Endpoint/gw-auch"}}))
    await region.update(endpoint(id="pacs-2", status="off", payloadType=[{"text": "DICOM"}]))
    for id, code, at in (
        ("reg", "admin-regional", ""),
        ("adm", "admin-site", "ch-auch"),
        ("doc", "requis", "ch-auch"),
    ):
        await put(region, "Practitioner", id)
        role: dict[str, Any] = {"practitioner": {"reference": f"Practitioner/{id}"},
                                "code": [{"coding": [{"system": ROLE, "code": code}]}]}  # fmt: skip
        if at:
            role["organization"] = {"reference": f"Organization/{at}"}
        await put(region, "PractitionerRole", id, **role)
    return region


async def test_who_sees_which_site(administrated: Fhir, app: As, site: Site) -> None:
    seen = {}
    for name, access in {
        "region": person("reg"), "site": person("adm"), "doctor": person("doc"),
        "gateway": machine("gw-auch"),
        "supervision": Access("Client/s", (Scope("Endpoint", "rs"),), None),
    }.items():  # fmt: skip
        app.access = access
        answer = await site.http.get("/gateway/sites")
        seen[name] = [one["id"] for one in answer.json()] if answer.status_code == 200 else answer.status_code
    everywhere = ["ch-auch", "ch-castres", "ch-pau"]
    assert seen == {
        "region": everywhere, "site": ["ch-auch"], "doctor": 403, "gateway": 403, "supervision": everywhere,
    }  # fmt: skip
    app.access = person("adm")
    assert (await site.http.get("/gateway/sites/ch-auch")).status_code == 200
    assert (await site.http.get("/gateway/sites/ch-castres")).status_code == 404
    assert (await site.http.post("/gateway/peers/nowhere/echo")).status_code == 404


async def test_what_a_site_is(administrated: Fhir, app: As, site: Site, images: Images) -> None:
    now = time.time_ns() // 1000
    report = replace(GOOD, at=now, disk_free=5, peers=(Reachable("pacs-1", False),))
    note(images.board, "gw-auch", report, now)
    app.access = person("adm")
    found = (await site.http.get("/gateway/sites/ch-auch")).json()
    (gateway,) = found["gateways"]
    assert (gateway["id"], gateway["active"], gateway["alarms"]) == ("gw-auch", True, ["disk"])
    assert (gateway["report"], gateway["clockOff"]) == (report.as_json(), 0.0)
    assert [(one["start"] is not None, one["reports"]) for one in gateway["hours"]] == [(True, 1)]
    peers = {one["id"]: (one["active"], one["via"], one["reachable"]) for one in found["peers"]}
    assert peers == {"pacs-1": (True, "gw-auch", False), "pacs-2": (False, "", None)}
    app.access = person("reg")
    castres = (await site.http.get("/gateway/sites/ch-castres")).json()
    assert [(one["seen"], one["alarms"]) for one in castres["gateways"]] == [(None, ["never"])]


async def test_a_system_is_tried(administrated: Fhir, app: As, site: Site) -> None:
    """A peer behind a gateway that is silent, and one that is not there: an answer, no error."""
    app.access = person("adm")
    answer = (await site.http.post("/gateway/peers/pacs-1/echo")).json()
    assert answer == {"reachable": False, "code": "gateway-silent"}


def test_figures_for_prometheus(images: Images) -> None:
    registry = CollectorRegistry()
    registry.register(GatewayFigures(images.board))
    now = time.time_ns() // 1000
    note(images.board, "gw-auch", replace(GOOD, at=now, waiting=7, disk_free=5), now - 300 * SECOND)
    told = dict(
        line.rsplit(" ", 1) for line in generate_latest(registry).decode().splitlines() if line[0] != "#"
    )
    assert float(told['teledossier_gateway_waiting_instances{gateway="gw-auch"}']) == 7
    assert float(told['teledossier_gateway_alarms{gateway="gw-auch"}']) == 3  # silent, disk, clock
    assert 299 < float(told['teledossier_gateway_unseen_seconds{gateway="gw-auch"}']) < 310
    images.board.close()
    assert generate_latest(registry) == b""  # a process that ends has no figures


def test_a_report_that_cannot_be_read_hides_no_other(images: Images) -> None:
    now = time.time_ns() // 1000
    for id in ("gw-auch", "gw-castres"):
        note(images.board, id, replace(GOOD, at=now), now)
    with images.board.writing() as connection:
        connection.execute("UPDATE gateway SET report = '{\"at\": \"1969\"}' WHERE id = 'gw-auch'")
    found = healths(images.board)
    assert (found["gw-auch"].report, found["gw-castres"].report) == (None, replace(GOOD, at=now))
