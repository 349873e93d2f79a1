"""The demonstration's two PACS as the directory has them."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_server.teledossier.vocabulary import BASE, Resource, ref, system


@dataclass(frozen=True, slots=True)
class Pacs:
    """A site's PACS: `offset` from the first port; `uses` as in the extension `peer`."""

    site: str
    name: str
    ae_title: str
    offset: int
    uses: tuple[str, ...]


PACS = (
    Pacs("ch-auch", "PACS du CH Auch (démo)", "PACS-AUCH", 0, ("query",)),
    Pacs("chu-tls", "PACS du CHU Toulouse (démo)", "PACS-CHU-TLS", 1, ("query", "relay")),
)


def endpoint(pacs: Pacs, first_port: int) -> Resource:
    """Its Endpoint resource."""
    uses = [{"url": "use", "valueCode": use} for use in pacs.uses]
    payload = {"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}
    return {
        "resourceType": "Endpoint",
        "id": f"pacs-{pacs.site}",
        "extension": [{"url": f"{BASE}/StructureDefinition/peer", "extension": uses}],
        "status": "active",
        "connectionType": {"system": system("endpoint-connection"), "code": "dicom-dimse"},
        "name": pacs.name,
        "managingOrganization": ref(f"Organization/{pacs.site}"),
        "payloadType": [{"coding": [payload]}],
        "address": f"dicom://127.0.0.1:{first_port + pacs.offset}/{pacs.ae_title}",
    }
