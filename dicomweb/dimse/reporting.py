"""The result of a storage commitment, told to whoever asked: N-EVENT-REPORT on an association of our own.

PS3.4 §J.3.3 (Event Types 1 and 2)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from dicomweb.dimse.sockets import hasten
from dicomweb.peers.peer import Peer

SOP_CLASS = "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def tell(ae_title: str, peer: Peer, result: Dataset) -> bool:
    """Whether the peer took it. Blocking."""
    node = AE(ae_title)
    node.network_timeout = node.acse_timeout = node.dimse_timeout = 20
    node.add_requested_context(SOP_CLASS, list(SYNTAXES))
    quick: Callable[[Any], None] = lambda event: hasten(event.assoc.dul.socket.socket)  # noqa: E731
    association = node.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        ext_neg=[build_role(SOP_CLASS, scp_role=True)],
        evt_handlers=[(evt.EVT_CONN_OPEN, quick)],
    )
    if not association.is_established:
        return False
    try:
        return _reported(association, result)
    finally:
        association.release()


def told_here(association: Any, result: Dataset) -> bool:
    """Whether the peer took it on the association on which it asked, if that is still open. Blocking, not to
    be called by the association's own thread."""
    if not association.is_established:
        return False
    association.rouse()
    return _reported(association, result)


def _reported(association: Any, result: Dataset) -> bool:
    try:
        kind = 2 if "FailedSOPSequence" in result else 1
        status, _reply = association.send_n_event_report(result, kind, SOP_CLASS, WELL_KNOWN)
        return int(status.get("Status", 0xFFFF)) == 0x0000
    except (ValueError, RuntimeError):  # the peer did not take the role, or is gone
        return False
