"""The AE titles that may query and retrieve: from where they call, where they listen, and what they may see.

Storing needs no entry: what comes in is attached by identity alone. A peer of an organisation sees that
organisation's télédossiers; a peer without one sees everything, as a system does. PS3.8 §7.1.1 (AE titles)
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.access import Access, Scope
from fhir_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Peer:
    ae_title: str
    host: str
    port: int
    organisation: str = ""

    @property
    def access(self) -> Access:
        audience = frozenset({f"Organization/{self.organisation}"}) if self.organisation else None
        return Access(f"Device/{self.ae_title}", (Scope("*", "rs"),), audience)


def of(settings: Settings) -> dict[str, Peer]:
    """AE title → peer. The form was checked with the settings."""
    found = {}
    for one in filter(None, (part.strip() for part in settings.dimse_peers.split(","))):
        name, _equals, address = one.rpartition("=")
        title, _at, organisation = name.partition("@")
        host, _colon, port = address.rpartition(":")
        found[title] = Peer(title, host, int(port), organisation)
    return found


def calling(peers: Mapping[str, Peer], event: Any) -> Peer | None:
    """Who asks: an AE title on the list that calls from its own host."""
    peer = peers.get(str(event.assoc.requestor.ae_title).strip())
    if peer is None:
        return None
    try:
        hosts = {str(found[4][0]) for found in socket.getaddrinfo(peer.host, None)}
    except OSError:
        return None
    return peer if str(event.assoc.requestor.address) in hosts else None
