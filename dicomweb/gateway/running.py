"""The gateway: its DICOM node and its loops in one process, until it is told to stop.

Each loop is a function `(parts, stop)` in a thread of its own; one that fails is logged and begun again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pynetdicom import evt

from dicomweb.dimse import tls
from dicomweb.dimse.lines import listening_on
from dicomweb.dimse.reporting import SOP_CLASS
from dicomweb.dimse.scp import Receiver
from dicomweb.dimse.server import Listening, Server, listen, serving
from dicomweb.dimse.spool import own, spooling
from dicomweb.gateway import commitment, committing, errands, forwarding, health, passing
from dicomweb.gateway.intake import Intake
from dicomweb.gateway.parts import Parts, opened
from dicomweb.gateway.settings import PREFIX, GatewaySettings
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
    context = tls.of(settings, PREFIX)
    with opened(settings) as parts, own(parts.files.spool) as spool, spooling(spool):
        stopped = threading.Event()
        servers = _servers(parts, context)
        threads = [
            threading.Thread(target=_keep, args=(loop, parts, stopped), name=loop.name, daemon=True)
            for loop in LOOPS
        ]
        with serving(servers):
            for thread in threads:
                thread.start()
            if ready:
                ready(servers[0].at.port)
            await stop.wait()
            stopped.set()
            parts.bell.ring()
            await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
        for thread in threads:
            await asyncio.to_thread(thread.join, 5.0)


def _servers(parts: Parts, context: ssl.SSLContext | None) -> list[Server]:
    """What modalities call: plain, and by TLS when there are certificates. Raises OSError when a port is
    taken."""
    settings = parts.settings
    intake = Intake(parts.outbox, parts.files, parts.room, parts.bell, settings.rules)
    handlers = [*Receiver(intake).handlers, *passing.handlers(parts).items()]
    offered = [*scp.OFFERED]
    if settings.asking or settings.called:
        handlers.append((evt.EVT_N_ACTION, commitment.Committer(parts, settings.asking).on_action))
        handlers += committing.handlers(parts).items()
        offered.append(SOP_CLASS)
    made = []
    ports = [(settings.port, None)] + ([(settings.dimse_tls_port, context)] if context else [])
    for port, secure in ports:
        at = Listening(listening_on(settings.host, port), settings.ae_title, secure)
        made.append(listen(at, offered, handlers))
        made[-1].ae.require_calling_aet = settings.calling
        log.info("gateway %s on %s:%s", settings.ae_title, settings.host, at.port)
    return made


def _keep(loop: Loop, parts: Parts, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            loop.run(parts, stop)
        except Exception:
            log.exception("%s failed and is begun again", loop.name)
            parts.state.note(loop.name, "failed")
            stop.wait(PAUSE)
