"""Which Endpoint of the directory is the gateway that asks.

A gateway is an Endpoint of connectionType `gateway`; its address `gateway:<client>` names the OAuth client by
which it signs on, and `managingOrganization` its site. Any status but `active` switches it off. A client that
two Endpoints name is no gateway's: whose errands it may see could not be said.
FHIR R4 endpoint.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from dicomweb.peers.peer import BASE
from fhir_server.access import Access
from fhir_server.search.nodes import Node, Select, Token
from fhir_server.store.contract import Store
from profiles.outcomes import Forbidden

CONNECTION = (f"{BASE}/CodeSystem/endpoint-connection", "gateway")
SCHEME = "gateway:"
MOST = 500  # Endpoints that are looked at


@dataclass(frozen=True, slots=True)
class Gateway:
    """`organization` is a reference; `client` the OAuth client that is this gateway."""

    id: str
    name: str
    organization: str
    client: str
    active: bool


def of_resource(resource: Mapping[str, Any]) -> Gateway | None:
    """None for an Endpoint that is no gateway, or has no usable address."""
    coding = resource.get("connectionType") or {}
    address = str(resource.get("address", ""))
    if (coding.get("system"), coding.get("code")) != CONNECTION or not address.startswith(SCHEME):
        return None
    id = str(resource.get("id", ""))
    organization = str((resource.get("managingOrganization") or {}).get("reference", ""))
    client = address.removeprefix(SCHEME)
    if not client or not organization:
        return None
    active = resource.get("status") == "active"
    return Gateway(id, str(resource.get("name") or id), organization, client, active)


async def gateways(store: Store) -> list[Gateway]:
    """Every gateway of the directory, switched off ones included, by name."""
    found = [of_resource(one) for one in await endpoints(store, Token("connection-type", (CONNECTION,)))]
    return sorted((one for one in found if one is not None), key=lambda one: (one.name, one.id))


async def gateway_of(store: Store, access: Access) -> Gateway:
    """The gateway that asks. Raises Forbidden for anybody else, and for one that is switched off."""
    found = await sender(store, access)
    if found is None:
        raise Forbidden("not-a-gateway", "this client is not the gateway of a site")
    return found


async def sender(store: Store, access: Access) -> Gateway | None:
    """The gateway that stores; None for any other system. Raises Forbidden for one that is switched off."""
    kind, _, client = access.subject.partition("/")
    found = [one for one in await gateways(store) if one.client == client] if kind == "Client" else []
    if access.audience is not None or len(found) != 1:
        return None
    if not found[0].active:
        raise Forbidden("gateway-switched-off", "the gateway is switched off in the directory")
    return found[0]


async def endpoints(store: Store, where: Node) -> list[dict[str, Any]]:
    """The directory's Endpoint resources, as many as are looked at."""
    rows = await store.search(Select("Endpoint", where, count=MOST))
    return [orjson.loads(row.version.body or b"{}") for row in rows]
