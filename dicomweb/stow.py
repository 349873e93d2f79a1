"""STOW-RS: a body of instances, streamed to the spool, each through the same `ingest` as a C-STORE.

    chunks → multipart.Reader → spool file (hashed on the way) → accept, in a worker thread
    → settle, several in one commit → receipts → answer


At most IN_FLIGHT files are being taken while the next is received, so memory is flat whatever the body.
PS3.18 §10.5 (Store Transaction), §I.2 (response module)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread
from starlette.requests import ClientDisconnect

from dicomweb import dicom_xml, reasons
from dicomweb.attributes import first
from dicomweb.compose import Bulk, compose
from dicomweb.dicom_xml import XML
from dicomweb.files import SLOW_SPOOL
from dicomweb.images import Images
from dicomweb.ingest import Arrival, Filed, Receipt, accept, settle
from dicomweb.media import DICOM, JSON, MULTIPART
from dicomweb.multipart import Data, End, Head, Reader, boundary_of, content_type
from dicomweb.origin import said
from dicomweb.reasons import Refused
from dicomweb.web import from_json, one, sequence
from profiles.outcomes import Invalid, UnsupportedMedia

log = logging.getLogger(__name__)

IN_FLIGHT = 8
BLOCK = 1 << 20  # bytes gathered before they are written and hashed
TOGETHER = 16  # instances in one commit of the index
MAX_METADATA = 64_000_000  # bytes of one metadata part
METADATA = (JSON, "application/json", XML, "application/xml")


class Spooled:
    """One part on its way to disk, its SHA-256 made as it comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._pending = bytearray()
        self._digest = hashlib.sha256()
        self._file = path.open("wb")

    async def write(self, content: bytes) -> None:
        self._pending += content
        self.size += len(content)
        if len(self._pending) >= BLOCK:
            block, self._pending = self._pending, bytearray()
            await anyio.to_thread.run_sync(self._flush, block)

    def _flush(self, block: bytes | bytearray) -> None:
        self._file.write(block)
        self._digest.update(block)

    def close(self) -> str:
        """The SHA-256 of what was written. Blocking."""
        self._flush(self._pending)
        self._file.close()
        return self._digest.hexdigest()

    def drop(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class Intake:
    """What a body has brought so far."""

    images: Images
    arrival: Arrival
    receipts: list[asyncio.Future[Receipt]] = field(default_factory=list)
    metadata: list[Mapping[str, Any]] = field(default_factory=list)
    bulk: dict[str, list[Bulk]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _filed: list[tuple[Filed, asyncio.Future[Receipt]]] = field(default_factory=list)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    def open(self) -> Spooled:
        return Spooled(self.images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}")

    async def take(self, spooled: Spooled, head: Mapping[str, str]) -> None:
        """A complete instance: filed in the background, a slot at a time."""
        told = said(head)
        arrival = replace(self.arrival, said=told, calling_ae=told.ae or self.arrival.calling_ae)

        def work() -> Receipt | Filed:
            digest = spooled.close()
            return _receive(self.images, spooled.path, replace(arrival, sha256=digest))

        await self._begin(work)

    async def _begin(self, work: Callable[[], Receipt | Filed]) -> None:
        await self._slots.acquire()
        receipt = asyncio.get_running_loop().create_future()
        self.receipts.append(receipt)
        self._tasks.append(asyncio.ensure_future(self._run(work, receipt)))

    async def _run(self, work: Callable[[], Receipt | Filed], receipt: asyncio.Future[Receipt]) -> None:
        try:
            made = await asyncio.to_thread(work)
        finally:
            self._slots.release()
        if isinstance(made, Receipt):
            receipt.set_result(made)
            return
        self._filed.append((made, receipt))
        if len(self._filed) >= TOGETHER:
            await self._settle()

    async def _settle(self) -> None:
        """One commit for what was filed since the last: nothing is acknowledged before the body has ended."""
        group, self._filed = self._filed, []
        if group:
            made = await asyncio.to_thread(_settle, self.images, [filed for filed, _receipt in group])
            for (_filed, receipt), told in zip(group, made, strict=True):
                receipt.set_result(told)

    async def keep(self, spooled: Spooled, head: Mapping[str, str]) -> None:
        """A metadata or bulk data part."""
        media, parameters = content_type(head.get("content-type", ""))
        await anyio.to_thread.run_sync(spooled.close)
        location = head.get("content-location") or head.get("content-id", "").strip("<>")
        if media in METADATA and not location:
            try:
                if spooled.size > MAX_METADATA:
                    raise Invalid("bad-metadata", "the metadata is too long")
                self.metadata += await anyio.to_thread.run_sync(_metadata, spooled.path, media)
            finally:
                spooled.drop()
        else:
            syntax = parameters.get("transfer-syntax", "")
            self.bulk.setdefault(location, []).append(Bulk(spooled.path, media, syntax))

    async def compose(self) -> None:
        """The instances whose metadata and bulk data came apart."""
        for attributes in self.metadata:
            await self._begin(partial(self._composed, attributes))

    def _composed(self, attributes: Mapping[str, Any]) -> Receipt | Filed:
        target = self.images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
        try:
            compose(attributes, self.bulk, target)
        except Refused as refused:
            target.unlink(missing_ok=True)
            return Receipt(*_uids(attributes), reason=refused.reason)
        return _receive(self.images, target, self.arrival)

    async def close(self) -> list[Receipt]:
        """Every receipt, in the order of the parts; bulk data parts are gone."""
        try:
            await asyncio.gather(*self._tasks)
            await self._settle()
            return [receipt.result() for receipt in self.receipts]
        finally:
            for parts in self.bulk.values():
                for part in parts:
                    part.path.unlink(missing_ok=True)


def _receive(images: Images, path: Path, arrival: Arrival) -> Receipt | Filed:
    try:
        return accept(path, arrival, images.files, images.index)
    except Exception:
        log.exception("STOW-RS: an instance could not be stored")
        return Receipt(reason=reasons.FAILED)


def _settle(images: Images, group: Sequence[Filed]) -> list[Receipt]:
    """All in one commit; when that fails each in its own, so that one cannot spoil the others."""
    try:
        return settle(group, images.index)
    except Exception:
        log.exception("STOW-RS: instances could not be stored")
        if len(group) == 1:
            return [Receipt(*_named(group[0]), reason=reasons.FAILED)]
        return [receipt for filed in group for receipt in _settle(images, [filed])]


def _named(filed: Filed) -> tuple[str, str]:
    return filed.header.sop_class, filed.header.instance


def _uids(attributes: Mapping[str, Any]) -> tuple[str, str]:
    return first(attributes, "00080016"), first(attributes, "00080018")


def _metadata(path: Path, media: str) -> list[Mapping[str, Any]]:
    data = path.read_bytes()
    if media.endswith("xml"):
        return [dicom_xml.parse(data)]
    found = from_json(data)
    datasets = found if isinstance(found, list) else [found]
    if not datasets or not all(isinstance(one, dict) for one in datasets):
        raise Invalid("bad-metadata", "the metadata is no array of datasets")
    return datasets


async def store(images: Images, body: AsyncIterator[bytes], header: str, arrival: Arrival) -> list[Receipt]:
    """Take a whole body. Raises UnsupportedMedia, Invalid (a body that cannot be read and brought
    nothing)."""
    media, parameters = content_type(header)
    intake = Intake(images, arrival)
    if media == DICOM:
        return await _single(intake, body)
    part_type = parameters.get("type", DICOM).lower()
    if media != MULTIPART or part_type not in (DICOM, *METADATA):
        raise UnsupportedMedia(
            "unsupported-media", f'taken here: {DICOM}, {MULTIPART} with type="{DICOM}", "{JSON}" or "{XML}"'
        )
    reader = Reader(boundary_of(parameters))
    apart = part_type != DICOM
    broken: Invalid | None = None
    try:
        await _parts(reader, body, intake, apart=apart)
        await intake.compose()
    except Invalid as error:
        broken = error
    except ClientDisconnect:  # what came whole is kept, and told to whoever asks again
        broken = Invalid("cut", "the body ends early")
    finally:
        receipts = await intake.close()
    if not receipts:
        raise broken or Invalid("empty-body", "the request brings no instance")
    return [*receipts, Receipt(reason=reasons.CUT)] if broken else receipts


async def _single(intake: Intake, body: AsyncIterator[bytes]) -> list[Receipt]:
    spooled = intake.open()
    try:
        async for chunk in body:
            await spooled.write(chunk)
    except BaseException:
        spooled.drop()
        raise
    if not spooled.size:
        spooled.drop()
        raise Invalid("empty-body", "the request has no body")
    await intake.take(spooled, {})
    return await intake.close()


async def _parts(reader: Reader, body: AsyncIterator[bytes], intake: Intake, *, apart: bool) -> None:
    spooled: Spooled | None = None
    head: Mapping[str, str] = {}
    try:
        async for chunk in body:
            for event in reader.feed(chunk):
                match event:
                    case Head(fields):
                        head, spooled = fields, intake.open()
                    case Data(content) if spooled:
                        await spooled.write(content)
                    case End() if spooled:
                        complete, spooled = spooled, None
                        await (intake.keep(complete, head) if apart else intake.take(complete, head))
        reader.finish()
    finally:
        if spooled:
            spooled.drop()


def status_of(receipts: Sequence[Receipt]) -> int:
    """200 all stored, 202 some or with warnings, 400 none could be read, 409 none for other reasons, 503 no
    room, 507 the site's quota is used up. PS3.18 §10.5.3.1; RFC 4918 §11.5"""
    failed = [receipt.reason for receipt in receipts if receipt.reason]
    if not failed:
        return 202 if any(receipt.warning for receipt in receipts) else 200
    if len(failed) < len(receipts):
        return 202
    if all(reason == reasons.OUT_OF_RESOURCES for reason in failed):
        return 503
    if all(reason in (reasons.OUT_OF_RESOURCES, reasons.OVER_QUOTA) for reason in failed):
        return 507
    unreadable = all(reason in reasons.MALFORMED for reason in failed)
    return 400 if unreadable and not any(receipt.sop_instance for receipt in receipts) else 409


def answer(receipts: Sequence[Receipt], base: str, study: str) -> dict[str, Any]:
    """The Store Instances Response Module. `study`: the one the address names, or ""."""
    stored = [receipt for receipt in receipts if receipt.reason is None]
    failed = [receipt for receipt in receipts if receipt.reason and receipt.sop_instance]
    others = [receipt for receipt in receipts if receipt.reason and not receipt.sop_instance]
    result: dict[str, Any] = {}
    studies = {receipt.study for receipt in stored} or ({study} if study else set())
    if len(studies) == 1:
        result["00081190"] = one("UR", f"{base}/studies/{studies.pop()}")
    if failed:
        result["00081198"] = sequence(
            {**_reference(receipt), "00081197": one("US", receipt.reason.status)}
            for receipt in failed
            if receipt.reason
        )
    if stored:
        result["00081199"] = sequence(_stored(receipt, base) for receipt in stored)
    if others:
        result["0008119A"] = sequence(
            {"00081197": one("US", receipt.reason.status)} for receipt in others if receipt.reason
        )
    return result


def _reference(receipt: Receipt) -> dict[str, Any]:
    return {
        "00081150": one("UI", receipt.sop_class) if receipt.sop_class else {"vr": "UI"},
        "00081155": one("UI", receipt.sop_instance),
    }


def _stored(receipt: Receipt, base: str) -> dict[str, Any]:
    url = f"{base}/studies/{receipt.study}/series/{receipt.series}/instances/{receipt.sop_instance}"
    item = {**_reference(receipt), "00081190": one("UR", url)}
    if receipt.warning:
        item["00081196"] = one("US", receipt.warning)
    return item
