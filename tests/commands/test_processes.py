"""The supervisor: what dies is started again, what is stopped is gone, and a killed parent leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from fhir_server.commands.processes import Program, Supervisor
from tests.running import ROOT

LASTING = (
    "import pathlib, os, time, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
)


def _written(path: Path) -> int:
    text = path.read_text() if path.exists() else ""
    return int(text) if text else 0


async def _pid(path: Path, other_than: int = 0) -> int:
    for _ in range(200):
        if _written(path) not in (0, other_than):
            return _written(path)
        await asyncio.sleep(0.05)
    raise AssertionError("the program did not start")


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_what_dies_is_started_again_and_what_is_stopped_is_gone(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(Program("one", ("-c", LASTING, str(tmp_path / "one"))))
    first = await _pid(tmp_path / "one")
    os.kill(first, signal.SIGKILL)
    second = await _pid(tmp_path / "one", first)
    assert said == ["one ended with code -9; started again"]
    await supervisor.stop()
    assert not _alive(second)


async def test_what_ends_by_itself_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(Program("short", ("-c", "raise SystemExit(3)"), lasting=False))
    for _ in range(200):
        if said:
            break
        await asyncio.sleep(0.05)
    assert said == ["short ended with code 3"]
    await supervisor.stop()


def test_a_killed_parent_takes_its_programs_along(tmp_path: Path) -> None:
    parent = f"""
import asyncio
from fhir_server.commands.processes import Program, Supervisor
async def main():
    Supervisor(print).start(Program("child", ("-c", {LASTING!r}, {str(tmp_path / "child")!r})))
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    try:
        child = asyncio.run(_pid(tmp_path / "child"))
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 5
    while _alive(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pids: list[int], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while any(map(_alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_web_tier_leaves_no_worker_on_its_port(tmp_path: Path, free_port: int) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")}
    call = [sys.executable, "-m", "fhir_server", "serve", "--workers", "2", "--port", str(free_port)]
    with subprocess.Popen(call, cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT)}) as parent:
        try:
            for _ in range(300):
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", free_port), 1) as line,
                ):
                    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    line.settimeout(5)
                    if b" 200 " in line.recv(100):
                        break
                time.sleep(0.1)
            workers = _children(parent.pid)
            assert len(workers) >= 2
        finally:
            parent.kill()
    assert _gone(workers)
    with socket.create_server(("127.0.0.1", free_port)):
        pass  # the port is free again


def test_a_killed_process_leaves_no_decoder() -> None:
    code = """
import os, signal
from dicomweb.decoding import Decoder
if __name__ == "__main__":
    decoder = Decoder(1)
    decoder.warm()
    print(*(decoder._pool._processes), flush=True)
    input()
"""
    call = [sys.executable, "-c", code]
    with subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _alive(child)
        time.sleep(1.5)  # it has begun to wait for work
        parent.kill()
    assert _gone([child])
