"""A RIS that takes performed procedure steps (MPPS SCP), as a process of its own, with the faults that a test
asks for: `python -m tests.dicomweb.ris PORT FOLDER [CERTIFICATE KEY AUTHORITY]`, the latter for mutual TLS.

`journal` has a line of JSON for each message that it took, synced before the answer; it reads it when it is
started again. `faults` (JSON, by kind of message or "any") says what goes wrong with the next ones:
`{"create": [{"status": 272}], "set": [{"close": "before"}, {"close": "after"}, {"wait": 3}]}`; the first of a
list is used up by each message.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from tests.dicomweb.steps import SOP_CLASS

TITLE = "RIS"
FINAL = ("COMPLETED", "DISCONTINUED")


class Ris:
    """The standard's own rules: a step is created once, set while it is in progress."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, threading.Lock()
        self.steps: dict[str, str] = {}
        for line in _lines(folder):
            self._apply(line)

    def _apply(self, line: dict[str, Any]) -> None:
        state = line["dataset"].get("00400252", {}).get("Value", [""])[0]
        self.steps[line["uid"]] = state or self.steps.get(line["uid"], "")

    def on_create(self, event: Any) -> tuple[int | Dataset, Dataset | None]:
        uid = str(event.request.AffectedSOPInstanceUID)
        return self._took(event, ("create", uid, event.request.AttributeList), event.attribute_list)

    def on_set(self, event: Any) -> tuple[int | Dataset, Dataset | None]:
        uid = str(event.request.RequestedSOPInstanceUID)
        return self._took(event, ("set", uid, event.request.ModificationList), event.modification_list)

    def _took(self, event: Any, what: tuple[str, str, Any], dataset: Dataset) -> Any:
        kind, uid, body = what
        fault = self._fault(kind)
        time.sleep(fault.get("wait", 0))
        if fault.get("close") == "before":
            event.assoc.abort()
            return 0x0110, None
        status: int | Dataset = fault.get("status", 0)
        if not status:
            with self.lock:
                status = self._judged(kind, uid)
                if status == 0:
                    self._note({
                        "kind": kind, "uid": uid, "syntax": str(event.context.transfer_syntax),
                        "calling": str(event.assoc.requestor.ae_title), "body": body.getvalue().hex(),
                        "dataset": dataset.to_json_dict(),
                    })  # fmt: skip
        if fault.get("close") == "after":
            event.assoc.abort()
        time.sleep(fault.get("late", 0))
        return status, dataset if status == 0 else None

    def _judged(self, kind: str, uid: str) -> int | Dataset:
        known = self.steps.get(uid)
        if kind == "create":
            return 0x0111 if known else 0x0000
        if known is None:
            return 0x0112
        if known in FINAL:
            made = Dataset()
            made.Status, made.ErrorID = 0x0110, 0xA710
            return made
        return 0x0000

    def _note(self, line: dict[str, Any]) -> None:
        self._apply(line)
        with (self.folder / "journal").open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _fault(self, kind: str) -> dict[str, Any]:
        path = self.folder / "faults"
        with self.lock:
            faults = json.loads(path.read_text()) if path.exists() else {}
            for name in (kind, "any"):
                if faults.get(name):
                    fault: dict[str, Any] = faults[name].pop(0)
                    path.write_text(json.dumps(faults))
                    return fault
        return {}


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "journal"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(port: int, folder: Path, *tls: str) -> None:
    ris, node = Ris(folder), AE(TITLE)
    node.require_called_aet = True
    node.add_supported_context(SOP_CLASS)
    handlers = [(evt.EVT_N_CREATE, ris.on_create), (evt.EVT_N_SET, ris.on_set)]
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls[2])
        context.load_cert_chain(tls[0], tls[1])
        context.verify_mode = ssl.CERT_REQUIRED
    at = ("127.0.0.1", port)
    server = node.start_server(at, block=False, evt_handlers=handlers, ssl_context=context)
    print("listening", flush=True)
    sys.stdin.read()
    server.shutdown()


class RisProcess:
    """Start, kill and restart; what it took."""

    def __init__(self, port: int, folder: Path, *tls: Path) -> None:
        self.port, self.folder, self.tls = port, folder, [str(one) for one in tls]
        self.process: subprocess.Popen[str] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.dicomweb.ris", str(self.port), str(self.folder), *self.tls],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "listening\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            for stream in (self.process.stdin, self.process.stdout):
                assert stream is not None
                stream.close()
            self.process = None

    def fail(self, **faults: list[dict[str, Any]]) -> None:
        (self.folder / "faults").write_text(json.dumps(faults))

    def took(self) -> list[dict[str, Any]]:
        """In order."""
        return _lines(self.folder)

    def told(self) -> list[tuple[str, str, str]]:
        """Kind, step and state of each message that it took."""
        return [
            (one["kind"], one["uid"], one["dataset"].get("00400252", {}).get("Value", [""])[0])
            for one in self.took()
        ]


@contextmanager
def running(port: int, folder: Path, *tls: Path) -> Iterator[RisProcess]:
    ris = RisProcess(port, folder, *tls)
    ris.start()
    try:
        yield ris
    finally:
        ris.kill()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
