"""Storage commitment through a gateway: the platform's promise, whenever it can be given. PS3.4 §J"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from dicomweb.dimse.reporting import SOP_CLASS, WELL_KNOWN
from tests.dicomweb.gateway.site.processes import Platform, Site
from tests.dicomweb.gateway.site.test_forwarding import Make, exam
from tests.dicomweb.test_query import Received
from tests.processes import eventually, unused_port

pytestmark = pytest.mark.peer("dcmtk")
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def modality_port() -> int:
    return unused_port()


@pytest.fixture
def modality(modality_port: int) -> Iterator[Received]:
    opened = Received(modality_port)
    yield opened
    opened.close()


def ask(gateway: Site, references: list[tuple[str, str]], calling: str = "SEES", kind: int = 1) -> int:
    """The status of N-ACTION."""
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = "2.25.4711", []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    node = AE(calling)
    node.add_requested_context(SOP_CLASS)
    association = node.associate("127.0.0.1", gateway.port, ae_title="PASSERELLE")
    assert association.is_established
    status, _reply = association.send_n_action(asked, kind, SOP_CLASS, WELL_KNOWN)
    association.release()
    return int(status.Status)


def test_answered_when_the_platform_has_it_and_not_before(
    platform: Platform, site: Make, modality: Received, modality_port: int, tmp_path: Path
) -> None:
    gateway = site(commitment=f"SEES=127.0.0.1:{modality_port}")
    study, paths = exam(tmp_path / "exam", 3000, 3)
    platform.stop()
    try:
        gateway.start()
        gateway.send(paths)
        asked = [(CT, f"{study}.1.1"), (MR, f"{study}.1.2"), (CT, f"{study}.1.99")]
        assert ask(gateway, asked) == 0x0000
        gateway.stop()
        gateway.start()  # the question outlives the gateway
        assert not modality.told.wait(3)
    finally:
        platform.start()
    assert modality.told.wait(120)
    ((kind, result),) = modality.results
    assert (kind, result.TransactionUID) == (2, "2.25.4711")
    assert [one.ReferencedSOPInstanceUID for one in result.ReferencedSOPSequence] == [f"{study}.1.1"]
    assert [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in result.FailedSOPSequence] == [
        (f"{study}.1.2", 0x0119), (f"{study}.1.99", 0x0112),
    ]  # fmt: skip
    with gateway.outbox() as outbox:
        assert eventually(lambda: outbox.asked() == [])


@pytest.mark.parametrize(
    ("calling", "kind", "references", "status"),
    [
        ("OTHER", 1, [(CT, "1.2")], 0x0124), ("SEES", 2, [(CT, "1.2")], 0x0123), ("SEES", 1, [], 0x0120),
        ("SEES", 1, [(CT, "not a uid")], 0x0120),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(
    site: Make, modality_port: int, calling: str, kind: int, references: Any, status: int
) -> None:
    gateway = site(commitment=f"SEES=127.0.0.1:{modality_port}")
    gateway.start()
    assert ask(gateway, references, calling, kind) == status
