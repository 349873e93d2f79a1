"""Transfers to and from real PACS, and with faults put in: order, resumption, limits, receipts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pynetdicom import AE, evt

from dicomweb.dimse.spool import spooling
from dicomweb.images import Images
from dicomweb.index.contract import Origin, Outcome
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer, Window
from dicomweb.peers.session import (
    Attributes,
    Fetched,
    Level,
    Sendable,
    Session,
    Taker,
    Unreachable,
    Wanted,
)
from dicomweb.syntaxes import EXPLICIT_LITTLE
from dicomweb.transfers.delivered import Deliveries
from dicomweb.transfers.lane import ATTEMPTS, Lane
from dicomweb.transfers.moving import Importing, Relaying
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.receipt import dataset_sha256
from dicomweb.transfers.record import Order, Transfer
from dicomweb.transfers.rejecting import Rejecting
from dicomweb.transfers.standing import Ask, Standing
from tests.dicomweb import making
from tests.dicomweb.pacs import Pacs, orthanc
from tests.processes import unused_ports

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
CT = "1.2.840.10008.5.1.4.1.1.2"
HOUR = 3600 * 1_000_000


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "transfers.db")
    made.open()
    yield made
    made.close()


@dataclass
class Desk:
    """A lane's surroundings; `receipts` are what was signed."""

    images: Images
    queue: Queue
    root: Path
    receipts: list[Mapping[str, Any]] = field(default_factory=list)
    clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ask: Ask = lambda _order: Standing()

    @property
    def deliveries(self) -> Deliveries:
        return Deliveries(self.queue)

    def sign(self, claims: Mapping[str, Any]) -> str:
        self.receipts.append(claims)
        return "signed"

    def lane(self, peer: Peer, session: Session | None = None) -> Lane:
        files, index = self.images.files, self.images.index
        ours = Ours("TELEDOSSIER", Credentials(self.root / "keys"), lambda uid: index.file(uid) is not None)
        return Lane(
            peer, self.queue, session or open_session(peer, ours, files.spool),
            {
                "import": Importing(peer, files, index, self.clock),
                "relay": Relaying(
                    peer, files, index, self.images.decoder, self.deliveries, self.clock, self.ask
                ),
                "reject": Rejecting(peer, files, index, self.deliveries),
            },
            self.sign, ZoneInfo("Europe/Paris"), self.root / "locks", self.clock,
            origins=index.origins,
        )  # fmt: skip

    def run(self, peer: Peer, session: Session | None = None) -> None:
        with spooling(self.images.files.spool):
            self.lane(peer, session).run()

    def order(
        self, kind: str, peer: Peer, study: str = making.STUDY, urgency: int = 2, **more: Any
    ) -> Transfer:
        return self.queue.submit(Order(kind, peer.id, study, urgency, **more), self.clock())  # type: ignore[arg-type]

    def after(self, transfer: Transfer) -> Transfer:
        found = self.queue.get(transfer.id)
        assert found is not None
        return found


@pytest.fixture
def desk(images: Images, queue: Queue, tmp_path: Path) -> Desk:
    return Desk(images, queue, tmp_path)


@dataclass
class Fake:
    """A peer with faults: what it has is `there` (UID → bytes sent), it breaks before the n-th sending."""

    breaks: set[int] = field(default_factory=set)
    drops: set[str] = field(default_factory=set)
    alters: set[str] = field(default_factory=set)
    there: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    tries: int = 0
    on_send: Callable[[str], None] = lambda _uid: None

    def echo(self) -> None:
        pass

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        return [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in self.there]

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        for one in wanted:
            path = Path(self.folder) / "back"
            path.write_bytes(self.there[one.instance])
            take(path)
            yield Fetched(one.instance)

    folder: str = "/tmp"

    def send(self, one: Sendable) -> str:
        self.tries += 1
        if self.tries in self.breaks:
            raise Unreachable("no-answer")
        data = one.path.read_bytes()
        self.sent.append(one.instance)
        if one.instance not in self.drops:
            self.there[one.instance] = data[:-2] + b"\xaa\xbb" if one.instance in self.alters else data
        self.on_send(one.instance)
        return one.transfer_syntax

    def close(self) -> None:
        pass


FAKE = Peer("fake", "Fake", "Organization/chu", "dimse", uses=frozenset({"relay"}))


def given(take: Callable[..., Outcome], folder: Path, count: int, study: int = 0) -> list[str]:
    """`count` instances of study 2.25.100 + number; their UIDs."""
    change = {"StudyInstanceUID": f"2.25.{100 + study}", "SeriesInstanceUID": f"2.25.{200 + study}"}
    uids = []
    for n in range(1, count + 1):
        uid = f"2.25.1.{study}.{n}"
        made = making.dataset(SOPInstanceUID=uid, InstanceNumber=n, **change)
        take(making.write(folder / f"{study}-{n}.dcm", made))
        uids.append(uid)
    return uids


# -- real peers
@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    folder = tmp_path_factory.mktemp("pacs")
    dimse, http = unused_ports(2)
    with orthanc(folder / "orthanc", dimse, http) as running:
        running.load(making.files(folder / "given", 45))
        yield running


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
def test_an_import_brings_every_instance_and_proves_it(kind: str, pacs: Pacs, desk: Desk) -> None:
    peer = getattr(pacs, kind)
    transfer = desk.order("import", peer, request="r1")
    desk.run(peer)
    after = desk.after(transfer)
    assert (after.state, after.total, after.done, after.failed, after.reason) == ("done", 45, 45, 0, "")
    assert len(list(desk.images.index.files(making.STUDY))) == 45
    (receipt,) = desk.receipts
    assert (receipt["sent"], receipt["stored"], receipt["verified"]) == (45, 45, "content")
    assert all(one["source"] == one["stored"] != "" for one in receipt["instances"])
    assert [one for one in receipt["instances"] if "fault" in one] == []
    again = desk.order("import", peer, request="r1")  # the same study once more: known by its content
    desk.run(peer)
    assert desk.after(again).state == "done"
    assert again.id != transfer.id
    assert len(list(desk.images.index.files(making.STUDY))) == 45


@pytest.mark.peer("orthanc")
def test_series_chosen_before_sending(pacs: Pacs, desk: Desk) -> None:
    absent = desk.order("import", pacs.peer, series=("2.25.999",))
    chosen = desk.order("import", pacs.peer, series=(making.SERIES,))
    desk.run(pacs.peer)
    assert desk.after(absent).state == "failed"
    assert desk.after(absent).reason == "nothing-to-transfer"
    assert (desk.after(chosen).state, desk.after(chosen).done) == ("done", 45)


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
@pytest.mark.parametrize("verify", ["presence", "content"])
def test_a_relay_to_orthanc(
    kind: str, verify: Any, pacs: Pacs, desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    number = 10 + len(kind) + len(verify)
    uids = given(take, tmp_path, 12, number)
    peer = replace(getattr(pacs, kind), verify=verify)
    transfer = desk.order("relay", peer, f"2.25.{100 + number}")
    desk.run(peer)
    after = desk.after(transfer)
    assert (after.state, after.done, after.bytes) == ("done", 12, after.bytes_total)
    assert set(uids) <= set(pacs.instances())
    assert len(pacs.instances()) == len(set(pacs.instances()))
    (receipt,) = desk.receipts
    assert receipt["verified"] == verify
    if verify == "content":
        assert all(one["source"] == one["stored"] for one in receipt["instances"])


@dataclass
class Receiver:
    """A PACS that notes what comes and when."""

    syntaxes: Sequence[str] = (EXPLICIT_LITTLE,)
    came: list[tuple[str, float]] = field(default_factory=list)
    event: threading.Event = field(default_factory=threading.Event)
    tell_after: int = 0

    def __enter__(self) -> Receiver:
        node = AE("PACS")
        node.add_supported_context(CT, list(self.syntaxes))
        self.server = node.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._on_store)]
        )
        return self

    def _on_store(self, event: Any) -> int:
        self.came.append((str(event.request.AffectedSOPInstanceUID), time.monotonic()))
        if len(self.came) == self.tell_after:
            self.event.set()
        return 0x0000

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()

    @property
    def peer(self) -> Peer:
        port = int(self.server.server_address[1])
        return Peer("chu", "CHU", "Organization/chu", "dimse", "127.0.0.1", port, "PACS")


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_stroke_overtakes_a_long_transfer_within_one_image(
    count: int, desk: Desk, take: Callable[..., Outcome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R080, R078: the stroke's images go before the rest of the routine ones, which all come after."""
    routine_uids, stroke_uids = given(take, tmp_path, count, 1), given(take, tmp_path, 20, 2)
    with Receiver(tell_after=count // 3) as receiver:
        routine = desk.order("relay", receiver.peer, "2.25.101", 2)
        began = time.monotonic()
        with spooling(desk.images.files.spool):
            thread = threading.Thread(target=desk.lane(receiver.peer).run)
            thread.start()
            assert receiver.event.wait(60)
            stroke = desk.order("relay", receiver.peer, "2.25.102", 0)
            asked, before = time.monotonic(), len(receiver.came)
            thread.join(120)
        came = list(receiver.came)
    order = [uid for uid, _ in came]
    first = order.index(stroke_uids[0])
    assert first - before <= 1  # the image under way, no more
    assert order[first : first + 20] == stroke_uids
    assert sorted(order) == sorted([*routine_uids, *stroke_uids])  # each once
    times = [at for _, at in came]
    with capsys.disabled():
        print(
            f"\nstroke during {count} images: asked at {asked - began:.2f} s, first image "
            f"{(times[first] - asked) * 1000:.0f} ms later after {first - before} routine image(s), "
            f"all 20 after {times[first + 19] - asked:.2f} s; routine ended at {times[-1] - began:.2f} s"
        )
    assert (desk.after(routine).state, desk.after(stroke).state) == ("done", "done")
    assert desk.after(stroke).done == 20


def test_what_the_peer_does_not_take_is_converted(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    path = making.write(tmp_path / "plain.dcm", making.dataset())
    made = dcmread(path)
    made.compress(RLELossless, generate_instance_uid=False)
    made.save_as(tmp_path / "rle.dcm")
    take(tmp_path / "rle.dcm")
    got: list[bytes] = []
    with Receiver() as receiver:
        receiver.server.bind(evt.EVT_PDU_RECV, lambda _event: None)
        transfer = desk.order("relay", receiver.peer)
        desk.run(receiver.peer)
        got += [uid.encode() for uid, _ in receiver.came]
    assert got == [b"2.25.1"]
    assert desk.receipts[0]["verified"] == "none"  # it can be asked nothing
    (item,) = desk.queue.items(transfer.id)
    assert (item.state, item.reason) == ("done", "converted")


# -- faults
def test_it_goes_on_at_the_instance_where_it_broke(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids, session = given(take, tmp_path, 30), Fake(breaks={8, 20})
    transfer = desk.order("relay", FAKE, "2.25.100")
    for broken_after, tries in ((7, 1), (18, 1)):
        desk.run(FAKE, session)
        after = desk.after(transfer)
        assert (after.state, after.done, after.reason, after.attempts) == (
            "waiting", broken_after, "no-answer", tries,
        )  # fmt: skip
        assert after.not_before > desk.clock()
        assert desk.queue.next("fake", desk.clock(), least=9) is None
        desk.queue.submit(transfer.order, desk.clock())  # a person asks again: at once, and the same transfer
    desk.run(FAKE, session)
    assert desk.after(transfer).state == "done"
    assert session.sent == uids  # each exactly once, in order


def test_it_is_given_up_after_many_attempts_and_the_receipt_names_what_is_missing(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids, session = given(take, tmp_path, 3), Fake(breaks=set(range(3, 99)))
    now = [1_000_000]
    desk.clock = lambda: now[0]
    transfer = desk.order("relay", FAKE, "2.25.100")
    while desk.after(transfer).state == "waiting":
        desk.run(FAKE, session)
        now[0] += HOUR
        assert session.tries < 50
    assert (desk.after(transfer).state, desk.after(transfer).reason) == ("partial", "no-answer")
    (receipt,) = desk.receipts
    faults = {one["sopInstanceUID"]: one.get("fault") for one in receipt["instances"]}
    assert faults == {uids[0]: None, uids[1]: None, uids[2]: "no-answer"}


def test_a_lost_and_an_altered_instance_are_named(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """DOMAIN: drop or alter one instance; the receipt says which."""
    uids = given(take, tmp_path, 5)
    session = Fake(drops={uids[1]}, alters={uids[3]}, folder=str(tmp_path))
    peer = replace(FAKE, verify="content")
    transfer = desk.order("relay", peer, "2.25.100")
    desk.run(peer, session)
    assert (desk.after(transfer).state, desk.after(transfer).done) == ("partial", 3)
    (receipt,) = desk.receipts
    assert (receipt["sent"], receipt["stored"]) == (5, 3)
    faults = {one["sopInstanceUID"]: one["fault"] for one in receipt["instances"] if "fault" in one}
    assert faults == {uids[1]: "lost", uids[3]: "altered"}
    assert session.sent.count(uids[1]) == 3  # tried again before it was given up
    assert session.sent.count(uids[0]) == 1


def test_a_receipt_says_what_the_gateway_had(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """DOMAIN: the gateway hashes each instance. One that it had otherwise is to be seen in the receipt."""
    uids, study = given(take, tmp_path, 4), "2.25.100"
    index = desk.images.index

    def note(uid: str, dataset: str, received: int) -> None:
        index.note_origin(Origin(study, uid, "gw-auch", f"{received:064x}", dataset, "CT1", received))

    hashes = {uid: dataset_sha256(tmp_path / f"0-{n}.dcm") for n, uid in enumerate(uids, 1)}
    note(uids[0], hashes[uids[0]], 1)
    for dataset, received in ((hashes[uids[1]], 2), ("ab" * 32, 3)):  # a changed duplicate came later
        note(uids[1], dataset, received)
    note(uids[2], "cd" * 32, 4)
    desk.order("relay", FAKE, study)
    desk.run(FAKE, Fake(folder=str(tmp_path)))
    (receipt,) = desk.receipts
    found = {one["sopInstanceUID"]: one.get("atGateway") for one in receipt["instances"]}
    assert found == {uids[0]: hashes[uids[0]], uids[1]: hashes[uids[1]], uids[2]: "cd" * 32, uids[3]: None}
    assert {one["sopInstanceUID"]: one["source"] for one in receipt["instances"]} == hashes
    assert {one.get("gateway") for one in receipt["instances"]} == {"gw-auch", None}


def test_a_file_damaged_on_our_disk_is_not_sent(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids, session = given(take, tmp_path, 3), Fake()
    file = desk.images.index.file(uids[1])
    assert file is not None
    path = desk.images.files.path(file.path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    transfer = desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    assert session.sent == [uids[0], uids[2]]
    assert [one.reason for one in desk.queue.items(transfer.id)] == ["", "damaged-here", ""]


def test_what_comes_meanwhile_goes_along(desk: Desk, take: Callable[..., Outcome], tmp_path: Path) -> None:
    first, more = given(take, tmp_path, 2), []

    def grow(uid: str) -> None:
        if uid == first[1]:
            more.extend(given(take, tmp_path, 4)[2:])

    session = Fake(on_send=grow)
    transfer = desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    assert (desk.after(transfer).state, desk.after(transfer).total) == ("done", 4)
    assert session.sent == [*first, *more]


def test_cancelled_stops_at_the_next_instance(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids = given(take, tmp_path, 10)
    transfer = desk.order("relay", FAKE, "2.25.100")
    session = Fake(
        on_send=lambda uid: desk.queue.cancel(transfer.id, desk.clock()) and None if uid == uids[3] else None
    )
    desk.run(FAKE, session)
    assert session.sent == uids[:4]
    assert desk.after(transfer).state == "cancelled"
    assert not desk.queue.cancel(transfer.id, desk.clock())


def test_only_what_is_vital_goes_outside_the_window(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    routine_uids, vital_uids = given(take, tmp_path, 2, 1), given(take, tmp_path, 2, 2)
    desk.clock = lambda: 1_767_265_200_000_000  # 1 January 2026, 12:00 in Paris
    night, session = replace(FAKE, window=Window(20 * 60, 6 * 60)), Fake()
    routine, vital = desk.order("relay", night, "2.25.101", 1), desk.order("relay", night, "2.25.102", 0)
    desk.run(night, session)
    assert (desk.after(vital).state, desk.after(routine).state) == ("done", "waiting")
    desk.clock = lambda: 1_767_265_200_000_000 + 9 * HOUR
    desk.run(night, session)
    assert desk.after(routine).state == "done"
    assert session.sent == [*vital_uids, *routine_uids]


def test_the_sites_rate_is_kept_but_for_what_is_vital(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    given(take, tmp_path, 10)
    size = sum(file.size for file in desk.images.index.files("2.25.100"))
    slow = replace(FAKE, rate=size * 2)  # half a second
    took = []
    for urgency in (2, 0):
        transfer = desk.order("relay", slow, "2.25.100", urgency, request=str(urgency))
        began = time.monotonic()
        desk.run(slow, Fake())
        took.append(time.monotonic() - began)
        assert desk.after(transfer).state == "done"
    assert took[0] > 0.45
    assert took[1] < took[0] / 2


def test_one_lane_a_peer_whatever_the_process(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    given(take, tmp_path, 1)
    desk.order("relay", FAKE, "2.25.100")
    session, second = Fake(), Fake()
    session.on_send = lambda _uid: desk.lane(FAKE, second).run()
    desk.run(FAKE, session)
    assert (len(session.sent), len(second.sent)) == (1, 0)


def test_a_switched_off_peer_is_not_called(desk: Desk, take: Callable[..., Outcome], tmp_path: Path) -> None:
    given(take, tmp_path, 1)
    off, session = replace(FAKE, active=False), Fake()
    transfer = desk.order("relay", off, "2.25.100")
    desk.run(off, session)
    assert (desk.after(transfer).state, desk.after(transfer).reason) == ("waiting", "peer-not-active")
    assert session.tries == 0


@dataclass
class Losing(Fake):
    """A peer to import from: it lists what it has, and gives none of `lost`."""

    lost: set[str] = field(default_factory=set)

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        if level == "series":
            return [{"0020000E": {"vr": "UI", "Value": [making.SERIES]}}]
        return [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in self.there]

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        for one in wanted:
            if one.instance in self.lost:
                yield Fetched(one.instance, missing="not-given")
                continue
            path = Path(self.folder) / f"spooled-{one.instance}"
            path.write_bytes(self.there[one.instance])
            take(path)
            yield Fetched(one.instance)


def test_an_import_names_what_is_lost_and_what_is_altered_afterwards(desk: Desk, tmp_path: Path) -> None:
    """DOMAIN: drop or alter one instance; the receipt says which. The third is altered on our own disk."""
    there = {f"2.25.1.{n}": making.files(tmp_path / str(n), n)[-1].read_bytes() for n in range(1, 5)}
    session = Losing(there=there, folder=str(tmp_path), lost={"2.25.1.2"})
    settled: list[str] = []
    import_way = Importing(FAKE, desk.images.files, desk.images.index, desk.clock)

    class Damaging:
        """The import, with a disk that alters an instance before it is read back."""

        def __getattr__(self, name: str) -> Any:
            return getattr(import_way, name)

        def verified(self, *given: Any) -> Any:
            file = desk.images.index.file("2.25.1.3")
            assert file is not None
            path = desk.images.files.path(file.path)
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            settled.append("read back")
            return import_way.verified(*given)

    transfer, lane = desk.order("import", FAKE), desk.lane(FAKE, session)
    lane.ways = {**lane.ways, "import": Damaging()}  # type: ignore[dict-item]
    lane.run()
    assert (desk.after(transfer).state, desk.after(transfer).done) == ("partial", 2)
    faults = {one["sopInstanceUID"]: one.get("fault") for one in desk.receipts[0]["instances"]}
    assert faults == {"2.25.1.1": None, "2.25.1.2": "not-given", "2.25.1.3": "altered", "2.25.1.4": None}
    assert settled
    proofs = {one["sopInstanceUID"]: one.get("proof") for one in desk.receipts[0]["instances"]}
    assert proofs["2.25.1.1"] == "content"


@pytest.mark.parametrize(
    ("slug", "days", "state"),
    [("gateway-silent", 13, "waiting"), ("gateway-silent", 16, "failed"), ("no-connection", 1, "failed")],
)
def test_a_transfer_waits_for_its_gateway(
    slug: str, days: int, state: str, desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Days without a line are no failure; a PACS that does not answer is one, after twelve tries."""
    given(take, tmp_path, 1)
    transfer = desk.order("relay", FAKE, "2.25.100")
    at = transfer.created
    for _ in range(ATTEMPTS + 3):
        at += days * 86_400_000_000 // (ATTEMPTS + 3) + 100_000_000
        desk.clock = lambda at=at: at  # type: ignore[misc]
        session = Fake()
        session.send = lambda _one: (_ for _ in ()).throw(Unreachable(slug))  # type: ignore[method-assign]
        desk.run(FAKE, session)
    assert desk.after(transfer).state == state
