"""C-STORE as SCU on a plain association: kept, opened anew, refused, cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from dicomweb.dimse.outgoing import Target
from dicomweb.peers.session import Denied, Incapable, PeerError, Sendable, Unreachable
from dicomweb.peers.storing import Storing
from dicomweb.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.dicomweb import making

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
JPEG = "1.2.840.10008.1.2.4.70"


@dataclass
class Pacs:
    """Takes CT uncompressed. `status` is its answer; `hangs_up`: instead of answering."""

    status: int = 0x0000
    hangs_up: bool = False
    opened: int = 0
    came: list[str] = field(default_factory=list)
    server: Any = None

    def on_store(self, event: Any) -> int:
        self.came.append(str(event.request.AffectedSOPInstanceUID))
        if self.hangs_up:
            event.assoc.abort()
        return self.status

    def on_opened(self, _event: Any) -> None:
        self.opened += 1

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.server.socket.getsockname()[1], "PACS", "US")


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    made, node = Pacs(), AE("PACS")
    node.add_supported_context(CT, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
    node.require_called_aet = True
    handlers = [(evt.EVT_C_STORE, made.on_store), (evt.EVT_ACCEPTED, made.on_opened)]
    made.server = node.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
    yield made
    made.server.shutdown()


@pytest.fixture
def storing(pacs: Pacs) -> Iterator[Storing]:
    made = Storing(lambda: pacs.target)
    yield made
    made.close()


@pytest.fixture
def one(tmp_path: Path) -> Sendable:
    return Sendable("2.25.1.1", CT, EXPLICIT_LITTLE, making.write(tmp_path / "one.dcm", making.dataset()))


def test_one_association_for_what_follows(pacs: Pacs, storing: Storing, one: Sendable) -> None:
    for n in range(5):
        assert storing.store(replace(one, instance=f"2.25.1.{n}")) == 0x0000
    assert (pacs.opened, pacs.came) == (1, [f"2.25.1.{n}" for n in range(5)])
    storing.close()
    assert not storing.is_open
    assert storing.store(one) == 0x0000
    assert pacs.opened == 2


def test_an_association_that_the_peer_ended_is_opened_anew(
    pacs: Pacs, storing: Storing, one: Sendable
) -> None:
    assert storing.store(one) == 0x0000
    for association in list(pacs.server.active_associations):
        association.abort()
        association.join(5)
    assert not storing.is_open
    assert storing.store(one) == 0x0000
    assert pacs.opened == 2


def test_the_answer_is_passed_on(pacs: Pacs, storing: Storing, one: Sendable) -> None:
    pacs.status = 0xA700
    assert storing.store(one) == 0xA700
    assert storing.is_open


@pytest.mark.parametrize(
    ("sop_class", "syntax", "slug"),
    [(CT, JPEG, "transfer-syntax-not-supported"), (MR, EXPLICIT_LITTLE, "sop-class-not-supported")],
)
def test_what_the_peer_does_not_take(
    sop_class: str, syntax: str, slug: str, pacs: Pacs, storing: Storing, one: Sendable
) -> None:
    for _ in range(2):
        with pytest.raises(Incapable) as error:
            storing.store(replace(one, sop_class=sop_class, transfer_syntax=syntax))
        assert error.value.slug == slug
    assert pacs.came == []
    assert storing.store(one) == 0x0000  # what it takes still goes


def test_a_class_beside_one_that_it_takes(pacs: Pacs, storing: Storing, one: Sendable) -> None:
    assert storing.store(one) == 0x0000
    with pytest.raises(Incapable) as error:
        storing.store(replace(one, sop_class=MR))
    assert error.value.slug == "transfer-syntax-not-supported"
    assert storing.store(one) == 0x0000
    assert pacs.opened == 2


def test_a_peer_that_hangs_up(pacs: Pacs, storing: Storing, one: Sendable) -> None:
    pacs.hangs_up = True
    with pytest.raises(Unreachable) as error:
        storing.store(one)
    assert error.value.slug == "no-answer"
    pacs.hangs_up = False
    assert storing.store(one) == 0x0000


@pytest.mark.parametrize(
    ("change", "kind", "slug"),
    [
        ({"ae_title": "OTHER"}, Denied, "association-rejected"),
        ({"port": 1}, Unreachable, "no-connection"),
        ({"host": "nowhere.invalid"}, Unreachable, "no-connection"),
    ],
)
def test_who_cannot_be_called(
    change: dict[str, Any], kind: type[PeerError], slug: str, pacs: Pacs, one: Sendable
) -> None:
    with pytest.raises(PeerError) as error:
        Storing(lambda: replace(pacs.target, **change)).store(one)
    assert (type(error.value), error.value.slug) == (kind, slug)


def test_a_file_that_is_gone_costs_nothing_but_itself(pacs: Pacs, storing: Storing, one: Sendable) -> None:
    with pytest.raises(Incapable) as error:
        storing.store(replace(one, path=one.path.with_name("gone")))
    assert error.value.slug == "not-sendable"
    assert storing.store(one) == 0x0000
