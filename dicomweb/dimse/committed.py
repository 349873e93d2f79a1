"""What a peer answers to a storage commitment that we asked for, when it calls our node to tell.

Believed only for a transaction that is open, from the peer that was asked. PS3.4 §J.3.3
(N-EVENT-REPORT)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt

from dicomweb.dimse.registry import calling
from dicomweb.dimse.reporting import SOP_CLASS
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.peers.questions import outcome
from dicomweb.transfers.commitments import Commitments
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

RELAY = "relay"  # whom we send to may tell us that it keeps it
SUCCESS, FAILED, NO_SUCH_EVENT = 0x0000, 0x0110, 0x0113


@dataclass(frozen=True, slots=True)
class Reports:
    """`now`: UTC microseconds."""

    commitments: Commitments
    now: Callable[[], int]

    def on_report(self, event: Any) -> tuple[int, None]:
        """EVT_N_EVENT_REPORT."""
        if event.event_type not in (1, 2):
            return NO_SUCH_EVENT, None
        try:
            information = event.event_information
            transaction = str(information.get("TransactionUID", "") or "")
            peer = calling(event)
            if peer is None or peer.id != self.commitments.asked_of(transaction):
                log.warning("a storage commitment result that nobody waits for was refused")
                return FAILED, None
            self.commitments.answer(transaction, *outcome(information), self.now())
        except Exception:
            log.exception("a storage commitment result failed")
            return FAILED, None
        return SUCCESS, None


def _handlers(world: World) -> Mapping[Any, Handler]:
    reports = Reports(Commitments(world.images.queue), utc_microseconds)
    return {evt.EVT_N_EVENT_REPORT: reports.on_report}


SERVICE = Service([SOP_CLASS], _handlers, RELAY)
