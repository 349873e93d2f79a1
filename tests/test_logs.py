"""Log lines are one line each and name no patient, whatever an exception says."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from fhir_server.logs import Lines, log_to_stderr
from fhir_server.settings import Settings
from tests.running import ROOT


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What our formatter makes of the root logger's records."""
    made, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(made)
    handler.setFormatter(Lines("%(levelname)s %(message)s"))
    kept, root.handlers[:] = root.handlers[:], [handler]
    yield made
    root.handlers[:] = kept


def converted() -> None:
    int("ZZPATIENTZZ")


def caused() -> None:
    try:
        converted()
    except ValueError as error:
        raise KeyError("ZZPATIENTZZ") from error


def nested(depth: int = 300) -> None:
    if depth:
        nested(depth - 1)
    raise RecursionError("ZZPATIENTZZ")


@pytest.mark.parametrize(
    ("fail", "kinds"),
    [(converted, ["ValueError"]), (caused, ["KeyError", "ValueError"]), (nested, ["RecursionError"])],
)
def test_of_an_exception_kind_and_places(
    written: io.StringIO, fail: Callable[[], None], kinds: list[str]
) -> None:
    try:
        fail()
    except Exception:
        logging.getLogger("dicomweb").exception("it\nfailed")
    line = written.getvalue()
    assert line.startswith("ERROR it failed ")
    assert line.count("\n") == 1
    assert "ZZPATIENTZZ" not in line
    assert [kind for kind in kinds if f"{kind} at " in line] == kinds
    assert "tests/test_logs.py:" in line
    assert len(line) < 2000


def test_what_ends_a_thread_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    root, hook = logging.getLogger(), threading.excepthook
    kept = root.handlers[:]
    try:
        log_to_stderr(Settings())
        thread = threading.Thread(target=converted)
        thread.start()
        thread.join()
    finally:
        root.handlers[:], threading.excepthook = kept, hook
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "a thread ended: ValueError at" in told
    assert "ZZPATIENTZZ" not in told


def test_a_command_that_fails_unforeseen_says_kind_and_place() -> None:
    code = (
        "import fhir_server.__main__ as m, sys\n"
        "def fail(**_): int('ZZPATIENTZZ')\n"
        "m.cli = fail; sys.argv[1:] = []; m.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("teledossier: this should not happen: ValueError at ")
    assert "ZZPATIENTZZ" not in done.stderr
