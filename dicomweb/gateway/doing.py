"""The kinds of errand, each as it is done at the site.

All raise PeerError for what is the peer's fault, Gone when the platform took the errand back, Untold when the
platform is not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from dicomweb.dataset import identify
from dicomweb.gateway.associations import Associations
from dicomweb.gateway.bringing import Bringing
from dicomweb.gateway.committing import commit
from dicomweb.gateway.errand import Errand, Kind
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.relaying import send
from dicomweb.gateway.saying import unpacked
from dicomweb.gateway.telling import Telling
from dicomweb.peers.session import Incapable, Performing, Session, Wanted
from dicomweb.transfers.receipt import dataset_sha256

PAGE = 100  # rows of a search in one answer
GROUP = 20  # hashes in one answer
Asking = Callable[[Parts, Errand, Session, Telling], None]
Doing = Callable[[Parts, Errand, Associations, Telling], None]


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


def step(_parts: Parts, errand: Errand, session: Session, telling: Telling) -> None:
    """A performed procedure step is told to the peer. Given again, it may have been told before."""
    if not isinstance(session, Performing):
        raise Incapable("not-offered", "performed procedure steps are told by DIMSE alone")
    answer = session.perform(unpacked(errand.asked, 0), lambda: None)
    again = answer.again or errand.attempt > 1
    telling.hold([{"status": answer.status, "error": answer.error_id, "again": again}])


def _wanted(errand: Errand) -> list[Wanted]:
    return [Wanted(*one) for one in errand.asked["wanted"]]


def within(asking: Asking) -> Doing:
    """Has the session from its beginning to its end."""

    def doing(parts: Parts, errand: Errand, associations: Associations, telling: Telling) -> None:
        with associations.line(errand) as line, line.session() as session:
            asking(parts, errand, session, telling)

    return doing


DOING: Mapping[Kind, Doing] = {
    "find": within(find),
    "fetch": within(fetch),
    "digest": within(digest),
    "send": send,
    "echo": within(echo),
    "step": within(step),
    "commit": within(commit),
}
