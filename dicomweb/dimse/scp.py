"""The DICOM node: C-ECHO, C-STORE, and for the peers it knows C-FIND, C-MOVE, C-GET, storage commitment and
the modality worklist; in a process of its own, what comes in streamed to disk without decoding.

    socket → pynetdicom's chunked receive → spool file → ingest (read header, file, index) → status

pynetdicom works with threads and polls, so it stays out of the web tier. A status 0x0000 says: the file is in
place and synced, the index committed. A dataset cut off by a lost connection leaves nothing. PS3.4 §B
(Storage Service Class), PS3.7 §9.1 (DIMSE-C), PS3.8 (upper layer)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]
from pynetdicom.transport import ThreadedAssociationServer

from dicomweb import reasons
from dicomweb.dimse import peers
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.services import Service, World, handlers, offered
from dicomweb.dimse.sink import Archive, Sink
from dicomweb.dimse.sockets import MAXIMUM_PDU, QuickHandler
from dicomweb.files import SLOW_SPOOL, DicomFiles
from dicomweb.images import open_images
from dicomweb.ingest import Arrival
from dicomweb.reasons import Refused
from fhir_server.settings import Settings
from fhir_server.store import open_store

log = logging.getLogger(__name__)

MAXIMUM_ASSOCIATIONS = 40
IDLE_SECONDS = 60.0  # without a byte from the peer
ANSWER_SECONDS = 30.0
ABANDONED_SECONDS = 900.0  # a spool file not written to for so long belongs to no association any more
SLOW_SECONDS = 6 * 3600.0  # the same for what the web tier spools


def utc_microseconds() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Receiver:
    """What happens to an instance that has come in whole: `sink` takes it. `sources`: calling AE title →
    organisation id; an AE that is not listed stands for the organisation of the same name in lower case."""

    sink: Sink
    sources: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], int] = utc_microseconds

    def on_store(self, event: Any) -> int | Dataset:
        """EVT_C_STORE. Returns the status, with a comment when it is a failure or a warning."""
        request = event.request
        calling = str(event.assoc.requestor.ae_title).strip()
        arrival = Arrival(
            self.now(),
            calling,
            self.sources.get(calling, calling.lower()),
            str(request.AffectedSOPClassUID or ""),
            str(request.AffectedSOPInstanceUID or ""),
        )
        try:
            outcome = self.sink(Path(event.dataset_path), arrival)
        except Refused as refused:
            log.warning("C-STORE refused: %s", refused.reason.slug)
            return _status(refused.reason)
        except Exception:
            log.exception("C-STORE failed")
            return _status(reasons.FAILED)
        return _status(reasons.KEPT_ASIDE) if outcome == "conflict" else 0x0000

    def on_echo(self, _event: Any) -> int:
        return 0x0000

    def on_close(self, event: Any) -> None:
        """EVT_CONN_CLOSE: a dataset still on its way when the connection ends is dropped."""
        message = event.assoc.dimse.message
        unfinished = getattr(message, "_data_set_file", None)
        if unfinished is not None:
            log.warning("connection closed within a C-STORE; nothing kept of that instance")
            unfinished.close()
            Path(unfinished.name).unlink(missing_ok=True)


def _status(reason: reasons.Reason) -> Dataset:
    status = Dataset()
    status.Status = reason.status
    status.ErrorComment = reason.comment[:64]
    return status


class Server(ThreadedAssociationServer):  # type: ignore[misc]
    """pynetdicom's server, which closes what is open when it stops."""

    def stop(self) -> None:
        """Stop accepting, abort what runs, wait shortly for its threads."""
        associations = self.active_associations
        BaseServer.shutdown(self)
        self.server_close()
        for association in associations:
            association.abort()
        for association in associations:
            association.join(2.0)


def listen(
    receiver: Receiver,
    host: str,
    port: int,
    ae_title: str,
    services: Sequence[Service] = (),
    world: World | None = None,
) -> Server:
    """A bound server, not yet serving (`serve_forever`); port 0 picks a free one (`server_address`). Without
    `services` only storing is offered: whoever is not known has no context to ask in."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    node = AE(ae_title)
    node.add_supported_context(Verification)
    for name in offered(services):
        node.add_supported_context(name)
    node.maximum_pdu_size = MAXIMUM_PDU
    node.maximum_associations = MAXIMUM_ASSOCIATIONS
    node.network_timeout = IDLE_SECONDS
    node.dimse_timeout = ANSWER_SECONDS
    node.acse_timeout = ANSWER_SECONDS
    server: Server = node.make_server(
        (host, port),
        ae_title=ae_title,
        server_class=Server,
        request_handler=QuickHandler,
        evt_handlers=[
            (evt.EVT_C_STORE, receiver.on_store),
            (evt.EVT_C_ECHO, receiver.on_echo),
            (evt.EVT_CONN_CLOSE, receiver.on_close),
            *(handlers(services, world) if world else ()),
        ],
    )
    return server


@contextlib.contextmanager
def spooling(folder: Path) -> Iterator[None]:
    """pynetdicom's chunked receive writes to Python's temporary folder: make that our spool, on the same disk
    as the files, so that a rename files an instance. Process-wide, hence the node's own process."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


async def serve(
    settings: Settings, stop: asyncio.Event, *, ready: Callable[[int], None] | None = None
) -> None:
    """Run the node until `stop`. `ready` is told the port once it listens."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    store, stopped = open_store(settings), threading.Event()
    images = open_images(settings, store)
    files, index = images.files, images.index
    files.sweep()
    try:
        services: Sequence[Service] = ()
        world: World | None = None
        if peers.of(settings):
            from dicomweb.dimse.known import SERVICES  # pixel libraries, which storing does not need

            await store.open()
            bridge = Bridge(asyncio.get_running_loop(), store)
            services, world = SERVICES, World(settings, images, bridge, peers.of(settings), stopped)
        with spooling(files.spool.absolute()):
            receiver = Receiver(Archive(files, index))
            server = listen(receiver, settings.host, settings.dimse_port, settings.ae_title, services, world)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
            thread.start()
            if ready:
                ready(int(server.server_address[1]))
            log.info("DICOM node %s on %s:%s", settings.ae_title, settings.host, server.server_address[1])
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 60)
                await asyncio.to_thread(drop_abandoned, files)
            stopped.set()
            await asyncio.to_thread(server.stop)
            thread.join(2.0)
    finally:
        images.close()
        if peers.of(settings):
            await store.close()


def drop_abandoned(files: DicomFiles) -> int:
    """Remove spool files that no association writes to any more."""
    now, dropped = time.time(), 0
    for path in files.spool.iterdir():
        allowed = SLOW_SECONDS if path.name.startswith(SLOW_SPOOL) else ABANDONED_SECONDS
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < now - allowed:
                path.unlink()
                dropped += 1
    return dropped
