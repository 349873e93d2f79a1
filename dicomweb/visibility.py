"""Which studies a reader may see: those whose ImagingStudy the FHIR access rules show, asked of the store
itself.

What may not be seen does not exist: an absent study and a hidden one give the same answer everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from fhir_server.access import Access
from fhir_server.search.nodes import Everything, Node, Nothing, Select, Token
from fhir_server.store.contract import Store, Version

SYSTEM = "urn:dicom:uid"
PAGE = 500


async def visible(store: Store, access: Access, uids: Iterable[str] | None = None) -> frozenset[str] | None:
    """The study UIDs this reader may see, among `uids` when given; None = every study."""
    condition = access.visible("ImagingStudy")
    if isinstance(condition, Everything):
        return None
    if isinstance(condition, Nothing):
        return frozenset()
    where: Node = condition
    wanted = None if uids is None else frozenset(uids)
    if wanted is not None:
        if not wanted:
            return frozenset()
        where = access.restrict(
            "ImagingStudy", Token("identifier", tuple((SYSTEM, f"urn:oid:{u}") for u in wanted))
        )
    found: set[str] = set()
    after: tuple[object, ...] | None = None
    while rows := await store.search(Select("ImagingStudy", where, count=PAGE, after=after)):
        for row in rows:
            found.update(study_uids(row.version))
        if len(rows) < PAGE:
            break
        after = rows[-1].position
    return frozenset(found if wanted is None else found & wanted)


async def may_see(store: Store, access: Access, uid: str) -> bool:
    """Whether this reader may see that study."""
    seen = await visible(store, access, (uid,))
    return seen is None or uid in seen


def study_uids(version: Version) -> list[str]:
    """The Study Instance UIDs that an ImagingStudy names."""
    resource = orjson.loads(version.body or b"{}")
    return [
        str(identifier.get("value", "")).removeprefix("urn:oid:")
        for identifier in resource.get("identifier", ())
        if identifier.get("system") == SYSTEM
    ]
