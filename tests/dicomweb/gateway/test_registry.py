"""Which client is which gateway, and what is behind it."""

from __future__ import annotations

from typing import Any

import pytest

from dicomweb.gateway.region.registry import Gateway, gateway_of, gateways, of_resource
from dicomweb.peers.peer import BASE, EXTENSION, of_endpoint
from fhir_server.access import Access, Scope
from fhir_server.interactions.fhir import Fhir
from fhir_server.store.contract import Store
from profiles.outcomes import Forbidden, Invalid
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_worker import clock, fhir, put, worker

__all__ = ["clock", "fhir", "worker"]  # fixtures
PAYLOAD = [{"text": "DICOM"}]


def resource(id: str = "gw-auch", client: str = "gateway-auch", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Endpoint", "id": id, "status": "active", "name": f"Passerelle {id}",
        "connectionType": {"system": f"{BASE}/CodeSystem/endpoint-connection", "code": "gateway"},
        "managingOrganization": {"reference": "Organization/ch-auch"}, "payloadType": PAYLOAD,
        "address": f"gateway:{client}", **more,
    }  # fmt: skip


def behind(id: str, via: Any, **more: Any) -> dict[str, Any]:
    parts = [{"url": "via", **via}]
    extension = [{"url": EXTENSION, "extension": parts}]
    return endpoint(id=id, payloadType=PAYLOAD, extension=extension, **more)


def machine(client: str) -> Access:
    return Access(f"Client/{client}", (Scope("ImagingStudy", "c"),), None)


AUCH = Gateway("gw-auch", "Passerelle gw-auch", "Organization/ch-auch", "gateway-auch", True)


@pytest.fixture
async def site(fhir: Fhir) -> Fhir:
    await put(fhir, "Organization", "ch-auch", name="CH Auch")
    return fhir


def test_a_gateway_is_an_endpoint_with_a_client_and_a_site() -> None:
    assert of_resource(resource()) == AUCH
    off = of_resource(resource(status="suspended"))
    assert off is not None
    assert not off.active
    assert of_resource(endpoint()) is None
    assert of_resource(resource(address="https://gateway.test")) is None
    assert of_resource(resource(client="")) is None
    assert of_resource(resource(managingOrganization=None)) is None
    assert of_endpoint(resource()) is None  # a gateway is nobody's PACS


async def test_a_client_is_its_own_gateway_alone(site: Fhir, store: Store) -> None:
    await site.update(resource())
    await site.update(resource("gw-castres", "gateway-castres", status="off"))
    await site.update(resource("gw-one", "shared"))
    await site.update(resource("gw-two", "shared"))
    assert await gateway_of(store, machine("gateway-auch")) == AUCH
    assert [one.id for one in await gateways(store)] == ["gw-auch", "gw-castres", "gw-one", "gw-two"]
    person = Access("Practitioner/gateway-auch", (Scope("*", "rs"),), frozenset({"Organization/ch-auch"}))
    with_person = Access("Client/gateway-auch", (Scope("*", "rs"),), frozenset())
    refused = {}
    for name, access in {
        "off": machine("gateway-castres"), "two": machine("shared"), "none": machine("other"),
        "empty": machine(""), "system": Access("System", (), None), "person": person, "user": with_person,
    }.items():  # fmt: skip
        with pytest.raises(Forbidden) as error:
            await gateway_of(store, access)
        refused[name] = error.value.slug
    assert refused == {**dict.fromkeys(refused, "not-a-gateway"), "off": "gateway-switched-off"}


@pytest.mark.parametrize("wrong", ["gw-auch", "Organization/gw", "Endpoint/", "Endpoint/a/b", 3, None])
def test_a_wrong_via_never_becomes_a_direct_call(wrong: Any) -> None:
    with pytest.raises(Invalid):
        of_endpoint(behind("pacs-1", {"valueReference": {"reference": wrong}}))
    with pytest.raises(Invalid):
        of_endpoint(behind("pacs-1", {"valueString": "Endpoint/gw-auch"}))
