"""An answer is never taken by the association's own thread, however it is scheduled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]

from dicomweb.dimse.steady import Checkpoint, steady

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


WINDOW = threading.Event()  # the thread is past the event and has the flag still up


class Slow:
    """`_is_paused` as a thread sees it that loses the processor just before it takes the flag back."""

    def __get__(self, association: Association, _owner: type) -> bool:
        return bool(association.__dict__.get("paused"))

    def __set__(self, association: Association, value: bool) -> None:
        if not value and association.is_requestor and association.__dict__.get("paused"):
            WINDOW.set()
            time.sleep(0.03)
            WINDOW.clear()
        association.__dict__["paused"] = value


@pytest.fixture
def port() -> Iterator[int]:
    node = AE("ECHO")
    node.add_supported_context(Verification)
    server = node.start_server(("127.0.0.1", 0), block=False)
    yield int(server.server_address[1])
    server.shutdown()


def answered(port: int, steadily: bool) -> int:
    """How many of five C-ECHOs are answered within half a second."""
    node = AE("US")
    node.add_requested_context(Verification)
    node.dimse_timeout = 0.5
    handlers = [(evt.EVT_CONN_OPEN, steady)] if steadily else []
    found = 0
    for _ in range(5):
        association = node.associate("127.0.0.1", port, evt_handlers=handlers)
        assert association.is_established
        assert WINDOW.wait(5)
        found += bool(association.send_c_echo())
        if association.is_established:
            association.release()
    return found


def test_no_answer_is_lost_to_the_other_reader(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads lose the processor at the wrong moment, as they do on a busy machine."""
    at_once = DIMSEServiceProvider.get_msg

    def late(provider: DIMSEServiceProvider, block: bool = False) -> object:
        if block and provider.assoc.is_requestor:
            time.sleep(0.06)
        return at_once(provider, block)

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", late)
    monkeypatch.setattr(Association, "_is_paused", Slow(), raising=False)
    assert answered(port, steadily=False) < 5  # the fault is there to be mended
    assert answered(port, steadily=True) == 5


def test_clear_returns_once_the_thread_is_held() -> None:
    class Thread(threading.Thread):
        _kill = False

    inside, leave, cleared = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        checkpoint.wait()
        inside.set()
        leave.wait(5)
        checkpoint.wait()

    thread = Thread(target=run)
    checkpoint = Checkpoint(thread)
    thread.start()
    assert inside.wait(5)

    def ask() -> None:
        checkpoint.clear()
        cleared.set()

    threading.Thread(target=ask).start()
    assert not cleared.wait(0.2)
    leave.set()
    assert cleared.wait(5)
    checkpoint.set()
    thread.join(5)
    checkpoint.clear()  # over: nobody to wait for
    assert not checkpoint.is_set()
