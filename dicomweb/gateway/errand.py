"""What the platform asks of a gateway, and what it answers: the same plain values at both ends.

    find   {level, keys, most}        → {"rows": [DICOM JSON, …]} as often as needed
    fetch  {wanted: [[study, series, instance, class], …]}
                                      → for each {"instance", "source"}, once the platform has it, or
                                        {"instance", "missing": slug}, {"instance", "refused": slug}
    digest {wanted}                   → the same, read back and hashed, nothing brought
    send   {instances: [[instance, class, syntax, size, sha256], …]}; their files are had as one download
                                      → for each, in that order, {"instance", "syntax"} with what the peer
                                        stored it in, or {"instance", "fault": slug}
    echo   {}                         → nothing
    step   {uid, kind, syntax, body}: of a performed procedure step, zlib and Base64
                                      → {"status", "error", "again": it may have been told before}
    commit {transaction, wanted: {class: [instance, …]}}
                                      → nothing; the result comes by itself (`committing`)

and at the end {"ok": true}, or {"error": one of FAULTS, "slug": …}. What a gateway says is from outside: it
is checked here before anything of it is kept. Nothing names a patient but the keys and rows of a search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dicomweb.attributes import is_dataset
from dicomweb.dataset import is_uid
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Denied, Incapable, PeerError, Unreachable
from profiles.outcomes import Invalid

Kind = Literal["find", "fetch", "digest", "send", "echo", "step", "commit"]
MOVING: frozenset[Kind] = frozenset({"fetch", "digest", "send"})  # several follow one another on one line
FAULTS: Mapping[str, type[PeerError]] = {
    "unreachable": Unreachable, "denied": Denied, "incapable": Incapable, "failed": PeerError,
}  # fmt: skip
MOST_ROWS = 200  # of one answer
MOST_ANSWERS = 200  # of one report
_SLUG = re.compile(r"[a-z0-9-]{1,40}")
_SHA256 = re.compile(r"([0-9a-f]{64})?")
CALLED = ("id", "kind", "host", "port", "ae_title", "tls", "url", "calling_ae", "retrieve")


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing to do at one peer. `line`: errands of one line may share an association. `attempt` counts
    how often it was given; `start` numbers the next answer; what is answered already is not asked again."""

    id: str
    attempt: int
    kind: Kind
    peer: Peer
    line: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    start: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "attempt": self.attempt, "kind": self.kind, "peer": called(self.peer),
            "line": self.line, "asked": self.asked, "start": self.start,
        }  # fmt: skip


def called(peer: Peer) -> dict[str, Any]:
    """What it takes to call a peer, and no more."""
    return {name: getattr(peer, name) for name in CALLED}


def of_json(value: Mapping[str, Any]) -> Errand:
    """What a gateway reads. Raises KeyError, TypeError for what is none: the platform is another version."""
    peer = Peer(name="", organization="", **{name: value["peer"][name] for name in CALLED})
    return Errand(
        str(value["id"]), int(value["attempt"]), value["kind"], peer, str(value["line"]),
        dict(value["asked"]), int(value["start"]),
    )  # fmt: skip


def fault_of(error: PeerError) -> dict[str, str]:
    """How an errand ends that could not be done."""
    names = {kind: name for name, kind in FAULTS.items()}
    return {"error": names.get(type(error), "failed"), "slug": error.slug}


def raised(outcome: Mapping[str, Any]) -> PeerError | None:
    """The error that a gateway told, or none."""
    if "error" not in outcome:
        return None
    return FAULTS[outcome["error"]](outcome["slug"])


def checked_outcome(value: object) -> dict[str, Any]:
    """Raises Invalid."""
    if isinstance(value, Mapping):
        if value.get("ok") is True:
            return {"ok": True}
        error, slug = value.get("error"), value.get("slug")
        known = isinstance(error, str) and error in FAULTS
        if known and isinstance(slug, str) and _SLUG.fullmatch(slug):
            return {"error": error, "slug": slug}
    raise _wrong("over is {ok: true}, or {error, slug}")


def checked_answers(kind: Kind, values: object) -> list[dict[str, Any]]:
    """Raises Invalid."""
    if not isinstance(values, list) or len(values) > MOST_ANSWERS:
        raise _wrong(f"answers is a list of at most {MOST_ANSWERS}")
    checks = {
        "find": _rows, "fetch": _settled, "digest": _settled, "send": _sent, "echo": _nothing, "step": _told,
        "commit": _nothing,
    }  # fmt: skip
    return [checks[kind](one if isinstance(one, Mapping) else {}) for one in values]


def _rows(value: Mapping[str, Any]) -> dict[str, Any]:
    rows = value.get("rows")
    if not isinstance(rows, list) or len(rows) > MOST_ROWS or not all(map(is_dataset, rows)):
        raise _wrong(f"rows is a list of at most {MOST_ROWS} datasets in DICOM JSON")
    return {"rows": rows}


def _settled(value: Mapping[str, Any]) -> dict[str, Any]:
    instance, source = value.get("instance"), value.get("source", "")
    if not isinstance(instance, str) or not is_uid(instance):
        raise _wrong("instance is a UID")
    for name in ("missing", "refused"):
        if name in value:
            if not isinstance(value[name], str) or not _SLUG.fullmatch(value[name]):
                raise _wrong(f"{name} is a slug")
            return {"instance": instance, name: value[name]}
    if not isinstance(source, str) or not _SHA256.fullmatch(source):
        raise _wrong("source is a SHA-256")
    return {"instance": instance, "source": source}


def _sent(value: Mapping[str, Any]) -> dict[str, Any]:
    instance, syntax, fault = (value.get(name) for name in ("instance", "syntax", "fault"))
    if not isinstance(instance, str) or not is_uid(instance):
        raise _wrong("instance is a UID")
    if isinstance(fault, str) and _SLUG.fullmatch(fault):
        return {"instance": instance, "fault": fault}
    if not isinstance(syntax, str) or not is_uid(syntax):
        raise _wrong("syntax is a UID, or fault a slug")
    return {"instance": instance, "syntax": syntax}


def _told(value: Mapping[str, Any]) -> dict[str, Any]:
    numbers, again = [value.get("status"), value.get("error")], value.get("again")
    if not all(type(one) is int and 0 <= one < 65536 for one in numbers) or type(again) is not bool:
        raise _wrong("status and error are numbers of 16 bits, again is true or false")
    return {"status": numbers[0], "error": numbers[1], "again": again}


def _nothing(_value: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def unanswered(wanted: Sequence[Sequence[str]], answers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What of a fetch is still to be done."""
    settled = {one["instance"] for one in answers}
    return [list(one) for one in wanted if one[2] not in settled]


def _wrong(text: str) -> Invalid:
    return Invalid("bad-answer", f"the answer to an errand cannot be used: {text}")
