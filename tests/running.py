"""The whole platform as its users start it, for tests that look at it from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.processes import unused_ports

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Running:
    """The started platform: its addresses, accounts, and the demo's process number."""

    pid: int
    url: str
    dpi: str
    dimse_port: int
    password: str
    secret: str
    log: Path

    def kill(self, name: str) -> None:
        """SIGKILL one of the platform's processes, found by its command among the demo's children."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().decode().split("\0")
                parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.pid and name in words:
                os.kill(int(path.name), signal.SIGKILL)
                return
        raise AssertionError(f"{name} does not run")

    def token(self, scope: str = "system/*.rs") -> str:
        """An access token of the demonstration's backend client."""
        answer = httpx.post(
            f"{self.url}/oauth/token",
            auth=("demo-backend", self.secret),
            data={"grant_type": "client_credentials", "scope": scope},
        )
        return str(answer.raise_for_status().json()["access_token"])

    def machine(self, scope: str = "system/*.cruds") -> httpx.Client:
        """The backend client."""
        headers = {"Authorization": f"Bearer {self.token(scope)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def person(self, who: str) -> httpx.Client:
        """A signed-in professional, with the cookie and origin of the portal's own pages."""
        form = {"identifiant": who, "mot_de_passe": self.password, "suite": "/dossiers"}
        answer = httpx.post(f"{self.url}/connexion", data=form, headers={"Origin": self.url})
        assert answer.status_code == 303, answer.status_code
        return httpx.Client(
            base_url=self.url, headers={"Origin": self.url}, cookies=answer.cookies, timeout=30
        )

    def get(self, path: str) -> httpx.Response:
        """As the demonstration's backend client."""
        return httpx.get(
            f"{self.url}/fhir/{path}", headers={"Authorization": f"Bearer {self.token()}"}, timeout=20
        ).raise_for_status()

    def wait_ready(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError("the platform did not come back")


@contextmanager
def demo(folder: Path) -> Iterator[Running]:
    """`teledossier demo` in an empty folder; stopped by Ctrl-C, after which nothing of it may be left."""
    web, dimse, dpi = unused_ports(3)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")},
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TELEDOSSIER_PORT": str(web),
        "TELEDOSSIER_DIMSE_PORT": str(dimse),
    }
    said = folder / "demo.log"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_server", "demo", "--dpi-port", str(dpi), "--no-exams"],
            cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while "Ctrl-C stops everything" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < until, f"not ready in 60 s:\n{said.read_text()}"
            time.sleep(0.1)
        text = said.read_text()
        password = re.search(r"password (\S+)", text)
        secret = re.search(r"secret ([^\s,]+)", text)
        assert password, text
        assert secret, text
        yield Running(
            process.pid,
            f"http://127.0.0.1:{web}",
            f"http://127.0.0.1:{dpi}",
            dimse,
            password[1],
            secret[1],
            said,
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert "Traceback" not in said.read_text(), said.read_text()
    for port in (web, dimse, dpi):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still served"
