"""The demonstration's two PACS, the gateway that alone reaches one of them, and the sites' scanners, as the
directory has them."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.teledossier.vocabulary import BASE, Resource, ref, system


@dataclass(frozen=True, slots=True)
class Pacs:
    """A site's PACS: `offset` from the first port; `uses` as in the extension `peer`; `via` the Endpoint of
    the gateway that alone reaches it, "" for one that the platform calls itself."""

    site: str
    name: str
    ae_title: str
    offset: int
    uses: tuple[str, ...]
    via: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A site's gateway: the OAuth client that it is; where its modalities would call it."""

    id: str
    site: str
    name: str
    client: str
    ae_title: str
    offset: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """An exam that a PACS has had for years, and the platform has not."""

    pacs: Pacs
    patient: str
    years: int


GATEWAY = Gateway(
    "gateway-chu-tls", "chu-tls", "Passerelle du CHU Toulouse (démo)", "gateway-chu-tls", "PASSERELLE-CHU", 2
)
PACS = (
    Pacs("ch-auch", "PACS du CH Auch (démo)", "PACS-AUCH", 0, ("query",)),
    Pacs("chu-tls", "PACS du CHU Toulouse (démo)", "PACS-CHU-TLS", 1, ("query", "relay"), GATEWAY.id),
)
EARLIER = (  # BONNET Lucile's twin has exams there too
    Earlier(PACS[0], "pat03", 3),
    Earlier(PACS[0], "pat10", 2),
    Earlier(PACS[0], "pat09", 5),
    Earlier(PACS[1], "pat03", 4),
)


def endpoint(pacs: Pacs, first_port: int) -> Resource:
    """Its Endpoint resource."""
    parts: list[Resource] = [{"url": "use", "valueCode": use} for use in pacs.uses]
    if pacs.via:
        parts.append({"url": "via", "valueReference": ref(f"Endpoint/{pacs.via}")})
    return {
        **_endpoint(f"pacs-{pacs.site}", pacs.name, pacs.site, "dicom-dimse"),
        "extension": [{"url": f"{BASE}/StructureDefinition/peer", "extension": parts}],
        "address": f"dicom://127.0.0.1:{first_port + pacs.offset}/{pacs.ae_title}",
    }


def gateway() -> Resource:
    """The gateway's Endpoint resource."""
    made = _endpoint(GATEWAY.id, GATEWAY.name, GATEWAY.site, "gateway")
    return {**made, "address": f"gateway:{GATEWAY.client}"}


def scanner(site: str, port: int) -> Resource:
    """The Endpoint of a site's modality, which may store, ask the worklist, tell its steps, ask for
    commitment."""
    uses = [f"accept-{one}" for one in ("store", "worklist", "steps", "commitment")]
    parts = [{"url": "use", "valueCode": use} for use in uses]
    return {
        **_endpoint(f"modalite-{site}", f"Modalités de {site} (démo)", site, "dicom-dimse"),
        "extension": [{"url": f"{BASE}/StructureDefinition/peer", "extension": parts}],
        "address": f"dicom://127.0.0.1:{port}/{site.upper()[:16]}",
    }


def called(first_port: int) -> str:
    """The PACS behind the gateway, as its own settings list them."""
    behind = [one for one in PACS if one.via]
    return ",".join(f"{one.ae_title}=127.0.0.1:{first_port + one.offset}" for one in behind)


def _endpoint(id: str, name: str, site: str, connection: str) -> Resource:
    payload = {"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}
    return {
        "resourceType": "Endpoint",
        "id": id,
        "status": "active",
        "connectionType": {"system": system("endpoint-connection"), "code": connection},
        "name": name,
        "managingOrganization": ref(f"Organization/{site}"),
        "payloadType": [{"coding": [payload]}],
    }
