"""The queue of transfers: orders once, the greater urgency, progress, its file's versions."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from dicomweb.rows import RowsMismatch
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import Item, Order
from tests.dicomweb.test_transfers import queue

__all__ = ["queue"]  # a fixture


def test_an_order_waits_once_and_takes_the_greater_urgency(queue: Queue) -> None:
    first = queue.submit(Order("import", "p", "1.2", 2, "r"), 1)
    assert queue.submit(Order("import", "p", "1.2", 0, "r"), 2).id == first.id
    assert queue.submit(Order("import", "p", "1.2", 2, "other"), 3).id != first.id
    found = queue.get(first.id)
    assert found is not None
    assert found.order.urgency == 0
    queue.cancel(first.id, 4)
    assert queue.submit(Order("import", "p", "1.2", 2, "r"), 5).id != first.id
    assert [one.order.request for one in queue.of_request("r")] == ["r", "r"]
    assert queue.of_request("") == []


def test_a_newer_file_stops_the_start(tmp_path: Path) -> None:

    path = tmp_path / "q.db"
    made = Queue(path)
    made.open()
    made.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(RowsMismatch, match="99"):
        Queue(path).open()


def test_a_file_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:

    from dicomweb.transfers.record import Item

    path, order = tmp_path / "q.db", Order("relay", "p", "1.2", 2)
    made = Queue(path)
    made.open()
    id = made.submit(order, 1).id
    made.list_items(id, [Item("1.3", "1.4", size=5)], 1)
    made.close()
    connection = sqlite3.connect(path)
    for column in ("sent", "proof"):
        connection.execute(f"ALTER TABLE item DROP COLUMN {column}")
    for table in ("delivered", "identity", "rejection", "commitment", "selection"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    made = Queue(path)
    made.open()
    made.settle(id, [replace(one, state="done", sent="a", proof="committed") for one in made.items(id)])
    assert made.items(id) == [Item("1.3", "1.4", "", "done", size=5, sent="a", proof="committed")]
    made.close()


def test_progress_says_rate_and_time_left(queue: Queue) -> None:
    from dicomweb.transfers.record import Item

    order = Order("relay", "p", "1.2", 2)
    id = queue.submit(order, 1).id
    queue.list_items(id, [Item("s", str(n), size=100) for n in range(10)], 1)
    for item in queue.waiting(id, 4):
        queue.settle(id, [replace(item, state="done")], 0.5)
    found = queue.get(id)
    assert found is not None
    assert (found.done, found.total, found.bytes, found.bytes_total) == (4, 10, 400, 1000)
    assert found.rate == pytest.approx(200)
    assert found.left == pytest.approx(3.0)


def test_the_list_of_a_studys_imports(queue: Queue) -> None:
    """What an exam's track takes its total from: relays and cancelled imports do not count."""

    def submitted(kind: str, peer: str, *instances: str) -> str:
        made = queue.submit(Order(kind, peer, "2.25.100", 2), 1)  # type: ignore[arg-type]
        queue.list_items(made.id, [Item("2.25.200", one) for one in instances], 2)
        return made.id

    assert queue.importing("2.25.100") == ((), False)
    first = submitted("import", "a", "2.25.1", "2.25.2")
    submitted("relay", "b", "2.25.9")
    assert queue.importing("2.25.100") == (("2.25.1", "2.25.2"), True)
    queue.finish(first, "partial", "some-failed", "", 3)
    assert queue.importing("2.25.100") == (("2.25.1", "2.25.2"), False)
    queue.cancel(submitted("import", "c", "2.25.7"), 4)
    assert queue.importing("2.25.100") == (("2.25.1", "2.25.2"), False)
    assert queue.importing("2.25.101") == ((), False)
