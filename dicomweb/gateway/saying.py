"""What a modality said of a step, as it travels between the platform and a gateway, either way: the dataset's
own bytes, compressed, in JSON."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any, Literal

from dicomweb.dataset import is_uid
from dicomweb.index.steps import StepMessage
from profiles.outcomes import Invalid

LARGEST = 16_000_000  # bytes of a dataset: 50,000 instances take some 8 MB
MOST_PACKED = 1_500_000  # characters; UIDs that count up fold to a tenth


def packed(said: StepMessage) -> dict[str, str]:
    """What `unpacked` reads."""
    body = base64.b64encode(zlib.compress(said.body, 6)).decode()
    return {"uid": said.step, "kind": said.kind, "syntax": said.syntax, "body": body}


def unpacked(value: Mapping[str, Any], at: int, source: str = "") -> StepMessage:
    """Raises Invalid."""
    uid, kind, syntax, body = (value.get(name) for name in ("uid", "kind", "syntax", "body"))
    if not all(isinstance(one, str) and is_uid(one) for one in (uid, syntax)) or not isinstance(body, str):
        raise _wrong("uid and syntax are UIDs, body a text")
    if kind not in ("create", "set"):
        raise _wrong("kind is create or set")
    known: Literal["create", "set"] = "create" if kind == "create" else "set"
    return StepMessage(str(uid), known, str(syntax), _unfolded(body), at, source)


def _unfolded(body: str) -> bytes:
    try:
        folded, unfolding = base64.b64decode(body, validate=True), zlib.decompressobj()
        found = unfolding.decompress(folded, LARGEST + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise _wrong("body is no zlib in Base64") from error
    if len(found) > LARGEST or not unfolding.eof:
        raise _wrong(f"body unfolds to at most {LARGEST} bytes, and is whole")
    return found


def _wrong(text: str) -> Invalid:
    return Invalid("bad-step", f"what is said of a step cannot be read: {text}")
