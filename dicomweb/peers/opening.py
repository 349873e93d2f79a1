"""A session with a peer, whatever it speaks."""

from __future__ import annotations

from pathlib import Path

from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Denied, Session
from dicomweb.peers.through import GatewaySession
from dicomweb.peers.web import open_web


def open_session(peer: Peer, ours: Ours, spool: Path) -> Session:
    """Nothing is sent yet; whatever fails does so at the first question. Raises Denied for a peer behind a
    gateway where there is no board: it is never called past its gateway."""
    if peer.via:
        if ours.board is None:
            raise Denied("no-board", "this process cannot ask gateways")
        return GatewaySession(peer, ours.board)
    return DimseSession(peer, ours) if peer.kind == "dimse" else open_web(peer, ours.credentials, spool)
