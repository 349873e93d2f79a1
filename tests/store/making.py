"""Short ways to write puts and entries in tests."""

from typing import Any

from fhir_server.store.contract import Entries, Put, Store, Version

AT = 1_700_000_000_000_000


def entries(**kinds: Any) -> Entries:
    return Entries(**{kind: tuple(rows) for kind, rows in kinds.items()})


def put(type: str, id: str, expect: int = 0, *, at: int = AT, body: bytes | None = None, **kinds: Any) -> Put:
    return Put(
        type,
        id,
        expect,
        at,
        "create" if expect == 0 else "update",
        body if body is not None else f'{{"resourceType":"{type}","id":"{id}","v":{expect + 1}}}'.encode(),
        entries(**kinds),
    )


def gone(type: str, id: str, expect: int) -> Put:
    return Put(type, id, expect, AT, "delete", None)


async def fill(store: Store, *puts: Put) -> list[Version]:
    return await store.commit(puts)
