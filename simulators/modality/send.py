"""C-STORE of a folder, as a modality does; resumable: what was acknowledged before is not sent again."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pynetdicom import AE, _config, evt

from dicomweb.dimse.steady import steady
from simulators.modality.encode import EXPLICIT_LITTLE
from simulators.modality.generate import SOP_CLASSES


class NotSent(Exception):
    """The peer refused the association or an instance, or went away; the text says which, without patient
    data."""


def send(
    folder: Path,
    host: str,
    port: int,
    ae: str = "TELEDOSSIER",
    *,
    calling: str = "MODALITE",
    manifest: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Send every file of `folder` that `manifest` does not list yet; returns how many were sent now. Raises
    NotSent.

    The manifest (default: `<folder>-sent-<host>-<port>-<ae>.txt`) gets a name after each
    acknowledgement. Delete it to send all again.
    """
    manifest = manifest or folder.with_name(f"{folder.name}-sent-{host}-{port}-{ae}.txt")
    done = set(manifest.read_text("utf-8").splitlines()) if manifest.exists() else set()
    files = sorted(folder.glob("*.dcm"))
    waiting = [path for path in files if path.name not in done]
    if not waiting:
        return 0
    manifest.parent.mkdir(parents=True, exist_ok=True)
    opened: list[socket.socket] = []
    association = _associate(host, port, ae, calling, opened)
    try:
        with manifest.open("a", encoding="utf-8", buffering=1) as log:
            for count, path in enumerate(waiting, len(files) - len(waiting) + 1):
                if not association.is_established:
                    raise NotSent(f"{path.name}: connection lost")
                try:
                    status = association.send_c_store(path)
                except RuntimeError as error:  # it was lost since we looked
                    raise NotSent(f"{path.name}: connection lost") from error
                if "Status" not in status or status.Status != 0:
                    code = f"0x{status.Status:04X}" if "Status" in status else "connection lost"
                    raise NotSent(f"{path.name}: {code}")
                log.write(path.name + "\n")
                progress(count, len(files))
    finally:
        association.release()
        for connection in opened:  # a broken one is left open by pynetdicom
            connection.close()
    return len(waiting)


def _associate(host: str, port: int, ae: str, calling: str, opened: list[socket.socket]) -> Any:
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    node = AE(calling)
    node.acse_timeout, node.dimse_timeout, node.network_timeout = 10, 60, 60
    for sop_class in SOP_CLASSES.values():
        node.add_requested_context(sop_class, EXPLICIT_LITTLE)

    def on_open(event: Any) -> None:
        steady(event)
        opened.append(event.assoc.dul.socket.socket)
        opened[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    association = node.associate(host, port, ae_title=ae, evt_handlers=[(evt.EVT_CONN_OPEN, on_open)])
    if not association.is_established:
        raise NotSent(f"no association with {ae} at {host}:{port}")
    return association
