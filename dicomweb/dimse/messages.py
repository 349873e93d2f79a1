"""DIMSE messages as they come together from fragments: a C-STORE straight into a spool file, hashed on the
way; every other one by pynetdicom, within bounds.

pynetdicom takes its Dataset apart and together again several times for each C-STORE, which costs as much as
everything else does. PS3.7 §6.3, §9.3.1 (C-STORE messages); PS3.8 Annex E (fragments); PS3.10 §7.1
"""

from __future__ import annotations

import errno
import hashlib
import logging
import shutil
import struct
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from dicomweb.dimse.suboperations import BadAnswer, elements, encoded, fragments
from dicomweb.files import RESERVE

log = logging.getLogger(__name__)

MOST_COMMAND = 65_536  # bytes of a command set
MOST_IDENTIFIER = 16_000_000  # bytes of a dataset that is not stored
BETWEEN_LOOKS = 64_000_000  # bytes spooled between two looks at the disk
LONGEST_UID = 64
STORE_REQUEST, STORE_RESPONSE, NO_DATASET = 0x0001, 0x8001, 0x0101


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE that has come whole; `sha256` is that of the spool file. Not `is_written`: there was no room
    for it, and nothing is left of it."""

    MessageID: int
    AffectedSOPClassUID: str
    AffectedSOPInstanceUID: str
    path: Path
    sha256: str
    is_valid_request: bool = True
    is_written: bool = True


@dataclass(frozen=True, slots=True)
class StoreEvent:
    """What handlers of EVT_C_STORE are given."""

    assoc: Any
    request: StoreRequest
    context: Any

    @property
    def dataset_path(self) -> Path:
        return self.request.path


@dataclass(slots=True)
class _Arriving:
    """A dataset on its way to disk. One that cannot be written is read to its end all the same, so that it
    gets its answer and the next ones theirs."""

    context: int
    message: int
    sop_class: str
    sop_instance: str
    file: Any
    digest: Any = field(default_factory=hashlib.sha256)
    unseen: int = 0  # bytes since the disk was looked at

    is_written: bool = True

    def take(self, data: memoryview) -> None:
        if not self.is_written:
            return
        try:
            self._write(data)
        except OSError as error:
            log.error("an instance cannot be written: %s", error.strerror)
            self.is_written = False
            self.file.close()
            Path(self.file.name).unlink(missing_ok=True)

    def _write(self, data: memoryview) -> None:
        """Raises OSError, also when the disk took a part."""
        if self.file.write(data) != len(data):
            raise OSError(errno.ENOSPC, "written in part")
        self.digest.update(data)
        self.unseen += len(data)
        if self.unseen >= BETWEEN_LOOKS:
            self.unseen = 0
            if shutil.disk_usage(tempfile.gettempdir()).free < RESERVE:
                raise OSError(errno.ENOSPC, "no room left to receive")

    def whole(self) -> StoreRequest:
        self.file.close()
        path, digest = Path(self.file.name), self.digest.hexdigest()
        return StoreRequest(
            self.message, self.sop_class, self.sop_instance, path, digest, is_written=self.is_written
        )


class Messages(DIMSEServiceProvider):  # type: ignore[misc]
    """Raises ValueError or OSError for what cannot be taken: the association is aborted then."""

    _arriving: _Arriving | None = None
    _command = b""

    def take(self, body: memoryview) -> None:
        """One P-DATA-TF PDU, without its head; nothing of it is kept."""
        at = 0
        while at < len(body):
            if at + 6 > len(body):
                raise ValueError("a fragment without its head")
            length, context, control = struct.unpack_from(">LBB", body, at)
            if length < 2 or at + 4 + length > len(body):
                raise ValueError("a fragment beyond its PDU")
            self._fragment(context, control, body[at + 6 : at + 4 + length])
            at += 4 + length

    def _fragment(self, context: int, control: int, data: memoryview) -> None:
        arriving = self._arriving
        if control & 1:
            if arriving is not None or self.message is not None:
                raise ValueError("a command within a dataset")
            self._command += data
            if len(self._command) > MOST_COMMAND:
                raise ValueError("a command without end")
            if control & 2:
                command, self._command = self._command, b""
                self._begin(context, command)
        elif arriving is None and self.message is None:
            raise ValueError("a dataset without its command")
        elif arriving is None:
            self._other(context, control, bytes(data))
        elif arriving.context != context:
            raise ValueError("a dataset in two contexts")
        else:
            arriving.take(data)
            if control & 2:
                self._arriving = None
                self.assoc.came(context, arriving.whole())

    def _begin(self, context: int, command: bytes) -> None:
        try:
            found = elements(command)
            is_store = _short(found, 0x0100) == STORE_REQUEST and _short(found, 0x0800) != NO_DATASET
        except BadAnswer as error:
            raise ValueError("a command that cannot be read") from error
        if not _short(found, 0x0100) or 0x0800 not in found:
            raise ValueError("a command that is none")
        if not is_store:
            self._other(context, 3, command)
            return
        accepted = self.assoc._accepted_cx.get(context)
        if accepted is None:
            raise ValueError("a presentation context that was not accepted")
        sop_class, instance = _uid(found, 0x0002), _uid(found, 0x1000)
        file = Path(tempfile.gettempdir(), f"{uuid4().hex}.dcm").open("xb", buffering=0)  # noqa: SIM115
        arriving = _Arriving(context, _short(found, 0x0110), sop_class, instance, file)
        self._arriving = arriving
        arriving.take(memoryview(file_head(sop_class, instance, str(accepted.transfer_syntax[0]))))

    def _other(self, context: int, control: int, data: bytes) -> None:
        """To pynetdicom."""
        message = self.message
        if message is not None and message.data_set.tell() + len(data) > MOST_IDENTIFIER:
            raise ValueError("a dataset beyond its bounds")
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context, bytes([control]) + data))
        self.receive_primitive(primitive)

    @property
    def is_receiving(self) -> bool:
        """Whether a message is on its way."""
        return self._arriving is not None or self.message is not None or bool(self._command)

    def drop(self) -> int:
        """The connection is lost: files that came in part, or whole and were not looked at, are removed."""
        arriving, self._arriving = self._arriving, None
        paths = [] if arriving is None else [Path(arriving.file.name)]
        if arriving is not None:
            arriving.file.close()
        paths += [one.path for _context, one in list(self.msg_queue.queue) if isinstance(one, StoreRequest)]
        for path in paths:
            path.unlink(missing_ok=True)
        return len(paths)


def answer(request: StoreRequest, status: int, comment: str) -> bytes:
    """A C-STORE-RSP command set. PS3.7 §9.3.1.2"""
    told = comment.encode("ascii", "replace")
    named = [
        (0x0002, _even(request.AffectedSOPClassUID.encode("ascii", "replace"), b"\0")),
        (0x0100, struct.pack("<H", STORE_RESPONSE)), (0x0120, struct.pack("<H", request.MessageID)),
        (0x0800, struct.pack("<H", NO_DATASET)), (0x0900, struct.pack("<H", status)),
        *([(0x0902, _even(told, b" "))] if told else []),
        (0x1000, _even(request.AffectedSOPInstanceUID.encode("ascii", "replace"), b"\0")),
    ]  # fmt: skip
    return encoded(named)


def answer_pieces(
    request: StoreRequest, status: int, comment: str, context: int, largest: int
) -> list[bytes | memoryview]:
    """The answer as P-DATA."""
    return list(fragments(answer(request, status, comment), context, largest))


def file_head(sop_class: str, instance: str, syntax: str) -> bytes:
    """Preamble and file meta information."""
    named = _even(instance.encode("ascii", "replace"), b"\0")
    before, after = _around(sop_class, syntax)
    body = before + _element(0x0003, b"UI", named) + after
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(body))) + body


@lru_cache(maxsize=64)
def _around(sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    """The elements before and after the instance's own UID."""
    version = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"
    before = version + _element(0x0002, b"UI", _even(sop_class.encode("ascii", "replace"), b"\0"))
    after = b"".join((
        _element(0x0010, b"UI", _even(syntax.encode("ascii"), b"\0")),
        _element(0x0012, b"UI", _even(str(PYNETDICOM_IMPLEMENTATION_UID).encode("ascii"), b"\0")),
        _element(0x0013, b"SH", _even(PYNETDICOM_IMPLEMENTATION_VERSION.encode("ascii"), b" ")),
    ))  # fmt: skip
    return before, after


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)


def _short(found: dict[int, bytes], element: int) -> int:
    return int.from_bytes(found.get(element, b"")[:2], "little")


def _uid(found: dict[int, bytes], element: int) -> str:
    value = found.get(element, b"").rstrip(b"\0 ")
    if len(value) > LONGEST_UID:
        raise ValueError("a UID beyond its length")
    return value.decode("ascii", "replace")
