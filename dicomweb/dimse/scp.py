"""C-STORE: what comes in is streamed to disk without decoding, then taken by a sink.

    socket → spool file, hashed on the way (`messages`) → sink (read header, file, index) → status

A status 0x0000 says: the instance is durable. A dataset cut off by a lost connection leaves nothing. PS3.4 §B
(Storage Service Class), PS3.7 §9.1.1 (C-STORE)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomweb import reasons
from dicomweb.dimse.sink import Sink
from dicomweb.ingest import Arrival
from dicomweb.reasons import Refused
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)


def own_name(_event: Any) -> str:
    """An AE title that nothing is known of stands for the organisation of the same name in lower case."""
    return str(_event.assoc.requestor.ae_title).strip().lower()


@dataclass(frozen=True, slots=True)
class Receiver:
    """What happens to an instance that has come in whole: `sink` takes it, as coming from the organisation
    that `source` names; before, `refusal` may say why this peer may not store it."""

    sink: Sink
    source: Callable[[Any], str] = own_name
    refusal: Callable[[Any], reasons.Reason | None] = lambda _event: None
    now: Callable[[], int] = utc_microseconds

    @property
    def handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        """For `server.listen`."""
        return [(evt.EVT_C_STORE, self.on_store), (evt.EVT_CONN_CLOSE, drop_unfinished)]

    def on_store(self, event: Any) -> int | Dataset:
        """EVT_C_STORE. Returns the status, with a comment when it is a failure or a warning."""
        request = event.request
        if reason := self.refusal(event) or (None if request.is_written else reasons.OUT_OF_RESOURCES):
            request.path.unlink(missing_ok=True)
            log.warning("C-STORE refused: %s", reason.slug)
            return _status(reason)
        try:
            arrival = Arrival(
                self.now(),
                str(event.assoc.requestor.ae_title).strip(),
                self.source(event),
                request.AffectedSOPClassUID,
                request.AffectedSOPInstanceUID,
                sha256=request.sha256,
            )
            outcome = self.sink(request.path, arrival)
        except Refused as refused:
            log.warning("C-STORE refused: %s", refused.reason.slug)
            return _status(refused.reason)
        except Exception:
            log.exception("C-STORE failed")
            return _status(reasons.FAILED)
        return _status(reasons.KEPT_ASIDE) if outcome == "conflict" else 0x0000


def drop_unfinished(event: Any) -> None:
    """EVT_CONN_CLOSE: a dataset still on its way when the connection ends is dropped, and so are those that
    came whole and wait for their turn: nobody was told that they are stored."""
    if event.assoc.dimse.drop():
        log.warning("connection closed within a C-STORE; nothing kept of that instance")


def _status(reason: reasons.Reason) -> Dataset:
    status = Dataset()
    status.Status = reason.status
    status.ErrorComment = reason.comment[:64]
    return status
