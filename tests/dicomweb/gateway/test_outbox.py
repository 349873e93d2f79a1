"""The outbox: what waits, in which order it goes, what becomes of it; all of it outlives the process."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.outgoing import Asked, Fate, Received
from dicomweb.rows import RowsMismatch

MANY = (64, 10**9)


def received(n: int, **changes: Any) -> Received:
    made: dict[str, Any] = {
        "uid": f"1.{n}", "study": "1", "series": "1.1", "sop_class": "1.2", "sha256": f"{n:064x}",
        "dataset": f"{n:064x}", "size": 100, "path": f"dicom/{n}", "ae_title": "CT1", "received": 1000 + n,
        "urgent": False,
    }  # fmt: skip
    return Received(**{**made, **changes})


def waiting(outbox: Outbox, *, urgent: bool = False, most: tuple[int, int] = MANY, now: int = 0) -> list[str]:
    return [one.uid for one in outbox.next(urgent=urgent, now=now, most=most)]


def number(outbox: Outbox, uid: str) -> int:
    return next(one.n for one in outbox.next(urgent=False, now=10**18, most=MANY) if one.uid == uid)


def test_oldest_first_in_requests_of_bounded_size(outbox: Outbox) -> None:
    for n, size in enumerate((300, 300, 300, 5000), 1):
        assert outbox.add(received(n, size=size))
    assert waiting(outbox) == ["1.1", "1.2", "1.3", "1.4"]
    assert waiting(outbox, most=(2, 10**9)) == ["1.1", "1.2"]
    assert waiting(outbox, most=(64, 650)) == ["1.1", "1.2"]
    assert waiting(outbox, most=(64, 10)) == ["1.1"]  # one goes, however large
    assert waiting(outbox, urgent=True) == []


def test_what_is_urgent_is_a_queue_of_its_own(outbox: Outbox) -> None:
    outbox.add(received(1))
    outbox.add(received(2, urgent=True))
    assert (waiting(outbox), waiting(outbox, urgent=True)) == (["1.1"], ["1.2"])
    assert (outbox.summary().waiting, outbox.summary().urgent) == (2, 1)


def test_a_request_never_has_one_uid_twice(outbox: Outbox) -> None:
    outbox.add(received(1))
    outbox.add(received(2, uid="1.1"))
    outbox.add(received(3))
    assert waiting(outbox) == ["1.1"]
    outbox.settle([(number(outbox, "1.1"), "")], [], 5)
    assert waiting(outbox) == ["1.1", "1.3"]


def test_the_same_content_is_one_row_a_changed_one_another(outbox: Outbox) -> None:
    assert outbox.add(received(1))
    assert not outbox.add(received(1))
    found = outbox.known("1.1", f"{1:064x}")
    assert found
    assert found.state == "waiting"
    assert not outbox.known("1.1", f"{2:064x}")
    assert not outbox.known("1.2", f"{1:064x}")


def test_results_are_kept_apart_from_each_other(outbox: Outbox) -> None:
    for n in range(1, 4):
        outbox.add(received(n))
    one, two, three = (number(outbox, f"1.{n}") for n in range(1, 4))
    outbox.settle([(one, "")], [(two, "bad-uids")], 7)
    outbox.later([(three, 500)], "altered")
    assert (waiting(outbox, now=499), waiting(outbox, now=500)) == ([], ["1.3"])
    assert outbox.wake_at(urgent=False) == 500
    assert outbox.wake_at(urgent=True) is None
    assert outbox.fates(["1.1", "1.2", "1.3", "1.4"]) == {
        "1.1": Fate("delivered", "", "1.2"),
        "1.2": Fate("apart", "bad-uids", "1.2"),
        "1.3": Fate("waiting", "altered", "1.2"),
    }
    assert [(one.uid, one.reason) for one in outbox.apart()] == [("1.2", "bad-uids")]
    found = outbox.summary()
    assert (found.waiting, found.waiting_bytes, found.oldest, found.apart) == (1, 100, 1003, 1)
    assert (found.delivered, found.delivered_count, found.kept_bytes) == (7, 1, 300)


def test_a_clock_that_goes_back_holds_nothing_up(outbox: Outbox) -> None:
    """Tried again at an instant that a wrong clock made to be far off."""
    outbox.add(received(1))
    outbox.later([(number(outbox, "1.1"), 10**15)], "altered")
    assert waiting(outbox, now=10**15 - 900_000_000) == []
    assert waiting(outbox, now=10**14) == ["1.1"]


@pytest.mark.parametrize("how", ["asked", "sent again"])
def test_what_stood_apart_can_wait_again(outbox: Outbox, how: str) -> None:
    outbox.add(received(1))
    first = number(outbox, "1.1")
    outbox.settle([], [(first, "bad-uids")], 7)
    assert waiting(outbox) == []
    if how == "asked":
        assert outbox.retry() == 1
    else:
        outbox.again(first)
    assert waiting(outbox) == ["1.1"]
    assert outbox.apart() == []


def test_only_what_was_delivered_is_removed_and_it_stays_known(outbox: Outbox) -> None:
    for n in range(1, 4):
        outbox.add(received(n))
    one, two = number(outbox, "1.1"), number(outbox, "1.2")
    outbox.settle([(one, "")], [(two, "bad-uids")], 7)
    assert outbox.removable(7) == []
    assert outbox.removable(8) == [(one, "dicom/1", 100)]
    assert outbox.paths() == {"dicom/1", "dicom/2", "dicom/3"}
    outbox.removed([one])
    assert (outbox.removable(8), outbox.paths()) == ([], {"dicom/2", "dicom/3"})
    assert outbox.known("1.1", f"{1:064x}")
    assert outbox.forget(8) == 1
    assert not outbox.known("1.1", f"{1:064x}")
    assert outbox.summary().delivered_count == 1  # the count is of deliveries, not of rows


def test_it_outlives_the_process_and_waits_begin_anew(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    first.open()
    first.add(received(1))
    first.later([(number(first, "1.1"), 10**9)], "failed")
    first.close()
    second = Outbox(tmp_path / "outbox.db")
    second.open()
    assert waiting(second) == []
    second.begin()
    (entry,) = second.next(urgent=False, now=0, most=MANY)
    assert (entry.uid, entry.attempts) == ("1.1", 1)
    second.close()


def test_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "outbox.db") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(RowsMismatch, match="99"):
        Outbox(tmp_path / "outbox.db").open()


def test_questions_wait_until_they_are_answered(outbox: Outbox, tmp_path: Path) -> None:
    one, two = Asked("9.1", "CT1", (("1.2", "1.1"),), 5), Asked("9.1", "CT2", (("1.2", "1.1"),), 4)
    outbox.ask(one)
    outbox.ask(two)
    outbox.ask_later(one, 77)
    assert outbox.asked() == [two, replace(one, not_before=77, tries=1)]
    outbox.ask(replace(one, at=6))  # asked anew: the answer to the old question does not settle it
    outbox.answered(one)
    outbox.answered(two)
    assert outbox.asked() == [replace(one, at=6)]


def test_an_outbox_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    first.open()
    first.add(received(1))
    first.close()
    with sqlite3.connect(tmp_path / "outbox.db") as connection:
        connection.executescript(
            "DROP TABLE asked; DROP INDEX instance_kept; DROP TABLE step; DROP TABLE said; "
            "DROP TABLE promise; "
            "PRAGMA user_version=1"
        )
    connection.close()
    second = Outbox(tmp_path / "outbox.db")
    second.open()
    assert (waiting(second), second.asked()) == (["1.1"], [])
    second.close()
