"""A second process on a store, for the tests: `python -m tests.store.peer STORE answer|numbers|race|write
[N]`."""

import asyncio
import sys

from fhir_server.search.nodes import Everything
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import RaceLost, Store
from tests.store.making import put


async def answer(store: Store) -> None:
    while line := (await asyncio.to_thread(sys.stdin.readline)).split():
        match line:
            case ["put", id]:
                print((await store.commit([put("Patient", id)]))[0].version, flush=True)
            case ["version", id]:
                found = await store.read("Patient", id)
                print(found.version if found else None, flush=True)
            case _:
                print(await store.count("Patient", Everything()), flush=True)


async def numbers(store: Store, wanted: int) -> None:
    for _ in range(wanted):
        print(await store.next_number("TD"), flush=True)


async def race(store: Store, wanted: int) -> None:
    while wanted:
        current = await store.read("Patient", "a")
        assert current is not None
        try:
            (made,) = await store.commit([put("Patient", "a", current.version)])
        except RaceLost:
            continue
        print(made.version, flush=True)
        wanted -= 1


async def write(store: Store) -> None:
    """For ever, several at once; a line only after the commit has returned."""

    async def one(writer: int) -> None:
        for n in range(1_000_000):
            id = f"{writer}-{n}"
            await store.commit([put("Patient", id, body=id.encode() * 50, tokens=[("code", "s", id)])])
            print(id, flush=True)

    await asyncio.gather(*(one(writer) for writer in range(8)))


async def main() -> None:
    store = open_store(Settings(store=sys.argv[1]))
    await store.open()
    match sys.argv[2:]:
        case ["answer"]:
            await answer(store)
        case ["numbers", wanted]:
            await numbers(store, int(wanted))
        case ["race", wanted]:
            await race(store, int(wanted))
        case _:
            await write(store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
