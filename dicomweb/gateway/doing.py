"""The kinds of errand, each as it is done with an open session at the site.

All raise PeerError for what is the peer's fault, Gone when the platform took the errand back, Untold when the
platform is not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from dicomweb.dataset import identify
from dicomweb.files import sha256_of
from dicomweb.gateway.bringing import Bringing
from dicomweb.gateway.errand import Errand, Kind
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.platform import Answer
from dicomweb.gateway.saying import unpacked
from dicomweb.gateway.telling import Gone, Telling, Untold, persist
from dicomweb.peers.session import Incapable, PeerError, Performing, Sendable, Session, Wanted
from dicomweb.transfers.receipt import dataset_sha256

PAGE = 100  # rows of a search in one answer
GROUP = 20  # hashes in one answer
Doing = Callable[[Parts, Errand, Session, Telling], None]


def find(_parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    asked = errand.asked
    rows = session.find(asked["level"], asked["keys"], int(asked["most"]))
    whole = len(rows) // PAGE * PAGE
    for start in range(0, whole, PAGE):
        telling.tell([{"rows": rows[start : start + PAGE]}])
    telling.hold([{"rows": rows[whole:]}])


def echo(_parts: Parts, _errand: Errand, session: Session, _telling: Telling) -> None:
    session.echo()


def fetch(parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    """What comes is brought to the platform while the next comes."""
    with Bringing(parts, telling.tell).running() as bringing:
        fetching = cast(Any, session.fetch(_wanted(errand), bringing.take))
        with closing(fetching):
            for one in fetching:
                if one.missing:
                    bringing.settled({"instance": one.instance, "missing": one.missing})
                elif one.refused is not None:
                    bringing.settled({"instance": one.instance, "refused": one.refused.reason.slug})
                else:
                    bringing.fetched(one.instance)


def digest(_parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    """Read back from the peer and hashed; nothing of it leaves the site."""
    found: list[dict[str, str]] = []

    def take(spooled: Path) -> None:
        found.append({"instance": identify(spooled)[1], "source": dataset_sha256(spooled)})
        spooled.unlink(missing_ok=True)

    for _one in session.fetch(_wanted(errand), take):
        while len(found) >= GROUP:
            telling.tell(found[:GROUP])
            del found[:GROUP]
    telling.hold(found)


def send(parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    """The file is had whole, and is the file that the platform means, before the peer sees any of it."""
    asked = errand.asked
    path = parts.files.spool / f"errand-{uuid4().hex}"
    try:
        _download(parts, telling, path, asked)
        sent = session.send(Sendable(asked["instance"], asked["sop_class"], asked["transfer_syntax"], path))
        telling.hold([{"syntax": sent}])
    finally:
        path.unlink(missing_ok=True)


def step(_parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    """A performed procedure step is told to the peer. Given again, it may have been told before."""
    if not isinstance(session, Performing):
        raise Incapable("not-offered", "performed procedure steps are told by DIMSE alone")
    answer = session.perform(unpacked(errand.asked, 0), lambda: None)
    again = answer.again or errand.attempt > 1
    telling.hold([{"status": answer.status, "error": answer.error_id, "again": again}])


def _download(parts: Parts, telling: Telling, path: Path, asked: Mapping[str, Any]) -> None:
    """Goes on where it broke. Raises Gone, Untold; PeerError when what came is another file."""

    def ask() -> Answer:
        return parts.platform.download(f"{telling.path}/instances/1", path)

    answer = persist(ask, telling.stop)
    if answer.status == 404:
        raise Gone
    if answer.status not in (200, 206, 416):
        raise Untold(f"the platform answered {answer.status} to a download")
    if sha256_of(path) != asked["sha256"]:
        raise PeerError("download-damaged", "what came is not the file that the platform means")


def _wanted(errand: Errand) -> list[Wanted]:
    return [Wanted(*one) for one in errand.asked["wanted"]]


DOING: Mapping[Kind, Doing] = {
    "find": find, "fetch": fetch, "digest": digest, "send": send, "echo": echo, "step": step,
}  # fmt: skip
