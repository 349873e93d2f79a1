"""Who administers which sites, and the switch of a site's systems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.administration import EVERYWHERE, ROLE, administered
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.opening import make_engine
from fhir_server.operations.registry import OperationRequest
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.teledossier.activation import activate
from profiles.outcomes import Invalid, NotFound, TeledossierError

BASE = "https://teledossier.example/fhir"
POSTS: Mapping[str, tuple[str, str, bool]] = {
    "region": ("admin-regional", "", True),
    "site": ("admin-site", "com-auch", True),
    "other": ("admin-site", "ch-castres", True),
    "ended": ("admin-site", "ch-auch", False),
    "doctor": ("requis", "com-auch", True),
}


def person(id: str) -> Access:
    return Access(f"Practitioner/{id}", (Scope("*", "rs"),), frozenset({f"Practitioner/{id}"}))


def machine(letters: str, type: str = "Endpoint") -> Access:
    return Access("Client/supervision", (Scope(type, letters),), None)


def _post(id: str) -> dict[str, Any]:
    code, organization, active = POSTS[id]
    made: dict[str, Any] = {
        "resourceType": "PractitionerRole", "id": id, "active": active,
        "practitioner": {"reference": f"Practitioner/{id}"},
        "code": [{"coding": [{"system": ROLE, "code": code}]}],
    }  # fmt: skip
    return {**made, "organization": {"reference": f"Organization/{organization}"}} if organization else made


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", files=str(tmp_path / "files"))
    store = open_store(settings)
    await store.open()
    made = make_engine(settings, store)
    fhir = Fhir(made, SYSTEM)
    for id, whole in (("ch-auch", ""), ("ch-castres", ""), ("com-auch", "ch-auch")):
        organization: dict[str, Any] = {"resourceType": "Organization", "id": id, "name": id}
        if whole:
            organization["partOf"] = {"reference": f"Organization/{whole}"}
        await fhir.update(organization)
    for id in POSTS:
        await fhir.update({"resourceType": "Practitioner", "id": id})
        await fhir.update(_post(id))
    await fhir.update(
        {
            "resourceType": "Endpoint", "id": "pacs", "status": "active", "name": "PACS",
            "connectionType": {"system": f"{BASE}/CodeSystem/endpoint-connection", "code": "dicom-dimse"},
            "managingOrganization": {"reference": "Organization/ch-auch"}, "payloadType": [{"text": "DICOM"}],
            "address": "dicom://pacs.test:104/AUCH",
        }
    )  # fmt: skip
    yield made
    await store.close()


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (person("region"), EVERYWHERE),
        (person("site"), {"Organization/com-auch", "Organization/ch-auch"}),
        (person("other"), {"Organization/ch-castres"}),
        (person("ended"), set()),
        (person("doctor"), set()),
        (person("nobody"), set()),
        (Access("Guest/g1", (Scope("*", "rs"),), frozenset()), set()),
        (machine("rs"), EVERYWHERE),
        (machine("c"), set()),
        (machine("c", "ImagingStudy"), set()),
        (SYSTEM, EVERYWHERE),
    ],
    ids=lambda one: one.subject + one.scopes[0].letters if isinstance(one, Access) else "",
)
async def test_who_administers_what(who: Access, expected: set[str] | None, engine: Engine) -> None:
    assert await administered(engine.store, who, "s") == expected


def asked(**value: Any) -> OperationRequest:
    parameters = [{"name": name, **given} for name, given in value.items()]
    return OperationRequest("Endpoint", "pacs", {"resourceType": "Parameters", "parameter": parameters})


OFF = asked(active={"valueBoolean": False})
ON = asked(active={"valueBoolean": True})


async def _status(engine: Engine) -> str:
    return str((await Fhir(engine, SYSTEM).read("Endpoint", "pacs"))["status"])


@pytest.mark.parametrize("who", [person("region"), person("site"), machine("u")], ids=lambda one: one.subject)
async def test_who_may_switch_switches_with_a_trace(who: Access, engine: Engine) -> None:
    fhir = Fhir(engine, SYSTEM)
    before = await fhir.read("Endpoint", "pacs")
    result = await activate(engine, who, OFF)
    assert isinstance(result.resource, dict)
    assert (result.resource["status"], await _status(engine)) == ("off", "off")
    assert result.resource["address"] == before["address"]
    for type, element, path in (("Provenance", "target", ""), ("AuditEvent", "entity", "what")):
        (trace,) = await fhir.search(type, [(element, "Endpoint/pacs")])
        about = trace[element][0][path] if path else trace[element][0]
        assert about == {"reference": "Endpoint/pacs"}
        agent = trace["agent"][0]["who"]
        is_person = who.subject.startswith("Practitioner/")
        assert agent == ({"reference": who.subject} if is_person else {"display": "Plateforme"})
    await activate(engine, who, OFF)  # it is so already: no trace
    assert len(await fhir.search("Provenance", [("target", "Endpoint/pacs")])) == 1
    await activate(engine, who, ON)
    assert await _status(engine) == "active"


@pytest.mark.parametrize(
    "who", [person("other"), person("ended"), person("doctor"), machine("rs"), machine("c", "ImagingStudy")],
    ids=lambda one: one.subject + one.scopes[0].letters,
)  # fmt: skip
async def test_nobody_else_switches_or_learns_that_it_is_there(who: Access, engine: Engine) -> None:
    told = []
    for request in (OFF, OperationRequest("Endpoint", "nowhere", OFF.parameters)):
        with pytest.raises(NotFound) as error:
            await activate(engine, who, request)
        told.append(str(error.value).replace("pacs", "nowhere"))
    assert told[0] == told[1]
    assert await _status(engine) == "active"


@pytest.mark.parametrize(
    "request_", [asked(), asked(active={"valueString": "no"}), asked(other={"valueBoolean": True})]
)
async def test_what_is_no_switch(request_: OperationRequest, engine: Engine) -> None:
    with pytest.raises(TeledossierError) as error:
        await activate(engine, person("region"), request_)
    assert isinstance(error.value, Invalid)
    assert await _status(engine) == "active"
