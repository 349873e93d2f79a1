"""Who gets an association, and with which services; who may store what in it.

A rejection says why, as far as the standard has a word for it: calling or called AE title not recognised;
when the directory cannot be asked, congestion. Services that a peer may not use have no presentation context
for it. PS3.8 §9.3.4 (A-ASSOCIATE-RJ), PS3.7 §9.1.1.1.9
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt

from dicomweb import reasons
from dicomweb.dimse import registry
from dicomweb.dimse.association import VERIFICATION
from dicomweb.dimse.registry import Registry
from dicomweb.dimse.services import Handler, Service
from dicomweb.peers.peer import Peer

log = logging.getLogger(__name__)

CALLING_UNKNOWN, CALLED_UNKNOWN, CONGESTION = (1, 1, 3), (1, 1, 7), (2, 3, 1)


@dataclass(frozen=True, slots=True)
class Admission:
    """`strict`: only peers of the directory, and only under our AE title. Else whoever calls may store, and
    peers of the directory use the services that their Endpoint names besides."""

    known: Registry
    services: Sequence[Service]
    ae_title: str
    strict: bool

    @property
    def handlers(self) -> list[tuple[Any, Handler]]:
        return [(evt.EVT_REQUESTED, self.on_requested)]

    def on_requested(self, event: Any) -> None:
        """EVT_REQUESTED: sets the association's `peer` and what is offered to it, or rejects it."""
        association = event.assoc
        asked = association.requestor.primitive
        try:
            peer = self.known.caller(str(asked.calling_ae_title).strip(), str(association.requestor.address))
            rejection = self._rejection(peer, str(asked.called_ae_title).strip())
        except Exception:
            log.exception("the caller cannot be looked up")
            peer, rejection = None, CONGESTION
        if rejection:
            log.warning("an association is rejected: %s", rejection)
            association.acse.send_reject(*rejection)
            association.kill()
            return
        association.peer = peer
        if peer is not None:
            association.dul.socket.rate = peer.rate
        association.offered = self._offered(peer)

    def _rejection(self, peer: Peer | None, called: str) -> tuple[int, int, int] | None:
        if not self.strict:
            return None
        if peer is None or not (registry.stores(peer) or any(one.use in peer.uses for one in self.services)):
            return CALLING_UNKNOWN
        return None if called == self.ae_title else CALLED_UNKNOWN

    def _offered(self, peer: Peer | None) -> frozenset[str]:
        allowed = [one for one in self.services if peer is not None and one.use in peer.uses]
        return frozenset({VERIFICATION, *(name for one in allowed for name in one.offered)})

    def refusal(self, event: Any) -> reasons.Reason | None:
        """Why an instance may not be stored by this caller; for `scp.Receiver`."""
        peer = registry.calling(event)
        if peer is None:
            return reasons.NOT_AUTHORISED if self.strict else None
        if self.strict and not registry.stores(peer):
            return reasons.NOT_AUTHORISED
        if peer.sop_classes and str(event.request.AffectedSOPClassUID) not in peer.sop_classes:
            return reasons.UNSUPPORTED_CLASS
        return None


def source(event: Any) -> str:
    """The organisation that an instance comes from: its peer's; of an AE title that nothing is known of, the
    one of the same name in lower case."""
    peer = registry.calling(event)
    own = str(event.assoc.requestor.ae_title).strip().lower()
    return (peer.site if peer is not None else "") or own
