"""What modalities say of their steps, told on to the RIS of their site: its own process, faults, kills."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from dicomweb import performed
from dicomweb.images import Images
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.index.steps import StepMessage
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Incapable
from dicomweb.performed import NotTaken
from dicomweb.steps import teller
from dicomweb.steps.figures import StepFigures
from dicomweb.steps.forwarding import Forwarding
from dicomweb.steps.taking import Sayer, take
from dicomweb.steps.teller import Teller
from fhir_server import opening
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from tests.dicomweb import steps
from tests.dicomweb.certificates import Authority
from tests.dicomweb.node import ROOT, caller
from tests.dicomweb.ris import RisProcess, running
from tests.dicomweb.test_worker import Clock, clock, fhir  # noqa: F401 - fixtures
from tests.processes import eventually

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
Faults = dict[str, list[dict[str, Any]]]
CT1 = Sayer("CT1", "ch-auch")
UID = "2.25.7"
REST = {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest"}
DAY = 24 * 3600 * 1_000_000
WHOLE = [("create", UID, "IN PROGRESS"), ("set", UID, ""), ("set", UID, "COMPLETED")]
CREATED, ENDED = WHOLE[0], WHOLE[2]


def endpoint(port: int, **parts: Any) -> dict[str, Any]:
    at, organisation = f"127.0.0.1:{port}", parts.pop("organisation", "ch-auch")
    made = caller("RIS", at, organisation, **{"use": "steps", **parts})
    payload = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type",
                           "code": "any"}]}  # fmt: skip
    return {**_valued(made), "payloadType": [payload]}


def _valued(resource: dict[str, Any]) -> dict[str, Any]:
    for extension in resource["extension"]:
        for part in extension["extension"]:
            value = part.pop("value", None)
            kinds = {"via": "Reference", "calling-ae": "String"}
            part["value" + kinds.get(part["url"], "Code")] = value
    return resource


def body(made: Dataset, syntax: str = EXPLICIT) -> bytes:
    return encode(made, syntax == IMPLICIT, True) or b""


class Modality:
    """Says steps as the node takes them."""

    def __init__(self, images: Images, now: Clock) -> None:
        self.index, self.now = images.index, now

    def say(self, kind: Any, made: Dataset, uid: str = UID, by: Sayer = CT1, syntax: str = EXPLICIT) -> None:
        take(self.index, StepMessage(uid, kind, syntax, body(made, syntax), self.now()), by)

    def whole(self, uid: str = UID) -> None:
        """A step from its beginning to its end."""
        self.say("create", steps.begun(), uid)
        half = Dataset()
        half.PerformedSeriesSequence = [steps.series("2.25.1.1")]
        self.say("set", half, uid)
        self.say("set", steps.ended(steps.series("2.25.1.1", "2.25.1.2")), uid)


@dataclass(frozen=True)
class Here:
    """CH Auch with its modality, and its RIS as a process of its own, in the directory."""

    images: Images
    fhir: Fhir
    clock: Clock
    site: RisProcess

    @property
    def modality(self) -> Modality:
        return Modality(self.images, self.clock)

    @cached_property
    def forwarding(self) -> Forwarding:
        return Forwarding(self.images, self.fhir, self.clock)

    async def rounds(self, count: int = 1) -> None:
        for _round in range(count):
            await self.forwarding.step()
            self.forwarding.join()

    def open_ones(self) -> list[tuple[str, str, str]]:
        return [(one.said.kind, one.state, one.reason) for one in self.images.index.tellings.open("ris")]

    async def teller(self) -> Teller:
        peer = await self.forwarding._peer("ris")
        assert peer is not None
        return self.forwarding.teller(peer)

    def rows(self, sql: str) -> list[Any]:
        index = self.images.index
        assert isinstance(index, SqliteIndex)
        return index._all(sql)


@pytest.fixture
async def here(
    images: Images, fhir: Fhir, clock: Clock, tmp_path: Path, free_port: int  # noqa: F811
) -> AsyncIterator[Here]:  # fmt: skip
    await fhir.update({"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"})
    await fhir.update(endpoint(free_port))
    with running(free_port, tmp_path / "ris") as ris:
        yield Here(images, fhir, clock, ris)


async def test_a_step_is_told_as_it_was_said(here: Here) -> None:
    here.modality.whole()
    await here.rounds()
    assert here.site.told() == WHOLE
    begun, _set, ended = here.site.took()
    assert begun["body"] == body(steps.begun()).hex()
    assert ended["body"] == body(steps.ended(steps.series("2.25.1.1", "2.25.1.2"))).hex()
    assert {(one["syntax"], one["calling"]) for one in here.site.took()} == {(EXPLICIT, "TELEDOSSIER")}
    assert here.images.index.tellings.backlogs() == {}
    left = here.rows("SELECT kind, length(body) FROM step_message ORDER BY n")
    assert left == [("create", 0), ("set", 0), ("set", 0)]  # nothing of the patient stays
    await here.rounds()
    assert len(here.site.took()) == 3


async def test_each_in_the_syntax_it_came_in_and_under_the_name_the_site_wants(here: Here) -> None:
    await here.fhir.update(endpoint(here.site.port, calling_ae="MODALITES"))
    begun = steps.begun(PatientName="ÉTÉ^Zoë")
    here.modality.say("create", begun, syntax=IMPLICIT)
    await here.rounds()
    (one,) = here.site.took()
    assert (one["syntax"], one["calling"]) == (IMPLICIT, "MODALITES")
    assert one["body"] == body(begun, IMPLICIT).hex()
    assert one["dataset"]["00100010"]["Value"] == [{"Alphabetic": "ÉTÉ^Zoë"}]


@pytest.mark.parametrize(
    ("change", "by", "told"),
    [({}, CT1, 1), ({"use": ["query", "relay"]}, CT1, 0), ({"organisation": "ch-autre"}, CT1, 0),
     ({}, Sayer("CT1", "", True), 0), ({}, Sayer("RIS", "ch-auch"), 0)],
    ids=["its RIS", "no use for it", "another site's", "of no site", "it said so itself"],
)  # fmt: skip
async def test_who_is_told(change: dict[str, Any], by: Sayer, told: int, here: Here) -> None:
    await here.fhir.update({"resourceType": "Organization", "id": "ch-autre", "name": "CH Autre"})
    await here.fhir.update(endpoint(here.site.port, **change))
    here.modality.say("create", steps.begun(), by=by)
    here.modality.say("set", steps.ended(steps.series("2.25.1.1")), by=by)
    await here.rounds()
    assert here.site.told() == [CREATED, ENDED][: 2 * told]
    assert here.rows("SELECT count(*) FROM step_message") == [(2 * told,)]


async def test_a_system_that_comes_later_hears_nothing_of_steps_it_does_not_know(here: Here) -> None:
    await here.fhir.update(endpoint(here.site.port, use="query"))
    here.modality.say("create", steps.begun())
    await here.rounds()
    await here.fhir.update(endpoint(here.site.port))
    here.modality.say("set", steps.ended(steps.series("2.25.1.1")))
    here.modality.say("create", steps.begun(), "2.25.8")
    await here.rounds()
    assert here.site.told() == [("create", "2.25.8", "IN PROGRESS")]


REFUSALS: list[tuple[str, Faults, list[Any], list[tuple[str, str, str]]]] = [
    ("processing failure", {"create": [{"status": 0x0110}]}, [],
     [("create", "refused", "0x0110"), ("set", "refused", "not-created"), ("set", "refused", "not-created")]),
    ("missing attribute", {"set": [{"status": 0x0120}]}, [CREATED, ENDED], [("set", "refused", "0x0120")]),
    ("it has it, and has it not", {"create": [{"status": 0x0111}]}, [],
     [("set", "refused", "0x0112"), ("set", "refused", "0x0112")]),
    ("a warning", {"set": [{"status": 0x0116}, {"status": 0x0107}]}, [CREATED], []),
]  # fmt: skip


@pytest.mark.parametrize(("faults", "told", "kept"), [case[1:] for case in REFUSALS],
                         ids=[case[0] for case in REFUSALS])  # fmt: skip
async def test_what_the_ris_answers(
    faults: Faults, told: list[Any], kept: list[tuple[str, str, str]], here: Here
) -> None:
    here.site.fail(**faults)
    here.modality.whole()
    await here.rounds(2)
    assert (here.site.told(), here.open_ones()) == (told, kept)
    here.clock.at += DAY
    await here.rounds()
    assert (here.site.told(), here.open_ones()) == (told, kept)  # nothing is refused again


async def test_what_was_refused_is_told_again_in_its_order_when_somebody_wants_it(here: Here) -> None:
    here.site.fail(create=[{"status": 0x0110}])
    here.modality.whole()
    await here.rounds()
    assert here.images.index.tellings.retry("ris") == 3
    await here.rounds()
    assert (here.site.told(), here.open_ones()) == (WHOLE, [])


async def test_an_end_that_the_ris_heard_from_elsewhere_is_shown(here: Here) -> None:
    here.modality.say("create", steps.begun())
    await here.rounds()
    here.site.kill()
    state = {"00400252": {"vr": "CS", "Value": ["DISCONTINUED"]}}
    with (here.site.folder / "journal").open("a") as journal:
        journal.write(json.dumps({**here.site.took()[0], "kind": "set", "dataset": state}) + "\n")
    here.site.start()
    here.modality.say("set", steps.ended(steps.series("2.25.1.1")))
    await here.rounds()
    assert here.open_ones() == [("set", "refused", "0x0110 (0xa710)")]


BREAKS: list[Faults] = [
    {kind: [fault] * times}
    for kind in ("create", "set")
    for fault in ({"close": "before"}, {"close": "after"}, {"status": 0x0213}, {"status": 0xA700})
    for times in (1, 3)
]


@pytest.mark.parametrize("faults", BREAKS, ids=str)
async def test_what_breaks_is_told_again_and_once(faults: Faults, here: Here) -> None:
    """A creation and an end that it took without answering count as told when it says that it has them."""
    here.site.fail(**faults)
    here.modality.say("create", steps.begun())
    here.modality.say("set", steps.ended(steps.series("2.25.1.1")))
    await here.rounds()
    assert [one[1] for one in here.open_ones()] == ["waiting"] * (2 if "create" in faults else 1)
    for _try in range(4):
        here.clock.at += 20_000_000
        await here.rounds()
    assert (here.site.told(), here.open_ones()) == ([CREATED, ENDED], [])


async def test_a_ris_that_is_away_hears_all_of_it_when_it_is_back(here: Here) -> None:
    here.site.kill()
    uids = [f"2.25.7{number}" for number in range(5)]
    for uid in uids:
        here.modality.whole(uid)
    for _try in range(12):
        here.clock.at += 900_000_000
        await here.rounds()
    waiting = here.images.index.tellings.backlogs()["ris"]
    assert (waiting.waiting, waiting.refused) == (15, 0)
    here.site.start()
    here.clock.at += 900_000_000
    await here.rounds()
    assert here.site.told() == [(kind, uid, state) for uid in uids for kind, _uid, state in WHOLE]
    assert here.images.index.tellings.backlogs() == {}


async def test_one_who_is_switched_off_is_not_called_and_is_given_up_after_long(here: Here) -> None:
    await here.fhir.update({**endpoint(here.site.port), "status": "off"})
    here.modality.say("create", steps.begun())
    await here.rounds()
    assert (here.site.told(), here.open_ones()) == ([], [("create", "waiting", "peer-not-active")])
    here.clock.at += teller.GIVEN_UP + 1_000_000
    await here.rounds()
    assert here.open_ones() == [("create", "refused", "given-up: peer-not-active")]
    await here.fhir.update(endpoint(here.site.port))
    assert here.images.index.tellings.retry("ris") == 1
    await here.rounds()
    assert (here.site.told(), here.open_ones()) == ([CREATED], [])


async def test_one_who_leaves_the_directory(here: Here) -> None:
    here.modality.say("create", steps.begun())
    await here.forwarding.address()
    other = {"connectionType": REST, "address": "https://ris.example/fhir"}
    await here.fhir.update({**endpoint(here.site.port), **other})
    await here.rounds()
    assert here.open_ones() == [("create", "waiting", "no-such-peer")]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


class Mortal:
    """Tellings of which the process dies at one of its calls: before it is done, or right after."""

    def __init__(self, tellings: Any, at: int) -> None:
        self.tellings, self.at, self.calls = tellings, at, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        done: Callable[..., Any] = getattr(self.tellings, name)

        def call(*given: Any) -> Any:
            self._maybe_die()
            result = done(*given)
            self._maybe_die()
            return result

        return call

    def _maybe_die(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Killed


@pytest.mark.parametrize(
    ("lost", "points"),
    [({}, 21), ({"create": [{"close": "after"}]}, 9), ({"set": [{}, {"close": "after"}]}, 21)],
    ids=["every answer comes", "the first answer is lost", "the last answer is lost"],
)
async def test_a_teller_killed_at_any_point(lost: Faults, points: int, here: Here) -> None:
    """Each point of a step's three messages: nothing lost, nothing told so that the RIS would differ."""
    at, died = 0, True
    while died:
        at += 1
        uid = f"2.25.9.{at}"
        here.modality.whole(uid)
        await here.forwarding.address()
        here.site.fail(**lost)
        dying = await here.teller()
        dying.tellings = Mortal(here.images.index.tellings, at)
        try:
            dying.run()
            died = False
        except Killed:
            pass
        here.site.fail()
        for _try in range(3):
            here.clock.at += 60_000_000
            await here.rounds()
        told = [one for one in here.site.told() if one[1] == uid]
        assert list(dict.fromkeys(told)) == [(kind, uid, state) for kind, _uid, state in WHOLE], at
        assert told.count(("create", uid, "IN PROGRESS")) == told.count(("set", uid, "COMPLETED")) == 1
        assert here.open_ones() == []
    assert at == points


async def test_two_processes_tell_one_after_the_other(here: Here) -> None:
    """The peer's lock: whoever has it not leaves it be."""
    here.site.fail(create=[{"wait": 0.5}])
    here.modality.whole()
    await here.forwarding.address()
    two = [threading.Thread(target=(await here.teller()).run) for _ in range(2)]
    for thread in two:
        thread.start()
    for thread in two:
        thread.join(20)
    assert here.site.told() == WHOLE


def test_what_is_refused_is_not_told_on(here: Here) -> None:
    here.modality.say("create", steps.begun())
    wrong = steps.ended(steps.series("2.25.1.1"), state="DONE")
    for kind, made in (("create", steps.begun()), ("set", wrong)):
        with pytest.raises(NotTaken):
            here.modality.say(kind, made)
    assert [said.kind for _number, said in here.images.index.tellings.fresh()] == ["create"]


@pytest.mark.parametrize("content", [b"\x10\x00\x10\x00PN\xff\xff", b"", b"\xff" * 500])
def test_a_body_that_is_none(content: bytes, images: Images) -> None:
    with pytest.raises(NotTaken) as refused:
        take(images.index, StepMessage(UID, "create", EXPLICIT, content, 1), CT1)
    assert refused.value.status in (performed.PROCESSING_FAILURE, performed.MISSING_ATTRIBUTE)
    assert images.index.tellings.fresh() == []


def test_a_step_is_told_in_no_syntax_that_unfolds(tmp_path: Path) -> None:
    """Whoever held the platform could send one to a gateway."""
    peer = Peer("ris", "RIS", "Organization/ch-auch", "dimse", "127.0.0.1", 1, "RIS")
    session = DimseSession(peer, Ours("TELEDOSSIER", Credentials(tmp_path)))
    for syntax in ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "2.25.1"):
        with pytest.raises(Incapable):
            session.perform(StepMessage(UID, "create", syntax, b"x", 1), lambda: None)


async def test_figures(here: Here) -> None:
    here.site.fail(create=[{"status": 0x0110}])
    here.modality.whole()
    await here.rounds()
    registry = CollectorRegistry()
    registry.register(StepFigures(here.images.index))

    def figures() -> dict[str, float]:
        lines = generate_latest(registry).decode().splitlines()
        return {one.split()[0]: float(one.split()[1]) for one in lines if not one.startswith("#")}

    ris = {
        name: f'teledossier_steps_{name}{{system="ris"}}' for name in ("waiting", "oldest_seconds", "refused")
    }
    assert figures() == {ris["waiting"]: 0, ris["oldest_seconds"]: 0, ris["refused"]: 3}
    here.images.index.tellings.retry("ris")
    found = figures()
    assert (found[ris["waiting"]], found[ris["refused"]]) == (3, 0)
    assert found[ris["oldest_seconds"]] > 1000  # said in 2024
    await here.rounds()
    assert figures() == {}


async def test_old_rows_go(here: Here) -> None:
    here.site.fail(create=[{}, {"status": 0x0110}])
    here.modality.say("create", steps.begun())
    here.modality.say("create", steps.begun(), "2.25.8")
    await here.rounds()
    assert here.open_ones() == [("create", "refused", "0x0110")]
    here.clock.at += 91 * DAY
    await here.rounds()
    assert here.rows("SELECT n FROM step_message UNION ALL SELECT message FROM step_telling") == []


def test_order_is_kept_within_a_step_and_not_across(images: Images, clock: Clock) -> None:  # noqa: F811
    tellings, modality = images.index.tellings, Modality(images, clock)
    modality.whole()
    modality.say("create", steps.begun(), "2.25.8")
    for number, _said in tellings.fresh():
        tellings.address(number, ["ris", "two"])
    first = tellings.next("ris", 10)
    assert first is not None
    assert (first.said.kind, first.said.step) == ("create", UID)
    tellings.later(first, "no-answer", 50)
    assert tellings.next("ris", 10) is None  # whatever waits for this peer waits
    assert tellings.due(10) == ["two"]
    tellings.refuse(first, "0x0110")
    found = tellings.next("ris", 50)
    assert found is not None
    assert (found.said.step, found.said.body) == ("2.25.8", body(steps.begun()))


@pytest.mark.parametrize("trusted", [True, False])
async def test_over_tls_with_certificates_on_both_sides(trusted: bool, here: Here, tmp_path: Path) -> None:
    """A RIS that somebody else vouches for hears nothing."""
    authority, other = Authority(tmp_path / "authority"), Authority(tmp_path / "other")
    pair, ours = (authority if trusted else other).signs("ris"), authority.signs("platform")
    keys = tmp_path / "keys"
    (keys / "ris").mkdir(parents=True)
    shutil.copy(authority.certificate, keys / "ris" / "ca.pem")
    (keys / "ris" / "client.pem").write_bytes(ours.certificate.read_bytes() + ours.key.read_bytes())
    here.site.kill()
    tls = (pair.certificate, pair.key, authority.certificate)
    with running(here.site.port, tmp_path / "ris", *tls):
        secure = f"dicoms://127.0.0.1:{here.site.port}/RIS"
        await here.fhir.update({**endpoint(here.site.port), "address": secure})
        here.modality.whole()
        forwarding = Forwarding(replace(here.images, peer_keys=keys), here.fhir, here.clock)
        await forwarding.step()
        await asyncio.to_thread(forwarding.join)
        assert here.site.told() == (WHOLE if trusted else [])
    if not trusted:
        assert next(one[1:] for one in here.open_ones()) == ("waiting", "no-connection")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"wait": 4}, {"late": 4}], ids=["before it took it", "after"])
@pytest.mark.parametrize("kind", ["create", "set"])
def test_a_worker_killed_while_the_ris_thinks(
    kind: str, fault: dict[str, Any], images: Images, tmp_path: Path, free_port: int
) -> None:
    """The process itself, by SIGKILL; the one that follows tells the rest, and nothing twice."""
    asyncio.run(_directory(images.settings, free_port))
    modality = Modality(images, Clock())
    modality.now = lambda: time.time_ns() // 1000  # type: ignore[assignment]
    with running(free_port, tmp_path / "ris") as ris:
        ris.fail(**{kind: [fault]})
        first = _worker(images.settings, tmp_path)
        try:
            modality.say("create", steps.begun())
            modality.say("set", steps.ended(steps.series("2.25.1.1")))
            assert eventually(lambda: json.loads((ris.folder / "faults").read_text()) == {kind: []}, 40)
            time.sleep(0.3)  # the RIS has it in hand
        finally:
            first.kill()
            first.wait(10)
        second = _worker(images.settings, tmp_path)
        try:
            assert eventually(lambda: images.index.tellings.backlogs() == {}, 40)
        finally:
            second.kill()
            second.wait(10)
        time.sleep(4 if "wait" in fault else 0)  # what the RIS still had in hand
        assert ris.told() == [CREATED, ENDED]


def _worker(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    """`teledossier worker`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TELEDOSSIER_STORE": settings.store,
                   "TELEDOSSIER_FILES": settings.files}  # fmt: skip
    with (folder / "worker.log").open("ab") as log:
        command = [sys.executable, "-m", "fhir_server", "worker"]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


async def _directory(settings: Settings, port: int) -> None:
    async with opening.opened(settings) as opened:
        await opened.fhir.update({"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"})
        await opened.fhir.update(endpoint(port))


async def test_what_a_system_was_not_told_from_the_command_line(here: Here, tmp_path: Path) -> None:
    here.site.fail(create=[{"status": 0x0110}])
    here.modality.whole()
    await here.rounds()
    settings = here.images.settings
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TELEDOSSIER_STORE": settings.store,
                   "TELEDOSSIER_FILES": settings.files}  # fmt: skip

    def run(*words: str) -> tuple[int, list[list[str]]]:
        command = [sys.executable, "-m", "fhir_server", "pacs", "steps", "ris", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, [line.split("\t")[1:] for line in done.stdout.splitlines()]

    after = [UID, "set", "refused", "not-created"]
    assert run() == (1, [[UID, "create", "refused", "0x0110"], after, after])
    waiting = [[UID, kind, "waiting"] for kind in ("create", "set", "set")]
    assert run("--retry") == (0, [[], *waiting])
    await here.rounds()
    assert (run(), here.site.told()) == ((0, []), WHOLE)
