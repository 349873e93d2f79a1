"""What the outbox tells of what it holds: plain values. Times are UTC microseconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Received:
    """An instance whose file is in place (`path`, relative). `sha256` is the file's, `dataset` that of what
    comes after the file meta information."""

    uid: str
    study: str
    series: str
    sop_class: str
    sha256: str
    dataset: str
    size: int
    path: str
    ae_title: str
    received: int
    urgent: bool


@dataclass(frozen=True, slots=True)
class Entry(Received):
    """One that waits, by its number; `attempts` were in vain."""

    n: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a content that came before."""

    n: int
    state: str
    sha256: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class Apart:
    """What the platform would not take, and why."""

    uid: str
    study: str
    ae_title: str
    received: int
    reason: str


@dataclass(frozen=True, slots=True)
class Exam:
    """What is kept here of one study; `path` is one of its files, `waiting` what the platform has not yet."""

    study: str
    ae_title: str
    received: int
    instances: int
    bytes: int
    waiting: int
    path: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is still here."""

    uid: str
    path: str


@dataclass(frozen=True, slots=True)
class Summary:
    """`oldest` and `delivered` are instants, 0 when there is none."""

    waiting: int
    waiting_bytes: int
    urgent: int
    oldest: int
    apart: int
    delivered: int
    delivered_count: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A storage commitment that waits for its answer: (SOP Class UID, SOP Instance UID) of each instance."""

    transaction: str
    ae_title: str
    references: tuple[tuple[str, str], ...]
    at: int
    not_before: int = 0
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an instance; `reason` "" where it simply went well."""

    state: str
    reason: str
    sop_class: str
