"""Who may ask which PACS, and into which télédossier: asked of the FHIR store itself.

A person asks the PACS of the sites where they have a post, for a télédossier that they see and that is not
closed. A system's token with ImagingStudy.cs may ask all. What one may not ask is answered like what is not
there. R086, R095, R096
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from dicomweb.gateway.region.registry import of_resource
from dicomweb.peers.peer import Peer, of_endpoint
from fhir_server.access import Access
from fhir_server.search.nodes import Everything, Ids, Reference, Select
from fhir_server.store.contract import Store, Version
from profiles.outcomes import Conflict, Forbidden, Invalid, NotFound

DEEPEST = 5  # steps from a community to its establishment
MOST = 500
NUMBER = "https://teledossier.example/fhir/NamingSystem/numero"
OPEN = ("draft", "active", "on-hold")


def is_system(access: Access) -> bool:
    """A machine that may store images and search them. A gateway's or a modality's may store alone: what is
    in the PACS of other sites is not theirs to know."""
    return (
        access.audience is None and access.allows("ImagingStudy", "c") and access.allows("ImagingStudy", "s")
    )


async def sites_of(store: Store, access: Access) -> frozenset[str]:
    """The organisations where this person has an active post, and what those are part of."""
    if not access.subject.startswith("Practitioner/"):
        return frozenset()
    rows = await store.search(
        Select("PractitionerRole", Reference("practitioner", (access.subject,)), count=MOST)
    )
    roles = [orjson.loads(row.version.body or b"{}") for row in rows]
    wanted = {
        str((one.get("organization") or {}).get("reference", "")) for one in roles if one.get("active", True)
    }
    found: set[str] = set()
    for _ in range(DEEPEST):
        keys = [("Organization", one.removeprefix("Organization/")) for one in wanted - found if one]
        if not keys:
            break
        found |= wanted
        versions = await store.read_many(keys)
        parents = [orjson.loads(one.body or b"{}").get("partOf") or {} for one in versions.values()]
        wanted = {str(one.get("reference", "")) for one in parents} - {""}
    return frozenset(found - {""})


async def peers_of(store: Store, access: Access, use: str = "query") -> list[Peer]:
    """The PACS this reader may query, those included that are switched off, or whose gateway is; those of
    another `use` when it is given."""
    sites = await sites_of(store, access)
    rows = await store.search(Select("Endpoint", Everything(), count=MOST))
    resources = [orjson.loads(row.version.body or b"{}") for row in rows]
    off = {one.id for each in resources if (one := of_resource(each)) is not None and not one.active}
    found = []
    for resource in resources:
        with suppress(Invalid):
            peer = of_endpoint(resource)
            if peer is not None and peer.via in off:
                peer = replace(peer, active=False)
            allowed = peer is not None and (is_system(access) or peer.organization in sites)
            if peer is not None and allowed and use in peer.uses:
                found.append(peer)
    return sorted(found, key=lambda peer: peer.name)


async def peer_for(store: Store, access: Access, id: str, use: str = "query") -> Peer:
    """Raises NotFound; Conflict when the site has switched it off."""
    for peer in await peers_of(store, access, use):
        if peer.id == id:
            if not peer.active:
                raise Conflict("peer-not-active", "the site has not activated calls to its PACS")
            return peer
    raise NotFound("no-such-peer", "no such PACS")


async def request_for(store: Store, access: Access, id: str) -> dict[str, Any]:
    """The ServiceRequest. Raises NotFound for one that is not there or not seen."""
    where = access.restrict("ServiceRequest", Ids((id,)))
    rows = await store.search(Select("ServiceRequest", where, count=1))
    if not rows:
        raise NotFound("no-such-request", "no such télédossier")
    found: dict[str, Any] = orjson.loads(rows[0].version.body or b"{}")
    return found


async def patient_of(store: Store, request: dict[str, Any]) -> dict[str, Any]:
    """The Patient of a ServiceRequest that this reader sees. Raises NotFound."""
    reference = str(request.get("subject", {}).get("reference", ""))
    key = ("Patient", reference.removeprefix("Patient/"))
    found = (await store.read_many([key])).get(key)
    if found is None:
        raise NotFound("no-such-patient", "the télédossier's patient is not known")
    patient: dict[str, Any] = orjson.loads(found.body or b"{}")
    return patient


def body_of(version: Version) -> dict[str, Any]:
    """A stored resource."""
    found: dict[str, Any] = orjson.loads(version.body or b"{}")
    return found


async def name_of(store: Store, reference: str) -> dict[str, Any]:
    """The HumanName of a person, or of who holds a post; empty when there is none."""
    for _ in range(2):
        kind, _slash, id = reference.partition("/")
        version = (await store.read_many([(kind, id)])).get((kind, id)) if kind and id else None
        found: dict[str, Any] = orjson.loads(version.body or b"{}") if version else {}
        if kind != "PractitionerRole":
            break
        reference = str((found.get("practitioner") or {}).get("reference", ""))
    names = found.get("name")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}


def number_of(request: dict[str, Any]) -> str:
    """The télédossier's number."""
    numbers = (one.get("value", "") for one in request.get("identifier", ()) if one.get("system") == NUMBER)
    return str(next(numbers, ""))


async def open_request(store: Store, access: Access, id: str) -> dict[str, Any]:
    """One that images may still be added to. Raises NotFound, Forbidden, Conflict."""
    if not (is_system(access) or access.subject.startswith("Practitioner/")):
        raise Forbidden(
            "not-allowed", "adding images needs a person, or a system's token for ImagingStudy.cs"
        )
    found = await request_for(store, access, id)
    if found.get("status") not in OPEN:
        raise Conflict("request-closed", "the télédossier is closed")
    return found
