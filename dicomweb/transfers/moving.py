"""The two ways of an instance: from a peer into our files and index, and from our files to a peer.

A file that came is acknowledged by the same `ingest` as any other; what is sent is read from its file, its
hash taken on the way. What became of each is yielded as soon as it is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from dicomweb.attributes import first
from dicomweb.coercion.renewing import new_uid
from dicomweb.dataset import identify, is_uid
from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import Index
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Denied, Digesting, Incapable, PeerError, Session, Shipping, Wanted
from dicomweb.reasons import DUPLICATE, Refused
from dicomweb.transfers.commitments import Commitment, Commitments, committed
from dicomweb.transfers.delivered import Delivered, Deliveries
from dicomweb.transfers.outgoing import Outgoing, Withdrawn, uids_of
from dicomweb.transfers.preparing import CONVERTED, UNTAKEN, Form, Preparing, Ready
from dicomweb.transfers.receipt import Verified, dataset_sha256
from dicomweb.transfers.record import VITAL, Item, ItemState, Order, Transfer
from dicomweb.transfers.shipping import Shipment
from dicomweb.transfers.standing import Ask, Standing, is_anothers
from dicomweb.transfers.usefulness import Described, described, early, in_order

MOST, MOST_SERIES = 50_000, 5000
NO_SUCH_INSTANCE = 0x0112  # PS3.3 §C.14.1.1 (Failure Reason)
NOTED = 20  # instances of which it is put on record at once that the peer gets them
WINDOW = 16_000_000  # bytes under way where several instances are at once
RATE_SECONDS = 0.5  # of a site's rate under way at once
Moving = Generator[Item, None, None]


class Way(Protocol):
    """How the instances of a transfer come or go."""

    def listed(self, session: Session, transfer: Transfer, /) -> list[Item]:
        """What is to be transferred, in that order. Raises PeerError."""

    def grown(self, session: Session, transfer: Transfer, known: Sequence[Item], /) -> list[Item]:
        """What has joined it meanwhile. Raises PeerError."""

    def moved(self, session: Session, transfer: Transfer, batch: Sequence[Item], /) -> Moving:
        """Each as soon as it is settled. Raises PeerError, Withdrawn."""

    def verified(
        self, session: Session, transfer: Transfer, done: Sequence[Item], /
    ) -> tuple[Verified, list[Item]]:
        """How it was verified, and what is known now. Raises PeerError, Withdrawn."""


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
                    yield self._here(item, came.source if came else fetched.source, came is not None)
        finally:
            if isinstance(fetching, Generator):
                fetching.close()

    def _here(self, item: Item, source: str, is_ours: bool) -> Item:
        """By C-MOVE it came through our node (not `is_ours`): then what the node indexed is the source,
        unless it kept another content for a person, which may be what the PACS has."""
        file = self.index.file(item.instance)
        if file is None:
            return replace(item, state="failed", reason="lost")
        if not is_ours and self.index.conflicts(item.instance):
            return replace(item, state="failed", reason=DUPLICATE.slug, attempts=99)
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
    ) -> tuple[Verified, list[Item]]:
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
        return Verified("content"), changed


@dataclass(frozen=True, slots=True)
class Relaying:
    """From here to the peer, under the identity by which its site knows the patient."""

    peer: Peer
    files: DicomFiles
    index: Index
    decoder: Decoder
    deliveries: Deliveries
    now: Callable[[], int]
    ask: Ask = lambda _order: Standing()

    def listed(self, _session: Session, transfer: Transfer) -> list[Item]:
        """What we have of the study or the chosen series, the most useful series first."""
        order = transfer.order
        known = [
            described(one.attributes, one.uid, one.instance_count)
            for one in self.index.series_of(order.study)
            if not order.series or one.uid in order.series
        ]
        return [
            Item(file.series, file.uid, file.sop_class, size=file.size)
            for series in in_order(known)
            for file in self.index.files(order.study, series)
        ]

    def grown(self, session: Session, transfer: Transfer, known: Sequence[Item]) -> list[Item]:
        have = {one.instance for one in known}
        return [one for one in self.listed(session, transfer) if one.instance not in have]

    def moved(self, session: Session, transfer: Transfer, batch: Sequence[Item]) -> Moving:
        """Raises PeerError when it breaks, Withdrawn."""
        noted = self._noted(transfer, batch)
        prepare = Preparing(self.files, self.index, self.decoder).ready
        if isinstance(session, Shipping):
            yield from Shipment(prepare, noted).settled(session, self._window(transfer))
            return
        untaken: set[Form] = set()
        for item, out in noted:
            yield _sent(session, partial(prepare, item, out, untaken), untaken)

    def _window(self, transfer: Transfer) -> int:
        """Bytes under way: a site's rate is kept at any moment."""
        if not self.peer.rate or transfer.order.urgency == VITAL:
            return WINDOW
        return min(WINDOW, int(self.peer.rate * RATE_SECONDS))

    def _noted(self, transfer: Transfer, batch: Sequence[Item]) -> Iterator[tuple[Item, Outgoing]]:
        """Some at a time: whether they still go is asked anew for each. Raises Withdrawn, PeerError."""
        for start in range(0, len(batch), NOTED):
            some = batch[start : start + NOTED]
            out = self._outgoing(transfer, some)
            for item in some:
                yield item, out

    def _outgoing(self, transfer: Transfer, batch: Sequence[Item]) -> Outgoing:
        """What the peer is about to get of these is on record before it gets it. Raises Withdrawn; PeerError
        while another patient's is still to be withdrawn there (`correcting`)."""
        order = transfer.order
        stands = self.ask(order)
        if not stands.goes:
            raise Withdrawn
        there = [one for one in self.deliveries.of(self.peer.id, order.study) if not one.rejected]
        identities = {one: self.deliveries.identity(one) for one in {row.identity for row in there}}
        if any(is_anothers(row, identities, stands) for row in there):
            raise PeerError("correction-due", "what is there is withdrawn first")
        wanted = [
            Delivered(one.instance, order.study, one.series, one.sop_class, order.request, stands.patient)
            for one in batch
        ]
        rows = self.deliveries.note(self.peer.id, wanted, stands.identity, self.now())
        renewed = any(row.salt for row in rows.values())
        uids = uids_of(self.index, order.study) if renewed else frozenset[str]()
        return Outgoing(self.files, self.index, order.study, stands.identity, rows, uids)

    def verified(
        self, session: Session, transfer: Transfer, done: Sequence[Item]
    ) -> tuple[Verified, list[Item]]:
        """The receiver takes responsibility for each instance; where it does not, its own list names what it
        has; where the site asks for it, everything is read back. What went under an identity that is not the
        present one any more goes again first. Raises Withdrawn, Awaiting."""
        known = Known.of(self.deliveries, self.peer.id, transfer.order.study)
        if stale := self._stale(transfer, done, known):
            return Verified(), stale
        answer: Commitment | str = ""
        if self.peer.verify == "commitment":
            answer = self._committed(session, transfer, done, known)
        if isinstance(answer, Commitment):
            return Verified("commitment"), [_answered_for(one, known.instance(one), answer) for one in done]
        try:
            there = set()
            for series in dict.fromkeys((known.study(one), known.series(one)) for one in done):
                keys = {"StudyInstanceUID": series[0], "SeriesInstanceUID": series[1]}
                there |= {first(row, "00080018") for row in session.find("instance", keys, MOST)}
        except Denied:
            return Verified("none", answer), []
        present = [one for one in done if known.instance(one) in there]
        lost = [
            replace(one, state="failed", reason="lost") for one in done if known.instance(one) not in there
        ]
        if self.peer.verify != "content":
            listed = [*lost, *(replace(one, proof="presence") for one in present)]
            return Verified("presence", answer), listed
        return Verified("content"), [*lost, *self._compared(session, present, known)]

    def _committed(
        self, session: Session, transfer: Transfer, done: Sequence[Item], known: Known
    ) -> Commitment | str:
        """The receiver's answer, or why it gives none. Raises Awaiting, PeerError."""
        wanted = {known.instance(one): self._class_of(one) for one in done}
        commitments = Commitments(self.deliveries.queue)
        return committed(commitments, session, self.peer, transfer.id, wanted, self.now)

    def _stale(self, transfer: Transfer, done: Sequence[Item], known: Known) -> list[Item]:
        stands = self.ask(transfer.order)
        if not stands.goes:
            raise Withdrawn
        digest = stands.identity.digest
        return [
            replace(one, state="waiting", attempts=0)
            for one in done
            if (row := known.rows.get(one.instance)) is None or row.rejected or row.identity != digest
        ]

    def _compared(self, session: Session, done: Sequence[Item], known: Known) -> list[Item]:
        wanted = [
            Wanted(known.study(one), known.series(one), known.instance(one), self._class_of(one))
            for one in done
        ]
        hashes = session.digests(wanted) if isinstance(session, Digesting) else _read_back(session, wanted)
        return [_judged(one, hashes.get(known.instance(one), "")) for one in done]

    def _class_of(self, item: Item) -> str:
        file = self.index.file(item.instance)
        return identify(self.files.path(file.path))[0] if file else item.sop_class


@dataclass(frozen=True, slots=True)
class Known:
    """By which UIDs the peer knows what it was sent."""

    rows: Mapping[str, Delivered]

    @classmethod
    def of(cls, deliveries: Deliveries, peer: str, study: str) -> Known:
        return cls({row.instance: row for row in deliveries.of(peer, study)})

    def instance(self, item: Item) -> str:
        return self._new(item.instance, item)

    def series(self, item: Item) -> str:
        return self._new(item.series, item)

    def study(self, item: Item) -> str:
        row = self.rows.get(item.instance)
        return self._new(row.study, item) if row else ""

    def _new(self, uid: str, item: Item) -> str:
        row = self.rows.get(item.instance)
        return new_uid(uid, row.salt) if row else uid


def _sent(session: Session, prepare: Callable[[], Ready | Item], untaken: set[Form]) -> Item:
    """One instance, in the first form that the peer takes. Raises PeerError when it breaks."""
    while True:
        made = prepare()
        if isinstance(made, Item):
            return made
        try:
            session.send(made.sendable)
            return made.done
        except Incapable as error:
            if error.slug != UNTAKEN:
                return replace(made.item, state="failed", reason=error.slug)
            untaken.add(made.form)
        finally:
            made.close()


def _judged(item: Item, stored: str) -> Item:
    """What came back against what was sent. `kept-other`: the peer kept what it had under this UID, as it
    came from the modality, and not what we sent under the site's identity."""
    made = replace(item, stored=stored, proof="content" if stored else "")
    if stored and (stored == item.sent or item.reason == CONVERTED):
        return made
    fault = "lost" if not stored else "kept-other" if stored == item.source else "altered"
    return replace(made, state="failed", reason=fault)


def _answered_for(item: Item, uid: str, found: Commitment) -> Item:
    if uid in found.kept:
        return replace(item, proof="committed")
    reason = "lost" if found.failed.get(uid) == NO_SUCH_INSTANCE else "not-committed"
    return replace(item, state="failed", reason=reason)


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
    return int(text) if re.fullmatch("-?[0-9]{1,12}", text) else 0  # a PACS may send anything
