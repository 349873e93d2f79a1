"""What modalities said of their steps, taken from them and passed on to the platform, oldest first.

    N-CREATE, N-SET → `taking` → rows (`steps`) → 0x0000 … POST /gateway/steps → judged there → row gone

No answer, an error of the platform's, a refused token: the same is told again, for ever, under the same name,
by which the platform knows what it has. What it does not take stands apart, with its status.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from dicomweb.gateway.pace import Waits
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.platform import Answer, Failing
from dicomweb.gateway.saying import packed
from dicomweb.gateway.steps import Said, Steps
from dicomweb.peers.session import PeerError, Unreachable
from dicomweb.performed import DUPLICATE
from dicomweb.steps import scp
from dicomweb.steps.taking import Sayer
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

ADDRESS = "/gateway/steps"
TRIES = 12  # of a message that the platform says it failed on, before it stands apart
FIRST_WAIT = 1.0  # seconds
JSON = {"Content-Type": "application/json"}


def handlers(parts: Parts) -> Mapping[Any, Any]:
    """For the gateway's node. Every step is the site's own; who may call is the node's to say."""
    taking = scp.Performing(Steps(parts.outbox), _sayer, utc_microseconds)

    def ringing(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def answer(event: Any) -> Any:
            try:
                return handler(event)
            finally:
                parts.bell.ring()

        return answer

    return {event: ringing(handler) for event, handler in scp.handlers(taking).items()}


def _sayer(event: Any) -> Sayer:
    return Sayer(str(event.assoc.requestor.ae_title).strip(), "", sees_all=True)


def run(parts: Parts, stop: threading.Event) -> None:
    """The loop that passes on."""
    steps, longest = Steps(parts.outbox), parts.settings.retry_seconds
    waits = Waits(min(FIRST_WAIT, longest), longest)
    while not stop.is_set():
        heard, one = parts.bell.rung, steps.next()
        if one is None:
            parts.bell.wait(heard, 2.0)
            continue
        try:
            _settle(steps, one, _asked(parts, one))
            waits.failures = 0
            parts.state.note("steps", "")
        except PeerError as error:
            if isinstance(error, Failing):
                _failed(steps, one)
            parts.state.note("steps", error.slug)
            log.warning("performed procedure steps: %s; told again later", error.slug)
            stop.wait(waits.next())


def _asked(parts: Parts, one: Said) -> Answer:
    """Raises PeerError."""
    content = {"name": one.name, "ae": one.ae_title, **packed(one.message)}
    answer = parts.platform.request("POST", ADDRESS, content=json.dumps(content).encode(), headers=JSON)
    if answer.status in (404, 405):
        raise Unreachable("not-offered", "the platform does not take performed steps from gateways")
    return answer


def _settle(steps: Steps, one: Said, answer: Answer) -> None:
    """Raises PeerError for an answer that is none."""
    if answer.status in (400, 413, 422):
        _apart(steps, one, f"refused: {answer.status}")
        return
    told = answer.json()
    status, error = (told.get("status"), told.get("error")) if isinstance(told, dict) else (None, None)
    if answer.status != 200 or type(status) is not int or type(error) is not int:
        raise Unreachable("bad-answer", f"the platform answered {answer.status}")
    if status == 0 or (one.message.kind == "create" and status == DUPLICATE):
        steps.delivered(one)
    else:
        _apart(steps, one, f"{status:#06x}" + (f" ({error:#06x})" if error else ""))


def _apart(steps: Steps, one: Said, reason: str) -> None:
    log.error("the platform does not take what %s said of a step: %s", one.ae_title, reason)
    steps.put_apart(one, reason)


def _failed(steps: Steps, one: Said) -> None:
    if one.tries + 1 >= TRIES:
        _apart(steps, one, "platform-failing")
    else:
        steps.failed(one)
