"""What modalities say to a gateway: its rows, what it passes on, and what the platform makes of it."""

from __future__ import annotations

import json
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from dicomweb.gateway import passing
from dicomweb.gateway.bell import Bell
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.parts import Parts, State
from dicomweb.gateway.platform import Answer, Failing
from dicomweb.gateway.saying import packed
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.gateway.steps import DAY, Steps
from dicomweb.images import Images
from dicomweb.index.steps import StepMessage
from dicomweb.peers.session import PeerError, Unreachable
from dicomweb.performed import NotTaken
from dicomweb.steps.taking import Sayer, take
from dicomweb.syntaxes import DEFLATED
from fhir_server.access import Access, Scope
from tests.dicomweb import steps
from tests.dicomweb.conftest import As
from tests.dicomweb.gateway.fixtures import app, clock, fhir, region, site, worker
from tests.dicomweb.gateway.region import Site

__all__ = ["app", "clock", "fhir", "region", "site", "worker"]  # fixtures
EXPLICIT = "1.2.840.10008.1.2.1"
UID = "2.25.7"
HERE = Sayer("CT1", "", sees_all=True)


def said(kind: Any, made: Dataset, uid: str = UID, at: int = 1000) -> StepMessage:
    return StepMessage(uid, kind, EXPLICIT, encode(made, False, True) or b"", at)


BEGUN, ENDED = said("create", steps.begun()), said("set", steps.ended(steps.series("2.25.1.1")))


def test_what_is_said_is_kept_with_the_step(outbox: Outbox) -> None:
    kept = Steps(outbox)
    take(kept, BEGUN, HERE)
    take(kept, ENDED, HERE)
    first = kept.next()
    assert first is not None
    assert (first.message, first.ae_title) == (BEGUN, "CT1")
    for again, status in ((BEGUN, 0x0111), (ENDED, 0x0110), (replace(ENDED, step="2.25.8"), 0x0112)):
        with pytest.raises(NotTaken) as refused:
            take(kept, again, HERE)
        assert refused.value.status == status
    assert (kept.counts().waiting, kept.counts().apart) == (2, 0)
    step = kept.performed(UID)
    assert step is not None
    assert (step.state, step.ae_title, step.revision) == ("COMPLETED", "CT1", 2)


def test_how_long_a_step_is_known(outbox: Outbox) -> None:
    kept = Steps(outbox)
    for uid, *messages in (("2.25.1", BEGUN, ENDED), ("2.25.2", BEGUN), ("2.25.3", BEGUN, ENDED)):
        for one in messages:
            take(kept, replace(one, step=uid, at=0), HERE)
    while (one := kept.next()) is not None and one.message.step != "2.25.3":
        kept.delivered(one)
    assert (kept.forget(30 * DAY), kept.forget(31 * DAY), kept.forget(181 * DAY)) == (0, 1, 1)
    assert [kept.performed(f"2.25.{n}") is not None for n in (1, 2, 3)] == [False, False, True]


# -- passing on
ANSWERS: list[tuple[str, list[Any], list[str], tuple[int, int], list[str]]] = [
    ("taken", [(200, 0, 0), (200, 0, 0)], ["create", "set"], (0, 0), []),
    ("known", [(200, 0x0111, 0), (200, 0, 0)], ["create", "set"], (0, 0), []),
    ("refused", [(200, 0x0120, 0), (200, 0x0112, 0)], ["create", "set"], (0, 2), ["0x0120", "0x0112"]),
    ("another ended it", [(200, 0, 0), (200, 0x0110, 0xA710)], ["create", "set"], (0, 1),
     ["0x0110 (0xa710)"]),
    ("no use of it", [(413, 0, 0), (400, 0, 0)], ["create", "set"], (0, 2), ["refused: 413", "refused: 400"]),
    ("the line is down", [Unreachable("no-connection")] * 3 + [(200, 0, 0)] * 2,
     ["create"] * 4 + ["set"], (0, 0), []),
    ("an older platform", [(404, 0, 0), (200, 0, 0), (200, 0, 0)], ["create", "create", "set"], (0, 0), []),
    ("no answer of ours", [(200, None, 0), (302, 0, 0), (200, 0, 0), (200, 0, 0)],
     ["create"] * 3 + ["set"], (0, 0), []),
    ("the platform fails on one", [Failing(Answer(500, b"", {}))] * 12 + [(200, 0x0112, 0)],
     ["create"] * 12 + ["set"], (0, 2), ["platform-failing", "0x0112"]),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "told", "counts", "reasons"), [case[1:] for case in ANSWERS],
                         ids=[case[0] for case in ANSWERS])  # fmt: skip
def test_what_is_passed_on(
    answers: list[Any], told: list[str], counts: tuple[int, int], reasons: list[str], outbox: Outbox
) -> None:
    kept, asked, stop = Steps(outbox), list[dict[str, Any]](), threading.Event()
    take(kept, BEGUN, HERE)
    take(kept, ENDED, HERE)

    def request(method: str, path: str, *, content: bytes, headers: dict[str, str]) -> Answer:
        asked.append({"at": f"{method} {path}", **json.loads(content)})
        answer = answers[len(asked) - 1]
        if len(asked) == len(answers):
            stop.set()
        if isinstance(answer, PeerError):
            raise answer
        status, code, error = answer
        return Answer(status, json.dumps({"status": code, "error": error}).encode(), {})

    parts = SimpleNamespace(
        outbox=outbox, platform=SimpleNamespace(request=request), bell=Bell(), state=State(),
        settings=GatewaySettings(retry_seconds=0.001),
    )  # fmt: skip
    passing.run(cast(Parts, parts), stop)
    assert [one["kind"] for one in asked] == told
    assert {one["at"] for one in asked} == {"POST /gateway/steps"}
    assert len({one["name"] for one in asked}) == 2
    assert (kept.counts().waiting, kept.counts().apart) == counts
    assert [one.reason for one in kept.apart()] == reasons
    assert kept.retry() == counts[1]
    waiting = kept.next()
    assert (waiting.message.kind if waiting else "") == (
        told[0] if len(reasons) == 2 else "set" if reasons else ""
    )


# -- the platform
Post = Callable[..., Any]


def body(message: StepMessage, name: str = "ab" * 16, **changes: Any) -> dict[str, Any]:
    return {"name": name, "ae": "CT1", **packed(message), **changes}


async def test_the_platform_takes_each_message_once(site: Site, images: Images) -> None:
    async def post(message: StepMessage, name: str) -> dict[str, int]:
        answer = await site.http.post("/gateway/steps", json=body(message, name))
        assert answer.status_code == 200, answer.text
        found: dict[str, int] = answer.json()
        return found

    good, names = {"status": 0, "error": 0}, [f"{n:032x}" for n in range(6)]
    assert [await post(BEGUN, names[0]) for _time in range(2)] == [good, good]
    assert await post(BEGUN, names[1]) == {"status": 0x0111, "error": 0}
    assert [await post(ENDED, names[2]) for _time in range(2)] == [good, good]
    assert await post(ENDED, names[3]) == {"status": 0x0110, "error": 0xA710}
    wrong = said("create", steps.begun(Modality=None), "2.25.8")
    assert await post(wrong, names[4]) == {"status": 0x0120, "error": 0}
    step = images.index.performed(UID)
    assert step is not None
    assert (step.state, step.ae_title, step.organisation) == ("COMPLETED", "CT1", "ch-auch")
    fresh = [(one.kind, one.body) for _number, one in images.index.tellings.fresh()]
    assert fresh == [("create", BEGUN.body), ("set", ENDED.body)]
    for number, _said in images.index.tellings.fresh():
        images.index.tellings.address(number, [])
    assert await post(ENDED, names[2]) == good  # known still, though nobody is told


async def test_a_site_says_nothing_of_another_sites_steps(site: Site, images: Images) -> None:
    assert (await site.http.post("/gateway/steps", json=body(BEGUN))).json()["status"] == 0
    step = images.index.performed(UID)
    assert step is not None
    assert images.index.put_performed(replace(step, organisation="ch-pau", uid="2.25.9", revision=0))
    for uid, name, status in (
        (UID, "cd" * 16, 0),
        ("2.25.9", "ef" * 16, 0x0112),
        ("2.25.404", "01" * 16, 0x0112),
    ):
        answer = await site.http.post("/gateway/steps", json=body(replace(ENDED, step=uid), name))
        assert answer.json()["status"] == status


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"name": "x" * 32}, {"name": 5}, {"ae": ""}, {"ae": "A" * 17}, {"ae": "A\\B"},
     {"ae": None}, {"uid": "a"}, {"kind": "delete"}, {"body": "%"}],
    ids=str,
)  # fmt: skip
async def test_what_is_no_message(change: dict[str, Any], site: Site, images: Images) -> None:
    answer = await site.http.post("/gateway/steps", json=body(BEGUN, **change))
    assert answer.status_code == 400
    assert images.index.performed(UID) is None


@pytest.mark.parametrize("who", ["stranger", "doctor"])
async def test_nobody_else_says_steps(who: str, site: Site, app: As) -> None:
    app.access = {
        "stranger": Access("Client/other", (Scope("ImagingStudy", "c"),), None),
        "doctor": Access("Practitioner/p08", (Scope("*", "cruds"),), frozenset({"Organization/ch-auch"})),
    }[who]
    assert (await site.http.post("/gateway/steps", json=body(BEGUN))).status_code == 403


@pytest.mark.parametrize("syntax", [DEFLATED, "1.2.840.10008.1.2.4.50", "1.2.3"])
async def test_what_would_unfold_to_gigabytes_is_not_taken(syntax: str, site: Site, images: Images) -> None:
    """A transfer syntax that no message has: deflated, these bytes of zeros are a hundred megabytes."""
    folding = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(folding.compress(bytes(1_000_000)) for _ in range(100)) + folding.flush()
    tracemalloc.start()
    message = replace(BEGUN, syntax=syntax, body=bomb)
    answer = await site.http.post("/gateway/steps", json=body(message))
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.json() == {"status": 0x0110, "error": 0}
    assert images.index.performed(UID) is None
    assert most < 20_000_000
