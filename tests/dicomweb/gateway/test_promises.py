"""Storage commitment asked through a gateway: the question as an errand, its result as it comes, and whom
it is believed from."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset

from dicomweb.gateway import committing
from dicomweb.gateway.bell import Bell
from dicomweb.gateway.errand import Errand
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.parts import Parts, State
from dicomweb.gateway.platform import Answer, Failing
from dicomweb.gateway.promises import GIVEN_UP, Promises
from dicomweb.images import Images
from dicomweb.peers.session import Answered, Denied, Unreachable
from dicomweb.peers.through import GatewaySession
from dicomweb.transfers.commitments import Commitments
from dicomweb.transfers.record import Order
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.fixtures import app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import PEER, Site, machine
from tests.dicomweb.gateway.site.test_errands import behind_at
from tests.dicomweb.gateway.test_errands import session

__all__ = ["app", "clock", "fhir", "region", "session", "site", "worker"]  # fixtures
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
TRANSACTION = "2.25.4711"


def now() -> int:
    return time.time_ns() // 1000


# -- at the platform
@pytest.fixture
def asked(images: Images) -> str:
    """A relay's question to Auch's PACS is open; the transfer's id."""
    transfer = images.queue.submit(Order("relay", PEER.id, "2.25.1", 1), now())
    Commitments(images.queue).ask(TRANSACTION, transfer.id, PEER.id, now())
    images.queue.pause(transfer.id, "awaiting-commitment", now() + 30_000_000)
    return transfer.id


async def told(site: Site, **change: Any) -> int:
    body = {"transaction": TRANSACTION, "kept": ["2.25.1.1"], "failed": {"2.25.1.2": 0x0112}, **change}
    return (await site.http.post("/gateway/commitments", json=body)).status_code


async def test_the_question_is_an_errand_of_few_words(session: GatewaySession, site: Site) -> None:
    wanted = {"2.25.1.1": CT, "2.25.1.2": MR, "2.25.1.3": CT}
    question = asyncio.create_task(
        asyncio.to_thread(session.commit, TRANSACTION, wanted, lambda _kept, _failed: None)
    )
    (errand,) = await site.poll(wait=5)
    assert (errand["kind"], errand["asked"]) == (
        "commit",
        {"transaction": TRANSACTION, "wanted": {CT: ["2.25.1.1", "2.25.1.3"], MR: ["2.25.1.2"]}},
    )
    assert await site.done(errand) == 204
    await question


async def test_a_result_lets_the_transfer_go_on(fhir: Fhir, images: Images, site: Site, asked: str) -> None:
    await fhir.update(behind_at("10.0.0.9:104/AUCH", PEER.id))
    assert images.queue.peers(now()) == []
    assert await told(site) == 204
    found = Commitments(images.queue).of(asked)
    assert found is not None
    assert (found.kept, found.failed) == (frozenset({"2.25.1.1"}), {"2.25.1.2": 0x0112})
    assert images.queue.peers(now()) == [PEER.id]
    assert await told(site) == 404  # answered already


async def test_a_result_that_comes_before_the_lane_waits_is_not_waited_for(
    images: Images, asked: str
) -> None:
    assert Commitments(images.queue).answer(TRANSACTION, ["2.25.1.1"], {}, now())
    images.queue.pause(asked, "awaiting-commitment", now() + 30_000_000)
    assert images.queue.peers(now()) == [PEER.id]


async def test_a_result_is_believed_from_the_gateway_of_who_was_asked_alone(
    fhir: Fhir, images: Images, app: As, site: Site, asked: str
) -> None:
    assert await told(site) == 404  # the directory has no such PACS
    await fhir.update(behind_at("10.0.0.9:104/AUCH", PEER.id))
    assert await told(site, transaction="2.25.4712") == 404
    app.access = machine("gw-castres")
    assert await told(site) == 404
    app.access = machine("gw-auch")
    found = Commitments(images.queue).of(asked)
    assert found is not None
    assert found.answered == 0
    assert await told(site) == 204


@pytest.mark.parametrize(
    "change",
    [
        {"transaction": 1}, {"transaction": "x"}, {"kept": {}}, {"kept": ["x"]}, {"kept": [[]]},
        {"failed": []},
        {"failed": {"x": 1}}, {"failed": {"1.2": "1"}}, {"failed": {"1.2": 65536}}, {"failed": {"1.2": True}},
        {"kept": ["1.2"] * 100_001},
    ],
)  # fmt: skip
async def test_what_is_no_result(change: dict[str, Any], site: Site, asked: str) -> None:
    assert await told(site, **change) == 400


# -- at the site
@dataclass
class Asking:
    """The PACS, as a session has it."""

    error: Exception | None = None
    result: tuple[list[str], dict[str, int]] | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def commit(self, transaction: str, wanted: Mapping[str, str], answered: Answered) -> None:
        self.asked.append((transaction, wanted))
        if self.error:
            raise self.error
        if self.result:
            answered(*self.result)


@dataclass
class Scripted:
    """Answers of the platform in order; then the loop is to stop."""

    stop: threading.Event
    answers: list[int | Exception]
    bodies: list[Any] = field(default_factory=list)

    def request(self, _method: str, path: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
        assert path == "/gateway/commitments"
        self.bodies.append(content)
        following = self.answers.pop(0)
        if not self.answers:
            self.stop.set()
        if isinstance(following, Exception):
            raise following
        return Answer(following, b"", {})


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.open()
    settings = SimpleNamespace(retry_seconds=0.01)
    yield cast(Parts, SimpleNamespace(outbox=outbox, bell=Bell(), state=State(), settings=settings))
    outbox.close()


ERRAND = Errand("e", 1, "commit", PEER, "line", {"transaction": TRANSACTION, "wanted": {CT: ["2.25.1.1"]}})


def passed_on(parts: Parts, *answers: int | Exception) -> list[Any]:
    stop = threading.Event()
    platform = Scripted(stop, list(answers))
    committing.run(cast(Parts, SimpleNamespace(**{**vars(parts), "platform": platform})), stop)
    return platform.bodies


def test_an_answer_on_the_same_association_goes_up_until_it_is_taken(parts: Parts) -> None:
    committing.commit(parts, ERRAND, Asking(result=(["2.25.1.1"], {})), None)  # type: ignore[arg-type]
    failing = Failing(Answer(503, b"", {}))
    bodies = passed_on(parts, Unreachable("no-connection"), failing, 204)
    assert len(bodies) == 3
    assert set(bodies) == {b'{"transaction":"2.25.4711","kept":["2.25.1.1"],"failed":{}}'}
    assert Promises(parts.outbox).answered() is None


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_result_that_the_platform_does_not_want_is_told_once(status: int, parts: Parts) -> None:
    committing.commit(parts, ERRAND, Asking(result=(["2.25.1.1"], {})), None)  # type: ignore[arg-type]
    assert len(passed_on(parts, status)) == 1
    assert Promises(parts.outbox).answered() is None


def test_a_result_that_comes_later_is_taken_from_who_was_asked_for_what_is_open(parts: Parts) -> None:
    asking = Asking()
    committing.commit(parts, ERRAND, asking, None)  # type: ignore[arg-type]
    assert asking.asked == [(TRANSACTION, {"2.25.1.1": CT})]
    (on_report,) = committing.handlers(parts).values()
    assert on_report(report("OTHER", TRANSACTION)) == (0x0110, None)
    assert on_report(report("AUCH", "2.25.4712")) == (0x0110, None)
    assert on_report(report("AUCH", TRANSACTION, 7)) == (0x0113, None)
    assert on_report(SimpleNamespace(event_type=1)) == (0x0110, None)
    assert Promises(parts.outbox).answered() is None
    assert on_report(report("AUCH ", TRANSACTION)) == (0x0000, None)
    assert on_report(report("AUCH", TRANSACTION)) == (0x0000, None)  # its answer was lost: told again
    assert passed_on(parts, 204) == [
        b'{"transaction":"2.25.4711","kept":["2.25.1.1"],"failed":{"2.25.1.2":274}}'
    ]
    assert on_report(report("AUCH", TRANSACTION)) == (0x0110, None)


def report(title: str, transaction: str, kind: int = 1) -> Any:
    told = Dataset()
    told.TransactionUID = transaction
    told.ReferencedSOPSequence, told.FailedSOPSequence = [Dataset()], [Dataset()]
    told.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1.1"
    told.FailedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1.2"
    told.FailedSOPSequence[0].FailureReason = 0x0112
    association = SimpleNamespace(requestor=SimpleNamespace(ae_title=title))
    return SimpleNamespace(event_type=kind, event_information=told, assoc=association)


def test_what_cannot_be_asked_is_not_open(parts: Parts) -> None:
    with pytest.raises(Denied):
        committing.commit(parts, ERRAND, SimpleNamespace(), None)  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        committing.commit(parts, ERRAND, Asking(Unreachable("cut-off")), None)  # type: ignore[arg-type]
    assert not Promises(parts.outbox).answer(TRANSACTION, "AUCH", [], {})


def test_a_question_is_open_for_two_weeks(parts: Parts) -> None:
    open_ones = Promises(parts.outbox)
    open_ones.ask("2.25.1", "AUCH", 1)
    open_ones.ask("2.25.2", "AUCH", GIVEN_UP + 2)
    assert not open_ones.answer("2.25.1", "AUCH", [], {})
    assert open_ones.answer("2.25.2", "AUCH", [], {})
