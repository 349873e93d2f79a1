"""Who calls, and what it may: the Endpoint resources of the directory, read again while the node runs.

A caller is known by its AE title together with the address it calls from. What it may do is what its
Endpoint's `use` says; whose images it sees is what its managing organisation may see. An Endpoint that is not
active, or is behind a gateway, calls nobody. PS3.8 §7.1.1 (AE titles); FHIR R4 endpoint.html
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dicomweb.peers.peer import Peer, of_endpoint
from fhir_server.access import Access, Scope
from profiles.outcomes import Invalid

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0  # an Endpoint that is changed counts for new associations after this time at most
STORE, QUERY, WORKLIST = "accept-store", "accept-query", "accept-worklist"
COMMITMENT, STEPS, EVERYTHING = "accept-commitment", "accept-steps", "accept-all"


def access_of(peer: Peer) -> Access:
    """What it sees: the télédossiers of its organisation; everything when its Endpoint says so."""
    if EVERYTHING in peer.uses:
        audience = None
    else:
        audience = frozenset({peer.organization} if peer.organization else ())
    return Access(f"Endpoint/{peer.id}", (Scope("*", "rs"),), audience)


def stores(peer: Peer) -> bool:
    """Whether it may send: because it is said so, or because we ask it to by C-MOVE."""
    return STORE in peer.uses or ("query" in peer.uses and peer.retrieve == "move")


def calling(event: Any) -> Peer | None:
    """Who asks, as it was when the association began."""
    found: Peer | None = getattr(event.assoc, "peer", None)
    return found


@dataclass(slots=True)
class _Known:
    """The peers as they were read at `at`, and the addresses of their host names."""

    peers: Sequence[Peer] = ()
    at: float = -FRESH_SECONDS
    addresses: dict[str, frozenset[str]] = field(default_factory=dict)


class Registry:
    """`read` gives every Endpoint resource; `clock` seconds. Safe from several threads."""

    def __init__(
        self,
        read: Callable[[], Iterable[Mapping[str, Any]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._clock = read, clock
        self._known = _Known()
        self._reading = threading.Lock()

    def peers(self) -> Sequence[Peer]:
        """The active DIMSE peers that reach us and are reached without a gateway."""
        return self._now().peers

    def caller(self, title: str, address: str) -> Peer | None:
        """The peer of that AE title that calls from that address."""
        known = self._now()
        for peer in known.peers:
            if peer.ae_title == title and any(
                _is_at(address, place, known.addresses) for place in peer.calling_from or (peer.host,)
            ):
                return peer
        return None

    def destination(self, title: str, by: Peer) -> Peer | None:
        """Where `by` may have something moved to: itself, or a peer of its organisation; any peer, if it sees
        everything."""
        found = [one for one in self.peers() if one.ae_title == title]
        allowed = [one for one in found if _may_move(by, one)]
        allowed.sort(key=lambda one: (one.id != by.id, one.organization != by.organization))
        return allowed[0] if allowed else None

    def _now(self) -> _Known:
        known = self._known
        if self._clock() - known.at < FRESH_SECONDS:
            return known
        if not self._reading.acquire(blocking=not known.peers):
            return known  # another thread is reading
        try:
            if self._clock() - self._known.at >= FRESH_SECONDS:
                self._known = _Known(_usable(self._read()), self._clock())
        except Exception:
            log.exception("the directory cannot be read: peers stay as they were")
            self._known = _Known(known.peers, self._clock(), known.addresses)
        finally:
            self._reading.release()
        return self._known


def _usable(resources: Iterable[Mapping[str, Any]]) -> list[Peer]:
    found = []
    for resource in resources:
        with suppress(Invalid):  # one wrong Endpoint concerns nobody else
            peer = of_endpoint(resource)
            if peer is not None and peer.kind == "dimse" and peer.active and not peer.via:
                found.append(peer)
    return found


def _may_move(by: Peer, to: Peer) -> bool:
    return by.id == to.id or EVERYTHING in by.uses or (by.organization == to.organization != "")


def _is_at(address: str, place: str, names: dict[str, frozenset[str]]) -> bool:
    """Whether an address is that one, is in that network, or is that host's."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(place, strict=False)
    except ValueError:
        pass
    if place not in names:
        try:
            names[place] = frozenset(str(one[4][0]) for one in socket.getaddrinfo(place, None))
        except (OSError, UnicodeError):
            names[place] = frozenset()
    return address in names[place]
