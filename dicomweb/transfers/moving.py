"""The two ways of an instance: from a peer into our files and index, and from our files to a peer.

A file that came is acknowledged by the same `ingest` as any other; what is sent is read from its file, its
hash taken on the way. What became of each is yielded as soon as it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import orjson

from dicomweb.attributes import first
from dicomweb.dataset import identify, is_uid
from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import File, Index
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Denied, Digesting, Incapable, Sendable, Session, Wanted
from dicomweb.reasons import DUPLICATE, Refused
from dicomweb.syntaxes import DECODED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicomweb.transfers.receipt import dataset_sha256
from dicomweb.transfers.record import Item, ItemState, Order, Transfer
from dicomweb.transfers.usefulness import Described, described, early, in_order

MOST, MOST_SERIES = 50_000, 5000
CONVERTED = "converted"  # the peer does not take the transfer syntax: nothing to compare bytes with
Moving = Generator[Item, None, None]


@dataclass(slots=True)
class Came:
    """What our side saw of a file that came: hash and size of its dataset, and whether it was refused."""

    source: str
    size: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Importing:
    """From the peer to here."""

    peer: Peer
    files: DicomFiles
    index: Index
    now: Callable[[], int]
    came: dict[str, Came] = field(default_factory=dict)

    def listed(self, session: Session, transfer: Transfer) -> list[Item]:
        """Every instance of the study or the chosen series: the most useful series first, then one image of
        each other, then the rest. Raises PeerError."""
        found: dict[str, Item] = {}
        series: list[list[str]] = []
        for uid in self._series(session, transfer.order):
            keys = {"StudyInstanceUID": transfer.order.study, "SeriesInstanceUID": uid}
            rows = sorted(session.find("instance", keys, MOST), key=_number)
            items = [
                Item(uid, instance, first(row, "00080016"))
                for row in rows
                if is_uid(instance := first(row, "00080018")) and instance not in found
            ]
            found |= {one.instance: one for one in items}
            series.append([one.instance for one in items])
        return [found[uid] for uid in early(series)]

    def _series(self, session: Session, order: Order) -> list[str]:
        """Of the study, or those chosen, the most useful first."""
        rows = session.find("series", {"StudyInstanceUID": order.study}, MOST_SERIES)
        known = {one.uid: one for one in map(described, rows) if is_uid(one.uid)}
        if order.series:
            known = {uid: known.get(uid, Described(uid)) for uid in order.series}
        return in_order(known.values())

    def grown(self, session: Session, transfer: Transfer, known: Sequence[Item]) -> list[Item]:
        """What the study has got meanwhile."""
        have = {one.instance for one in known}
        return [one for one in self.listed(session, transfer) if one.instance not in have]

    def moved(self, session: Session, transfer: Transfer, batch: Sequence[Item]) -> Moving:
        """Raises PeerError."""
        asked = {one.instance: one for one in batch}
        wanted = [Wanted(transfer.order.study, one.series, one.instance, one.sop_class) for one in batch]
        self.came.clear()
        fetching = session.fetch(wanted, self._take)
        try:
            for fetched in fetching:
                item, came = asked[fetched.instance], self.came.pop(fetched.instance, None)
                if fetched.missing:
                    yield replace(item, state="failed", reason=fetched.missing)
                elif fetched.refused is not None or (came and came.fault):
                    slug = fetched.refused.reason.slug if fetched.refused else came.fault if came else ""
                    yield replace(item, state="failed", reason=slug)
                else:
                    yield self._here(item, came.source if came else fetched.source)
        finally:
            if isinstance(fetching, Generator):
                fetching.close()

    def _here(self, item: Item, source: str) -> Item:
        """By C-MOVE it came through our node: then what the node indexed is the source."""
        file = self.index.file(item.instance)
        if file is None:
            return replace(item, state="failed", reason="lost")
        if not source:
            path = self.files.path(file.path)
            source = dataset_sha256(path) if sha256_of(path) == file.sha256 else "altered"
        return replace(item, state="done", reason="", size=file.size, source=source)

    def _take(self, spooled: Path) -> None:
        """Raises Refused. A changed duplicate is kept for a person, and told as a failure."""
        _, uid = identify(spooled)
        came = Came(dataset_sha256(spooled), spooled.stat().st_size)
        sender = self.peer.ae_title or self.peer.id[:16]
        source = self.peer.organization.rpartition("/")[2]
        arrival = Arrival(self.now(), sender, source, study="")
        try:
            outcome = ingest(spooled, arrival, self.files, self.index)
        except Refused as refused:
            self.came[uid] = Came("", 0, refused.reason.slug)
            raise
        if outcome == "conflict":
            came.fault = DUPLICATE.slug
        self.came[uid] = came

    def verified(
        self, _session: Session, _transfer: Transfer, done: Sequence[Item]
    ) -> tuple[str, list[Item]]:
        """Every file is read once more from where it was put."""
        changed = []
        for one in done:
            file = self.index.file(one.instance)
            if file is None or not self.files.path(file.path).exists():
                changed.append(replace(one, state="failed", reason="lost"))
                continue
            stored = dataset_sha256(self.files.path(file.path))
            fault = "" if stored == one.source else "altered"
            state: ItemState = "failed" if fault else "done"
            changed.append(replace(one, state=state, reason=fault, stored=stored, proof="content"))
        return "content", changed


@dataclass(frozen=True, slots=True)
class Relaying:
    """From here to the peer."""

    peer: Peer
    files: DicomFiles
    index: Index
    decoder: Decoder

    def listed(self, _session: Session, transfer: Transfer) -> list[Item]:
        """What we have of the study or the chosen series, the most useful series first."""
        order = transfer.order
        known = [
            described(one.attributes, one.uid, one.instance_count)
            for one in self.index.series_of(order.study)
        ]
        return [
            Item(file.series, file.uid, size=file.size)
            for series in in_order(one for one in known if not order.series or one.uid in order.series)
            for file in self.index.files(order.study, series)
        ]

    def grown(self, session: Session, transfer: Transfer, known: Sequence[Item]) -> list[Item]:
        have = {one.instance for one in known}
        return [one for one in self.listed(session, transfer) if one.instance not in have]

    def moved(self, session: Session, _transfer: Transfer, batch: Sequence[Item]) -> Moving:
        """Raises PeerError when it breaks."""
        for item in batch:
            yield self._sent(session, item)

    def _sent(self, session: Session, item: Item) -> Item:
        file = self.index.file(item.instance)
        if file is None:
            return replace(item, state="failed", reason="withdrawn", attempts=99)
        path = self.files.path(file.path)
        if not path.exists() or sha256_of(path) != file.sha256:
            return replace(item, state="failed", reason="damaged-here", attempts=99)
        sop_class = identify(path)[0]
        try:
            try:
                session.send(Sendable(file.uid, sop_class, file.transfer_syntax, path))
                note = ""
            except Incapable as error:
                if error.slug != "transfer-syntax-not-supported":
                    raise
                self._converted(session, file, sop_class)
                note = CONVERTED
        except Incapable as error:
            return replace(item, state="failed", reason=error.slug)
        source = dataset_sha256(path)
        return replace(item, state="done", reason=note, size=file.size, source=source, sent=source)

    def _converted(self, session: Session, file: File, sop_class: str) -> None:
        """Raises Incapable when no uncompressed form helps either."""
        if file.transfer_syntax not in DECODED:
            raise Incapable("transfer-syntax-not-supported", "cannot be decompressed here")
        body = next(iter(self.index.metadata(file.study, file.series, file.uid)))
        attributes: Mapping[str, object] = orjson.loads(body.json)
        for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
            if syntax == file.transfer_syntax:
                continue
            made = self.files.spool / f"peer-{uuid4().hex}"
            try:
                self.decoder.transcode(self.files.path(file.path), file.layout, attributes, syntax, made)
                session.send(Sendable(file.uid, sop_class, syntax, made))
                return
            except Incapable as error:
                if error.slug != "transfer-syntax-not-supported":
                    raise
            except Exception as error:
                raise Incapable("cannot-convert", "the pixels cannot be converted here") from error
            finally:
                made.unlink(missing_ok=True)
        raise Incapable("transfer-syntax-not-supported", "the peer takes none that can be made here")

    def verified(self, session: Session, transfer: Transfer, done: Sequence[Item]) -> tuple[str, list[Item]]:
        """The receiver's own list names what it has; where the site asks for it, everything is read back."""
        try:
            there = set()
            for series in dict.fromkeys(one.series for one in done):
                keys = {"StudyInstanceUID": transfer.order.study, "SeriesInstanceUID": series}
                there |= {first(row, "00080018") for row in session.find("instance", keys, MOST)}
        except Denied:
            return "none", []
        lost = [replace(one, state="failed", reason="lost") for one in done if one.instance not in there]
        if self.peer.verify != "content":
            listed = [replace(one, proof="presence") for one in done if one.instance in there]
            return "presence", [*lost, *listed]
        present = [one for one in done if one.instance in there]
        return "content", [*lost, *self._compared(session, transfer, present)]

    def _compared(self, session: Session, transfer: Transfer, done: Sequence[Item]) -> list[Item]:
        wanted = [
            Wanted(transfer.order.study, one.series, one.instance, identify(self.files.path(file.path))[0])
            for one in done
            if (file := self.index.file(one.instance))
        ]
        hashes = session.digests(wanted) if isinstance(session, Digesting) else _read_back(session, wanted)
        compared = []
        for one in done:
            stored = hashes.get(one.instance, "")
            fault = "lost" if not stored else "altered" if stored != one.sent and not one.reason else ""
            made = replace(one, reason=fault or one.reason, stored=stored, proof="content" if stored else "")
            compared.append(replace(made, state="failed") if fault else made)
        return compared


def _read_back(session: Session, wanted: Sequence[Wanted]) -> dict[str, str]:
    """The SHA-256 of each dataset that the peer gives, by instance. Raises PeerError."""
    hashes: dict[str, str] = {}

    def take(spooled: Path) -> None:
        hashes[identify(spooled)[1]] = dataset_sha256(spooled)
        spooled.unlink(missing_ok=True)

    list(session.fetch(wanted, take))
    return hashes


def _number(row: Mapping[str, object]) -> int:
    text = first(row, "00200013")
    return int(text) if text.lstrip("-").isdigit() else 0
