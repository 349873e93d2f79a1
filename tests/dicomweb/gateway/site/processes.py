"""A platform and a site's gateway as their own processes, as in operation, and a line between them to cut."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from dicomweb.gateway.outbox import Outbox
from dicomweb.index.sqlite import SqliteIndex, open_index
from fhir_server.settings import Settings
from tests.processes import eventually, unused_port

ROOT = Path(__file__).parents[4]
CLIENT = "passerelle-auch"
STORESCU = "/usr/bin/storescu"


def environment(**own: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **own}


class Platform:
    """`teledossier serve` on a folder of its own."""

    def __init__(self, folder: Path, base_url: str = "") -> None:
        self.port, self.folder = unused_port(), folder
        folder.mkdir(parents=True)
        self.settings = Settings(
            store=f"sqlite:///{folder / 'platform.db'}",
            files=str(folder / "files"),
            port=self.port,
            base_url=base_url,
        )
        self.environment = environment(
            TELEDOSSIER_STORE=self.settings.store,
            TELEDOSSIER_FILES=self.settings.files,
            TELEDOSSIER_PORT=str(self.port),
            TELEDOSSIER_BASE_URL=base_url,
            TELEDOSSIER_PACKAGES=str(folder / "packages"),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> str:
        """One of the platform's commands."""
        return subprocess.run(
            [sys.executable, "-m", "fhir_server", *words],
            cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True, timeout=120,
        ).stdout  # fmt: skip

    def start(self, workers: int = 1) -> None:
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fhir_server", "serve", "--workers", str(workers)],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
            return False

        assert eventually(answers, 120), (self.folder / "serve.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    @contextmanager
    def index(self) -> Iterator[SqliteIndex]:
        opened = open_index(self.settings)
        opened.open()
        try:
            yield opened
        finally:
            opened.close()

    def stored(self, study: str) -> dict[str, bytes]:
        """SOP Instance UID → content, of a study as the platform keeps it."""
        with self.index() as index:
            files = list(index.files(study))
        return {one.uid: (Path(self.settings.files) / one.path).read_bytes() for one in files}


class Work:
    """`teledossier worker` on a platform's folder."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.log = platform, platform.folder / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fhir_server", "worker"],
                cwd=self.platform.folder, env=self.platform.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(40)
            self.process = None


class Site:
    """`teledossier gateway` on a folder of its own."""

    def __init__(self, folder: Path, url: str, secret: str, **settings: str) -> None:
        self.folder, self.port = folder, unused_port()
        folder.mkdir(parents=True, exist_ok=True)
        secret_file = folder / "secret"
        secret_file.write_text(secret + "\n")
        secret_file.chmod(0o600)
        given = {
            "platform": url, "client": CLIENT, "secret_file": str(secret_file),
            "folder": str(folder / "var"), "port": str(self.port), "retry_seconds": "0.4",
            "health_seconds": "1", "reserve": "100000000", **settings,
        }  # fmt: skip
        self.environment = environment(
            **{f"TELEDOSSIER_GATEWAY_{name.upper()}": value for name, value in given.items() if value}
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fhir_server", "gateway"],
                cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"listening {self.port}\n", self.log.read_text()

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the gateway's commands."""
        return subprocess.run(
            [sys.executable, "-m", "fhir_server", "gateway", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    @contextmanager
    def outbox(self) -> Iterator[Outbox]:
        opened = Outbox(self.folder / "var" / "outbox.db")
        opened.open()
        try:
            yield opened
        finally:
            opened.close()

    def is_empty(self) -> bool:
        """Nothing waits."""
        with self.outbox() as outbox:
            return outbox.summary().waiting == 0

    def emptied(self, seconds: float = 90) -> bool:
        return eventually(self.is_empty, seconds)

    def state(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "var" / "state.json").read_text())
        return found

    def peak_memory(self) -> int:
        """Bytes of resident memory at its highest."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def send(self, paths: list[Path], calling: str = "CT1") -> None:
        """C-STORE by DCMTK's storescu."""
        command = [STORESCU, "-R", "-aet", calling, "127.0.0.1", str(self.port)]
        subprocess.run([*command, *map(str, paths)], check=True, timeout=120, capture_output=True)


class Wire:
    """A TCP line to a port that can be cut in the middle, made slow, or wrapped in TLS."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target, self._tls = target, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut_after = -1  # bytes towards the platform after which a connection is cut; -1: never
        self.cuts = 0
        self.flip_after = -1  # bytes towards the platform after which one bit is turned, once; -1: never
        self.rate = 0  # bytes per second towards the platform, of all connections together; 0: no limit
        self._shared = threading.Lock()
        self.mute = False  # nothing of what the platform answers arrives
        self.passed = 0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._stopped.set()
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            if not select.select([self._listener], [], [], 0.1)[0]:
                continue
            near, _address = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(near,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError), near:
            near.settimeout(10)
            inner = self._tls.wrap_socket(near, server_side=True) if self._tls else near
            with inner, socket.create_connection(("127.0.0.1", self._target)) as far:
                self._carry(inner, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        came = 0
        while not self._stopped.is_set():
            pending = isinstance(near, ssl.SSLSocket) and near.pending()
            ready = [near] if pending else select.select([near, far], [], [], 0.1)[0]
            for side in ready:
                data = side.recv(16384)
                if not data:
                    return
                if side is far:
                    if not self.mute:
                        near.sendall(data)
                    continue
                came += len(data)
                if 0 <= self.cut_after < came:
                    self.cuts += 1
                    return
                if 0 <= self.flip_after < came:
                    self.flip_after, middle = -1, len(data) // 2
                    data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
                far.sendall(data)
                self.passed += len(data)
                if rate := self.rate:
                    with self._shared:
                        time.sleep(len(data) / rate)
