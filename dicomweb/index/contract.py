"""What the image index is: the values that pass through it and the Protocol an engine keeps.

It is apart from the FHIR store because a study has up to some thousands of instances: one row each, with the
DICOM JSON made once at ingest, instead of FHIR records. An engine is synchronous and safe to call from
several threads and processes; HTTP calls it through worker threads. Times are UTC microseconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dicomweb.index.steps import PerformedStep, StepMessage, Subscriptions, Tellings, WorkItem
from profiles.outcomes import SchemaMismatch

Level = Literal["study", "series", "instance"]
EXPIRY = "Télédossier, rule of retention"  # in a trace: nobody did it, its time was over
Outcome = Literal["stored", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class PatientId:
    """One patient identifier as the modality wrote it: the value and who issued it ("" when it does not
    say)."""

    value: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a gateway said of an instance that it sent: the SHA-256 there of the file and of its dataset, the
    AE title that brought it and when (UTC microseconds). `gateway` is the client that sent it."""

    study: str
    instance: str
    gateway: str
    sha256: str
    dataset: str
    ae_title: str
    received: int


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, read and filed. `attributes` is the DICOM JSON without bulk data; `layout` says where the
    frames lie in the file (`dataset.Layout` as JSON); `path` is relative to the files folder."""

    study: str
    series: str
    uid: str
    sop_class: str
    transfer_syntax: str
    attributes: Mapping[str, Any]
    layout: bytes
    sha256: str
    path: str
    size: int
    received: int
    calling_ae: str
    source: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class File:
    """Where an instance is and how its frames lie. `sop_class` is "" for a conflict."""

    study: str
    series: str
    uid: str
    transfer_syntax: str
    sha256: str
    path: str
    size: int
    layout: bytes
    sop_class: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance's file with the number of its row, which rises with time, and when it came."""

    number: int
    received: int
    file: File


@dataclass(frozen=True, slots=True)
class Study:
    """A study's row. `last_seq` rises with each instance stored; `processed_seq` is what its ImagingStudy was
    written up to. `mixed`: its instances do not agree on the patient, so no identity of it is trusted."""

    uid: str
    attributes: Mapping[str, Any]
    patient_ids: tuple[PatientId, ...]
    accession: str
    modalities: tuple[str, ...]
    series_count: int
    instance_count: int
    first_received: int
    last_received: int
    last_seq: int
    processed_seq: int
    attached: bool
    mixed: bool
    calling_ae: str
    source: str


@dataclass(frozen=True, slots=True)
class Series:
    uid: str
    attributes: Mapping[str, Any]
    instance_count: int


@dataclass(frozen=True, slots=True)
class Brief:
    """What an ImagingStudy says of an instance."""

    series: str
    uid: str
    sop_class: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Body:
    """An instance's DICOM JSON object, as it is stored."""

    series: str
    uid: str
    json: bytes


How = Literal["exact", "like", "range", "words", "empty"]


@dataclass(frozen=True, slots=True)
class Match:
    """One condition, as `keys` settled it: on a column of the index, or, where `path` is given, on the
    attribute
    (tags from the dataset down through sequences) of the instance's JSON. `exact`: one of the values;
    `like`: a
    DICOM wildcard pattern (`*`, `?`); `range`: [low, high] inclusive, "" = open; `words`: each value is in
    the name; `empty`: there is no value. Values for a person's name (`vr` PN) are folded."""

    level: Level
    column: str
    how: How
    values: tuple[str, ...]
    path: tuple[str, ...] = ()
    vr: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One QIDO page. `visible` is the study UIDs the reader may see, None for all: a condition like the
    others, before the limit. `limit` None = no limit."""

    level: Level
    matches: tuple[Match, ...] = ()
    visible: frozenset[str] | None = None
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """One QIDO row: the level's own attributes, those of the levels above where the route is above them, the
    counts, and the number of a representative instance whose full attributes can be read for
    `includefield`."""

    study: str
    series: str
    instance: str
    attributes: Mapping[str, Any]
    representative: int


class Index(Protocol):
    """Durable means: when `add` or a mark returns, it survives `kill -9` of every process."""

    def open(self) -> None:
        """Connect, create an empty schema; refuse a schema version that is not ours (IndexMismatch). Raises
        SchemaMismatch for a file that is no database, Unavailable."""

    def close(self) -> None: ...

    def add(self, instances: Sequence[Instance]) -> list[Outcome]:
        """All or nothing. A known SOP Instance UID with the same hash is a duplicate and changes nothing;
        with another content it is kept as a conflict, never in place of the first. Concurrent calls share one
        commit."""

    def find(self, query: Query) -> list[Found]:
        """In a stable order: newest study first, then display order. Raises SearchTooLong."""

    def page(self, query: Query, counted: int) -> tuple[list[Found], int]:
        """The same, and how many matches there are after the page, `counted` at most. Raises
        SearchTooLong."""

    def count(self, query: Query, most: int | None = None) -> int:
        """Matches from the offset on, without limit; at most `most`."""

    def study(self, uid: str) -> Study | None: ...

    def series_of(self, study: str) -> list[Series]:
        """By series number, then arrival."""

    def briefs(self, study: str) -> list[Brief]:
        """Every instance, by series and number."""

    def files(self, study: str, series: str | None = None, instance: str | None = None) -> Iterator[File]:
        """In display order, bounded memory."""

    def syntaxes(self, study: str, series: str | None = None) -> list[str]:
        """The transfer syntaxes that its instances have."""

    def file(self, instance: str) -> File | None:
        """By SOP Instance UID alone."""

    def metadata(self, study: str, series: str | None = None, instance: str | None = None) -> Iterator[Body]:
        """Each instance's DICOM JSON object, in display order, bounded memory."""

    def attributes(self, representative: int) -> dict[str, Any]:
        """The full attributes of the instance with that number."""

    def note_origin(self, origin: Origin) -> None:
        """A duplicate came through a gateway: what it said is kept too."""

    def origins(self, study: str, instance: str | None = None) -> list[Origin]:
        """What gateways said of a study's instances, oldest first. One instance can have several: through
        several gateways, or with changed content, of which one stands under the UID."""

    def stored(self, after: int, limit: int) -> list[Stored]:
        """The next instances after the row of that number, by number."""

    def conflicts(self, instance: str) -> list[File]: ...

    def conflicted(self, limit: int = 1000) -> list[str]:
        """The SOP Instance UIDs under which another content came later, oldest first."""

    def asides(self, study: str) -> list[Aside]:
        """The conflicts of a study, oldest first."""

    def aside_counts(self, studies: Collection[str]) -> dict[str, int]:
        """How many conflicts each of these studies has, of those that have some."""

    def settle_asides(self, asides: Sequence[Aside], take: bool, trace: Trace) -> int:
        """A person's decision, for all of them or for none: serve them in place of what was (`take`), or put
        them out of sight; what is not served any more is masked. Those decided before stay as they are;
        returns how many were not."""

    def mask(self, place: tuple[str, str | None, str | None], trace: Trace) -> int:
        """Put a study, series or instance (`place`) out of sight; returns how many instances. Nothing finds
        them any more; `masked` still tells of them."""

    def masked(self, study: str) -> list[Masked]: ...

    def purgeable(self, before: int, limit: int) -> list[tuple[int, Masked]]:
        """Those masked before, whose files are still there, with the numbers of their rows."""

    def is_needed(self, number: int) -> bool:
        """Whether a masked instance's file is also what an instance in sight, a conflict or another masked
        one not purged yet has."""

    def mark_purged(self, number: int, at: int) -> None:
        """The file is gone: of the masked instance only the trace stays."""

    def paths(self) -> Iterator[str]:
        """Of every file that is known: instances, conflicts, masked and not purged; in no order, bounded
        memory."""

    def usage(self) -> dict[str, Usage]:
        """By site, what its images take: also conflicts, and masked ones until they are purged."""

    def kept_long(self, before: int, after: int, limit: int) -> list[tuple[int, Study]]:
        """The next studies, by the number of their row, to which nothing came since `before`."""

    def integrity(self) -> list[str]:
        """What the engine finds wrong in its own file, one line each."""

    def damaged(self) -> list[Damage]:
        """What the scans found and no later one saw whole."""

    def put_damage(self, damage: Damage) -> None: ...

    def clear_damage(self, path: str) -> None: ...

    def withdrawn(self, limit: int = 50) -> list[str]:
        """Studies of which nothing is left, until `settle` says that their ImagingStudy says so."""

    def settle(self, study: str) -> None: ...

    def workitems(self) -> list[WorkItem]:
        """Oldest first."""

    def workitem(self, uid: str) -> WorkItem | None: ...

    def put_workitem(self, item: WorkItem) -> bool:
        """Write it if what is stored still has the revision before (none: 0); returns whether it did."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Who is told of changes to work items."""

    def put_promise(self, one: Promise, most: int) -> bool:
        """Keep a storage commitment that is asked for until `drop_promise`, in place of what its peer asked
        under the same transaction; False when that peer has `most` others open."""

    def claim_promise(self, now: int, until: int) -> Promise | None:
        """One that is due; nobody else gets it before `until`."""

    def later_promise(self, one: Promise, due: int) -> None:
        """It could not be told: once more, not before `due`."""

    def drop_promise(self, one: Promise) -> None: ...

    def performed(self, uid: str) -> PerformedStep | None:
        """A performed procedure step by its SOP Instance UID."""

    def put_performed(self, step: PerformedStep, said: StepMessage | None = None) -> bool:
        """As `put_workitem`; a step that was written is due at once. `said`: what changed it, kept with it
        until everybody whom it is for was told (`tellings`)."""

    @property
    def tellings(self) -> Tellings:
        """What modalities said of their steps, on its way to the systems that want to know."""

    def performed_of(self, study: str) -> list[PerformedStep]:
        """The steps that name a study, oldest first."""

    def performed_for(self, accession: str) -> list[PerformedStep]:
        """The steps that perform an order, by its accession number, oldest first."""

    def performed_due(self, now: int, limit: int = 50) -> list[PerformedStep]:
        """Those whose exams are to be looked at, the longest waiting first."""

    def settle_performed(self, step: PerformedStep, again: int | None) -> None:
        """It was looked at as `step` has it; look again at that time, None: when it changes."""

    def await_performed(self, study: str, again: int) -> None:
        """Something came of a study: look at its steps at that time, those that nobody was to look at."""

    def whereabouts(self, instances: Sequence[str]) -> dict[str, str]:
        """SOP Instance UID → the study it is in, for those that are here; "" for one out of sight."""

    # Work: what the worker derives from the index, so that a killed worker loses nothing.
    def due(self, quiet_before: int, waiting_before: int, limit: int = 50) -> list[Study]:
        """Studies with instances not processed yet: quiet since `quiet_before`, or waiting since
        `waiting_before`."""

    def mark_processed(self, study: str, seq: int) -> None:
        """The ImagingStudy is written up to `seq`; a later instance makes the study due again."""

    def mark_attached(self, study: str, attached: bool) -> None: ...

    def unattached(
        self,
        *,
        accessions: Sequence[str] = (),
        patient_values: Sequence[str] = (),
        birth_dates: Sequence[str] = (),
    ) -> list[Study]:
        """Processed studies without a télédossier that share an accession number, a patient identifier value
        or a birth date (YYYYMMDD) with what is given."""

    def get_mark(self, name: str) -> int:
        """A number the worker keeps between runs, 0 at first."""

    def set_mark(self, name: str, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Aside:
    """A conflict: what came under the SOP Instance UID of another content."""

    number: int
    instance: Instance


@dataclass(frozen=True, slots=True)
class Promise:
    """A storage commitment that a peer (the id of its Endpoint) asked for: transaction UID, when, and the
    SOP class and instance of each. `due`: when it is looked at next, `tries` how often it was in vain."""

    uid: str
    peer: str
    asked: int
    items: tuple[tuple[str, str], ...]
    due: int
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """Who did something to stored images, when (UTC microseconds) and why."""

    at: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Masked:
    """An instance out of sight; its file stays where it is."""

    study: str
    series: str
    uid: str
    sha256: str
    path: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Usage:
    """Instances and bytes, as they came."""

    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was acknowledged, or that nobody knows (`uid` ""); UTC microseconds."""

    path: str
    uid: str
    what: str
    at: int


class SearchTooLong(Exception):
    """A search on attributes without an index took longer than a reader may."""


class IndexMismatch(SchemaMismatch):
    """The index file has another schema version than this program; the text names both."""
