"""Performed procedure steps of a site behind an outbound line: from its modality to the platform, and from
there to its RIS, by real processes that are killed on the way."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomweb.dimse.steady import steady
from dicomweb.gateway.steps import Steps
from fhir_server import opening
from smart_launch.authorization import clients
from tests.dicomweb import steps
from tests.dicomweb.gateway.site.processes import CLIENT, Platform, Site, Wire
from tests.dicomweb.gateway.site.test_errands import working
from tests.dicomweb.gateway.test_registry import resource
from tests.dicomweb.ris import RisProcess, running
from tests.dicomweb.test_step_forwarding import WHOLE, endpoint
from tests.processes import eventually, unused_port

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass
class Region:
    platform: Platform
    wire: Wire
    site: Site
    ris: RisProcess

    def modality(self) -> Any:
        """An association of CT1 with its gateway."""
        node = AE("CT1")
        node.add_requested_context(steps.SOP_CLASS)
        node.add_requested_context(steps.RETRIEVE)
        handlers = [(evt.EVT_CONN_OPEN, steady)]
        found = node.associate("127.0.0.1", self.site.port, ae_title="PASSERELLE", evt_handlers=handlers)
        assert found.is_established
        return found

    def states(self, *uids: str) -> list[str]:
        """Of steps as the platform has them."""
        with self.platform.index() as index:
            found = [index.performed(uid) for uid in uids]
        return [one.state if one else "" for one in found]

    def untold(self) -> int:
        with self.platform.index() as index:
            return len(index.tellings.fresh()) + sum(
                one.waiting for one in index.tellings.backlogs().values()
            )

    def told(self, uid: str) -> list[tuple[str, str]]:
        return [(kind, state) for kind, step, state in self.ris.told() if step == uid]


async def _directory(platform: Platform, ris: int) -> str:
    """The site, its gateway and its RIS behind it; the gateway's secret."""
    via = {"reference": "Endpoint/gw-auch"}
    async with opening.opened(platform.settings) as opened:
        await opened.fhir.update({"resourceType": "Organization", "id": "ch-auch", "name": "CH Auch"})
        await opened.fhir.update(resource("gw-auch", CLIENT))
        await opened.fhir.update(endpoint(ris, via=via))
        _client, secret = await clients.add(opened.engine.store, CLIENT, scope="system/ImagingStudy.c")
    return secret or ""


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    folder, at = tmp_path_factory.mktemp("region"), unused_port()
    platform = Platform(folder / "platform")
    with ExitStack() as stack:
        ris = stack.enter_context(running(at, folder / "ris"))
        secret = asyncio.run(_directory(platform, at))
        stack.callback(platform.stop)
        platform.start()
        stack.enter_context(working(platform))
        wire = Wire(platform.port)
        stack.callback(wire.close)
        site = Site(folder / "site", f"http://127.0.0.1:{wire.port}", secret, peers=f"RIS=127.0.0.1:{at}")
        stack.callback(site.stop)
        site.start()
        yield Region(platform, wire, site, ris)
    assert "Traceback" not in site.log.read_text()


def whole(association: Any, uid: str) -> list[int]:
    """The statuses of a step from its beginning to its end."""
    half = Dataset()
    half.PerformedSeriesSequence = [steps.series("2.25.1.1")]
    ended = steps.ended(steps.series("2.25.1.1", "2.25.1.2"))
    answers = [association.send_n_create(steps.begun(), steps.SOP_CLASS, uid)[0]]
    answers += [association.send_n_set(one, steps.SOP_CLASS, uid)[0] for one in (half, ended)]
    return [int(one.Status) for one in answers]


EVERY = [(kind, state) for kind, _uid, state in WHOLE]


def test_from_the_modality_to_the_ris_and_back_through_one_line(region: Region) -> None:
    association = region.modality()
    assert whole(association, "2.25.71") == [0x0000] * 3
    assert association.send_n_create(steps.begun(), steps.SOP_CLASS, "2.25.71")[0].Status == 0x0111
    wrong = association.send_n_create(steps.begun(Modality=None), steps.SOP_CLASS, "2.25.79")[0]
    assert (wrong.Status, wrong.ErrorComment) == (0x0120, "Attributes are missing")
    status, step = association.send_n_get([0x00400252], steps.RETRIEVE, "2.25.71")
    assert (status.Status, step.PerformedProcedureStepStatus) == (0x0000, "COMPLETED")
    association.release()
    assert eventually(lambda: region.told("2.25.71") == EVERY)
    assert region.states("2.25.71") == ["COMPLETED"]
    assert eventually(lambda: region.untold() == 0)
    with region.site.outbox() as outbox:
        assert (Steps(outbox).counts().waiting, Steps(outbox).counts().apart) == (0, 0)
    first = next(one for one in region.ris.took() if one["uid"] == "2.25.71")
    assert (first["calling"], first["dataset"]["00100010"]["Value"]) == (
        "PASSERELLE", [{"Alphabetic": "LABORDE^Henri"}],
    )  # fmt: skip


def test_a_gateway_killed_with_the_line_down_loses_no_word(region: Region) -> None:
    region.wire.mute = True
    association = region.modality()
    assert whole(association, "2.25.72") == [0x0000] * 3
    region.site.stop(signal.SIGKILL)
    region.site.start()
    association = region.modality()
    assert whole(association, "2.25.72") == [0x0111, 0x0110, 0x0110]  # it knows what it was told
    region.wire.mute = False
    assert eventually(lambda: region.told("2.25.72") == EVERY)
    assert region.states("2.25.72") == ["COMPLETED"]


def test_answers_that_are_lost_and_a_gateway_killed_while_the_ris_thinks(region: Region) -> None:
    """The RIS takes the creation and breaks off; it takes the end and answers late, to nobody."""
    region.ris.fail(create=[{"close": "after"}], set=[{}, {"late": 4}])
    assert whole(region.modality(), "2.25.73") == [0x0000] * 3
    assert eventually(lambda: ("set", "COMPLETED") in region.told("2.25.73"))
    region.site.stop(signal.SIGKILL)
    region.site.start()
    assert eventually(lambda: region.untold() == 0, 120)
    assert region.told("2.25.73") == EVERY
    with region.platform.index() as index:
        assert index.tellings.backlogs() == {}


def test_a_ris_that_is_away(region: Region) -> None:
    region.ris.kill()
    assert whole(region.modality(), "2.25.74") == [0x0000] * 3
    assert eventually(lambda: region.states("2.25.74") == ["COMPLETED"])
    region.ris.start()
    assert eventually(lambda: region.told("2.25.74") == EVERY, 90)


def test_what_the_platform_does_not_take_is_shown_at_the_site(region: Region) -> None:
    """A step of that UID is another site's on the platform: its end stands apart."""
    with region.platform.index() as index:
        known = index.performed("2.25.71")
        assert known is not None
        made = replace(known, uid="2.25.75", organisation="ch-pau", state="IN PROGRESS", revision=0)
        assert index.put_performed(made)
    assert whole(region.modality(), "2.25.75") == [0x0000] * 3
    with region.site.outbox() as outbox:
        assert eventually(lambda: Steps(outbox).counts().apart == 2)
    said = region.site.run("status")
    assert said.returncode == 1
    assert "steps      0 waiting, 2 apart" in said.stdout
    assert "step 2.25.75 from CT1, set: 0x0112" in said.stdout
    assert "2 messages of performed steps wait again" in region.site.run("retry").stdout
    assert region.told("2.25.75") == []
