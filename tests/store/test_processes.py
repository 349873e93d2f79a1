"""Several processes on one store: read-your-writes, counters, races, and a writer that is killed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fhir_server.search.nodes import Everything, Select
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from tests.store.making import put


@contextmanager
def other_process(settings: Settings, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The peer below, answering one line for each line it is given; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.peer", settings.store, *arguments],
        text=True,
        bufsize=1,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


async def ask(process: "subprocess.Popen[str]", line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    return (await asyncio.to_thread(process.stdout.readline)).strip()


async def test_each_sees_at_once_what_the_other_wrote(store: Store, settings: Settings) -> None:
    with other_process(settings, "answer") as other:
        for n in range(30):
            assert await ask(other, f"put p{n}") == "1"
            assert await store.read("Patient", f"p{n}") is not None
            found = await store.search(Select("Patient", Everything(), count=1))
            assert [row.version.id for row in found] == [f"p{n}"]
            await store.commit([put("Patient", f"p{n}", 1)])
            assert await ask(other, f"version p{n}") == "2"
            assert await ask(other, "count") == str(n + 1)


async def test_a_number_is_given_to_one_process_only(store: Store, settings: Settings) -> None:
    with (
        other_process(settings, "numbers", "100") as other,
        other_process(settings, "numbers", "100") as third,
    ):
        mine = [await store.next_number("TD") for _ in range(100)]
        assert other.stdout is not None
        assert third.stdout is not None
        theirs = [int(line) for stream in (other.stdout, third.stdout) for line in stream]
    assert sorted(mine + theirs) == list(range(1, 301))


async def test_of_racing_processes_one_wins_each_version(store: Store, settings: Settings) -> None:
    await store.commit([put("Patient", "a")])
    with other_process(settings, "race", "40") as other, other_process(settings, "race", "40") as third:
        assert other.stdout is not None
        assert third.stdout is not None
        won = [line.strip() for stream in (other.stdout, third.stdout) for line in stream]
    last = await store.read("Patient", "a")
    assert last is not None
    assert len(won) == 80
    assert sorted(map(int, won)) == list(range(2, 82))
    assert last.version == 81


@pytest.mark.parametrize("acknowledged", [1, 25, 150])
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    settings: Settings, acknowledged: int
) -> None:
    with other_process(settings, "write") as other:
        assert other.stdout is not None
        acks = [other.stdout.readline().strip() for _ in range(acknowledged)]
        other.kill()
        acks += [line.strip() for line in other.stdout if line.endswith("\n")]
    assert len(set(acks)) == len(acks) >= acknowledged
    from fhir_server.store import open_store

    store = open_store(settings)
    await store.open()
    for ack in acks:
        found = await store.read("Patient", ack)
        assert found is not None, ack
        assert found.body == ack.encode() * 50
    listed = {version.id async for version in store.scan("Patient")}
    assert set(acks) <= listed
    assert await store.count("Patient", Everything()) == len(listed)
    await store.close()
