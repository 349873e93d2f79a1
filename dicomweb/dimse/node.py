"""The DICOM node's process: opens what is stored, listens, until it is told to stop.

C-ECHO and C-STORE for everyone (or for known peers alone, by setting); the other services for the peers that
the directory names. pynetdicom works with threads, so
it stays out of the web tier. PS3.4, PS3.7, PS3.8
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from dicomweb.dimse import tls
from dicomweb.dimse.admission import Admission, source
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.known import SERVICES
from dicomweb.dimse.lines import Lines, lines
from dicomweb.dimse.registry import Registry
from dicomweb.dimse.scp import Receiver
from dicomweb.dimse.server import Listening, Server, listen, serving
from dicomweb.dimse.services import World, handlers, offered
from dicomweb.dimse.sink import Archive
from dicomweb.dimse.spool import drop_abandoned, own, spooling
from dicomweb.images import open_images
from fhir_server.access import SYSTEM
from fhir_server.search.nodes import Everything
from fhir_server.settings import Settings
from fhir_server.store import open_store

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
MOST_PEERS = 5000


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    on: Lines | None = None,
    ready: Callable[[Lines], None] = lambda _lines: None,
) -> None:
    """Run the node until `stop`, on sockets of our own unless some are given. `ready` is told when it
    answers."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    context = tls.of(settings)
    taken = on or lines(settings)
    store, stopped = open_store(settings), threading.Event()
    images = open_images(settings, store)
    try:
        await store.open()
        bridge = Bridge(asyncio.get_running_loop(), store)
        known = Registry(lambda: bridge.resources(SYSTEM, "Endpoint", Everything(), MOST_PEERS))
        world = World(settings, images, bridge, known, stopped)
        with own(images.files.spool) as spool, spooling(spool):
            servers = _servers(world, taken, context)
            with serving(servers):
                ready(taken)
                await _until(stop, images.files.spool)
                stopped.set()
                await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
    finally:
        taken.close()
        images.close()
        await store.close()


def _servers(world: World, taken: Lines, context: ssl.SSLContext | None) -> list[Server]:
    title, strict = world.settings.ae_title, world.settings.dimse_unknown == "refuse"
    admission = Admission(world.known, SERVICES, title, strict)
    receiver = Receiver(Archive(world.images.files, world.images.index), source, admission.refusal)
    answering = [*receiver.handlers, *admission.handlers, *handlers(SERVICES, world)]
    made = []
    for line, secure in ((taken.plain, None), (taken.tls, context)):
        if line is not None:
            at = Listening(line, title, secure, shared=taken.shared)
            made.append(listen(at, offered(SERVICES), answering))
            log.info("DICOM node %s on %s:%s", at.ae_title, *line.getsockname()[:2])
    return made


async def _until(stop: asyncio.Event, spool: Path) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SWEEP_SECONDS)
        await asyncio.to_thread(drop_abandoned, spool)
