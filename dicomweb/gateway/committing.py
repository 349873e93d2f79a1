"""The site's PACS is asked to take responsibility for what the platform sent it, and its answer passed on.

    errand ──▶ row ──▶ N-ACTION … N-EVENT-REPORT, on the same association or to this gateway's node, also days
    later and after a restart ──▶ row ──▶ POST /gateway/commitments ──▶ row gone

PS3.4 §J (Storage Commitment Service Class)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from pynetdicom import evt

from dicomweb.gateway.errand import Errand
from dicomweb.gateway.pace import Waits
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.promises import Promises
from dicomweb.gateway.telling import Telling
from dicomweb.peers.questions import outcome
from dicomweb.peers.session import Committing, Denied, PeerError, Session, Unreachable
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

ADDRESS = "/gateway/commitments"
JSON = {"Content-Type": "application/json"}
SUCCESS, FAILED, NO_SUCH_EVENT = 0x0000, 0x0110, 0x0113


def commit(parts: Parts, errand: Errand, session: Session, _telling: Telling) -> None:
    """Asks; the result goes its own way. Raises PeerError, Denied where it is not offered."""
    if not isinstance(session, Committing):
        raise Denied("not-offered", "storage commitment is asked for by DIMSE alone")
    promises, transaction = Promises(parts.outbox), str(errand.asked["transaction"])
    title = errand.peer.ae_title
    wanted = {uid: sop_class for sop_class, uids in errand.asked["wanted"].items() for uid in uids}
    promises.ask(transaction, title, utc_microseconds())

    def answered(kept: Iterable[str], failed: Mapping[str, int]) -> None:
        promises.answer(transaction, title, kept, failed)
        parts.bell.ring()

    try:
        session.commit(transaction, wanted, answered)
    except PeerError:
        promises.drop(transaction)
        raise


def handlers(parts: Parts) -> Mapping[Any, Any]:
    """For the gateway's node."""
    promises = Promises(parts.outbox)

    def on_report(event: Any) -> tuple[int, None]:
        if event.event_type not in (1, 2):
            return NO_SUCH_EVENT, None
        try:
            information = event.event_information
            transaction = str(information.get("TransactionUID", "") or "")
            title = str(event.assoc.requestor.ae_title).strip()
            known = promises.answer(transaction, title, *outcome(information))
        except Exception:  # hostile input: whatever pydicom stumbles on
            log.exception("a storage commitment result failed")
            return FAILED, None
        if not known:
            log.warning("a storage commitment result that nobody waits for was refused")
            return FAILED, None
        parts.bell.ring()
        return SUCCESS, None

    return {evt.EVT_N_EVENT_REPORT: on_report}


def run(parts: Parts, stop: threading.Event) -> None:
    """The loop that passes results on."""
    promises, longest = Promises(parts.outbox), parts.settings.retry_seconds
    waits = Waits(min(1.0, longest), longest)
    while not stop.is_set():
        heard, found = parts.bell.rung, promises.answered()
        if found is None:
            parts.bell.wait(heard, 30.0)
            continue
        try:
            _pass_on(parts, promises, *found)
            waits.failures = 0
            parts.state.note("promises", "")
        except PeerError as error:
            parts.state.note("promises", error.slug)
            log.warning("storage commitments: %s; told again later", error.slug)
            stop.wait(waits.next())


def _pass_on(parts: Parts, promises: Promises, transaction: str, result: bytes) -> None:
    """Raises PeerError. The platform that waits for it no more, or cannot read it, says so once."""
    answer = parts.platform.request("POST", ADDRESS, content=result, headers=JSON)
    if answer.status not in (204, 400, 404, 413, 422):
        raise Unreachable("bad-answer", f"the platform answered {answer.status}")
    if answer.status != 204:
        log.warning("the platform does not take a storage commitment's result: %d", answer.status)
    promises.drop(transaction)
