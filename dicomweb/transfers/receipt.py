"""What a transfer proves: for each instance the SHA-256 of its dataset at the gateway that took it in, where
it came from, as it was sent and where it is now, so that one that is lost or altered is named. Signed by the
platform as a JWS. Pure, but for reading files.

RFC 7515; R164
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from dicomweb.dataset import data_part
from dicomweb.index.contract import Origin
from dicomweb.transfers.record import Item, Transfer

How = Literal["commitment", "content", "presence", "none"]
Sign = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Verified:
    """`how`: "commitment" (the receiver took responsibility for them), "content" (read back and compared),
    "presence" (the receiver lists them), "none". `uncommitted`: why there is no commitment where one was
    wanted: "not-offered", "unanswered" within the time that is waited, "not-asked" as it did not answer the
    day before."""

    how: How = "none"
    uncommitted: str = ""


def dataset_sha256(path: Path) -> str:
    """Of the dataset, whoever wrote the file meta information before it."""
    digest = hashlib.sha256()
    for chunk in data_part(path):
        digest.update(chunk)
    return digest.hexdigest()


def claims(
    transfer: Transfer, items: Sequence[Item], verified: Verified, now: int, origins: Sequence[Origin] = ()
) -> dict[str, Any]:
    """`origins`: what gateways said of the study."""
    order = transfer.order
    said: dict[str, list[Origin]] = {}
    for origin in origins:
        said.setdefault(origin.instance, []).append(origin)
    made: dict[str, Any] = {
        "iat": now // 1_000_000,
        "transfer": transfer.id,
        "kind": order.kind,
        "peer": order.peer,
        "study": order.study,
        "sent": len(items),
        "stored": sum(one.state == "done" for one in items),
        "bytes": sum(one.size for one in items if one.state == "done"),
        "began": _instant(transfer.started),
        "ended": _instant(now),
        "verified": verified.how,
        "instances": [_line(one, said.get(one.instance, ())) for one in items],
    }
    if verified.uncommitted:
        made["commitment"] = verified.uncommitted
    if order.request:
        made["request"] = f"ServiceRequest/{order.request}"
    return made


def _line(one: Item, origins: Sequence[Origin]) -> dict[str, str]:
    made = {"sopInstanceUID": one.instance, "source": one.source, "stored": one.stored}
    made |= _at_gateway(one, origins)
    if one.sent and one.sent != one.source:
        made["sent"] = one.sent
    if one.proof:
        made["proof"] = one.proof
    if one.state != "done":
        made["fault"] = one.reason or "not-transferred"
    elif one.reason:
        made["note"] = one.reason
    return made


def _at_gateway(one: Item, origins: Sequence[Origin]) -> dict[str, str]:
    """Which gateway took the instance in, and the hash there. Of several contents that came under its UID it
    is the one that is meant here; when it is none of them, the difference is to be seen."""
    known = [origin for origin in origins if origin.dataset]
    if not known:
        return {}
    meant = next((origin for origin in known if origin.dataset == one.source), known[-1])
    return {"gateway": meant.gateway, "atGateway": meant.dataset}


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="seconds")
