"""What this reader may touch: scope letters first (403), then visibility by a query (404).

A scope that never allows the type and letter is a fact about the reader and is said openly. Whether one
resource is visible is a fact about the resource: what may not be seen is answered exactly like what was
never there. So a reader with an audience gets 404 for a deleted resource too (a tombstone has no index
entries that could lead to a télédossier); 410 is for readers who see all.
FHIR R4 security.html#6.1.0.5; http.html#read
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fhir_server.access import BELONGS_BY, BELONGS_TO, DEFINITIONS, DIRECTORY, Access
from fhir_server.interactions.engine import Engine
from fhir_server.search.nodes import Everything, Ids, Select
from fhir_server.store.contract import Entries, Put, Version
from profiles import definitions
from profiles.outcomes import Forbidden, Gone, Invalid, NotFound

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LETTERS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}


def require(access: Access, type: str, letter: str) -> None:
    """The type exists and a scope allows the interaction. Raises NotFound, Forbidden."""
    if type not in definitions.resource_types():
        raise NotFound("unknown-type", f"{type[:64]} is not a resource type of FHIR R4")
    if not access.allows(type, letter):
        raise Forbidden("scope", f"no granted scope allows to {_LETTERS[letter]} {type}")


def check_id(id: str) -> str:
    """The id, if it is one. Raises Invalid. FHIR R4 datatypes.html#id"""
    if not ID.fullmatch(id):
        raise Invalid("bad-id", "an id has 1 to 64 characters out of A-Z a-z 0-9 - .")
    return id


def sees_all(access: Access, type: str) -> bool:
    """Whether this reader needs no query to know what is visible of the type."""
    return isinstance(access.visible(type), Everything)


async def find(engine: Engine, access: Access, type: str, id: str) -> Version | None:
    """The current version if this reader may see it; a tombstone only for who sees all; else None."""
    if not ID.fullmatch(id):
        return None
    if sees_all(access, type):
        return await engine.store.read(type, id)
    rows = await engine.store.search(Select(type, access.restrict(type, Ids((id,))), count=1))
    return rows[0].version if rows else None


async def current(engine: Engine, access: Access, type: str, id: str) -> Version:
    """The current version, not deleted. Raises NotFound, and Gone for who sees all."""
    version = await find(engine, access, type, id)
    if version is None:
        raise unknown(type, id)
    if version.body is None:
        raise Gone("deleted", f"{type}/{id} was deleted")
    return version


def unknown(type: str, id: str) -> NotFound:
    """The one answer for what is not there and for what this reader may not see."""
    shown = id if ID.fullmatch(id) else "with that id"
    return NotFound("no-such-resource", f"{type}/{shown} is not known")


async def check_place(engine: Engine, access: Access, put: Put, beside: Sequence[Put]) -> None:
    """Who has an audience may only write what stays visible to them: into a télédossier of theirs, and
    pointing to no other one. `beside` are the other writes of the same commit. Raises NotFound, Forbidden."""
    type = put.type
    if access.audience is None or type in DIRECTORY or type in DEFINITIONS or type in BELONGS_TO:
        return
    if type == "ServiceRequest":
        if not _names(put.entries, access.audience):
            raise Forbidden(
                "not-in-audience", "the writer would not be in the audience of this ServiceRequest"
            )
        return
    ways = BELONGS_BY.get(type, ())
    targets = {
        target
        for name, target in put.entries.references
        if name in ways and target.startswith("ServiceRequest/")
    }
    if not targets:
        raise Forbidden("no-teledossier", f"{type} must belong to a ServiceRequest that the writer may see")
    written = {f"{other.type}/{other.id}" for other in beside if other.type == "ServiceRequest"}
    ids = tuple(sorted(target.removeprefix("ServiceRequest/") for target in targets - written))
    if not ids:
        return
    visible = await engine.store.count("ServiceRequest", access.restrict("ServiceRequest", Ids(ids)))
    if visible != len(ids):
        raise NotFound("no-such-resource", "a ServiceRequest that this refers to is not known")


def _names(entries: Entries, audience: frozenset[str]) -> bool:
    return any(name == "audience" and who in audience for name, who in entries.references)
