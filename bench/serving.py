"""What benchmarks of a running server share: starting it, waiting for it, and a client that costs little."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    folder: Path, command: Sequence[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fhir_server", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TELEDOSSIER_LOG_LEVEL": "warning", **environment},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def wait(port: int) -> None:
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.01)


def megabytes(pid: int) -> float:
    for line in (Path("/proc") / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Client:
    """A keep-alive HTTP/1.1 connection that costs little, so that the server is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> int:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/fhir+json\r\n"
        if body:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        lowered = answer.lower()
        at = lowered.find(b"content-length:") + 15
        if at >= 15:  # a 204 has none
            await self._reader.readexactly(int(lowered[at : lowered.index(b"\r\n", at)]))
        return int(answer.split(b" ", 2)[1])


@asynccontextmanager
async def connected(port: int, clients: int) -> AsyncIterator[list[Client]]:
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    yield [Client(*pair) for pair in pairs]
    for _, writer in pairs:
        writer.close()
