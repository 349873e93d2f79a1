"""The gateway: its DICOM node and its loops in one process, until it is told to stop.

Each loop is a function `(parts, stop)` in a thread of its own; one that fails is logged and begun again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pynetdicom import evt

from dicomweb.dimse.lines import listening_on
from dicomweb.dimse.reporting import SOP_CLASS
from dicomweb.dimse.scp import Receiver
from dicomweb.dimse.server import Listening, listen
from dicomweb.dimse.spool import own, spooling
from dicomweb.gateway import commitment, committing, errands, forwarding, health, passing
from dicomweb.gateway.intake import Intake
from dicomweb.gateway.parts import Parts, opened
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.steps import scp

log = logging.getLogger(__name__)

PAUSE = 5.0  # seconds before a loop that failed is begun again


@dataclass(frozen=True, slots=True)
class Loop:
    name: str
    run: Callable[[Parts, threading.Event], None]


LOOPS = (
    Loop("urgent", forwarding.urgent),
    Loop("routine", forwarding.routine),
    Loop("errands", errands.run),
    Loop("commitments", commitment.run),
    Loop("promises", committing.run),
    Loop("steps", passing.run),
    Loop("health", health.run),
    Loop("cleaning", health.clean),
)


async def serve(
    settings: GatewaySettings, stop: asyncio.Event, *, ready: Callable[[int], None] | None = None
) -> None:
    """`ready` is told the DICOM port once it listens. Raises Conflict (another runs on the folder)."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    with opened(settings) as parts, own(parts.files.spool) as spool, spooling(spool):
        stopped = threading.Event()
        intake = Intake(parts.outbox, parts.files, parts.room, parts.bell, settings.rules)
        at = Listening(listening_on(settings.host, settings.port), settings.ae_title)
        handlers = [*Receiver(intake).handlers, *passing.handlers(parts).items()]
        offered = [*scp.OFFERED]
        if settings.asking or settings.called:
            handlers.append((evt.EVT_N_ACTION, commitment.Committer(parts, settings.asking).on_action))
            handlers += committing.handlers(parts).items()
            offered.append(SOP_CLASS)
        server = listen(at, offered, handlers)
        server.ae.require_calling_aet = settings.calling
        node = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        threads = [
            threading.Thread(target=_keep, args=(loop, parts, stopped), name=loop.name, daemon=True)
            for loop in LOOPS
        ]
        for thread in (node, *threads):
            thread.start()
        if ready:
            ready(at.port)
        log.info("gateway %s on %s:%s", settings.ae_title, settings.host, at.port)
        await stop.wait()
        stopped.set()
        parts.bell.ring()
        await asyncio.to_thread(server.stop)
        for thread in threads:
            await asyncio.to_thread(thread.join, 5.0)


def _keep(loop: Loop, parts: Parts, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            loop.run(parts, stop)
        except Exception:
            log.exception("%s failed and is begun again", loop.name)
            parts.state.note(loop.name, "failed")
            stop.wait(PAUSE)
