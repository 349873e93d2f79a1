"""Who administers which sites: asked of the directory.

A person with a post of the role `admin-regional` administers every site; with one of `admin-site` the
establishment that the post's organisation is, or is part of. A system's token administers what its scope on
Endpoint allows, everywhere. DOMAIN rights matrix, "Admin site / région"; R086
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fhir_server.access import Access
from fhir_server.search.nodes import Reference, Select
from fhir_server.store.contract import Store

ROLE = "https://teledossier.example/fhir/CodeSystem/role"
REGIONAL, OF_SITE = "admin-regional", "admin-site"
EVERYWHERE: frozenset[str] | None = None
MOST_POSTS = 500
DEEPEST = 5  # steps from a community to its establishment


async def administered(store: Store, access: Access, letter: str) -> frozenset[str] | None:
    """The Organizations whose systems this reader may see ("s") or switch ("u"), references; EVERYWHERE for
    all, an empty set for none."""
    if access.audience is None:
        return EVERYWHERE if access.allows("Endpoint", letter) else frozenset()
    if not access.subject.startswith("Practitioner/"):
        return frozenset()
    where = Reference("practitioner", (access.subject,))
    rows = await store.search(Select("PractitionerRole", where, count=MOST_POSTS))
    posts = [orjson.loads(row.version.body or b"{}") for row in rows]
    active = [one for one in posts if one.get("active", True)]
    if any(REGIONAL in _codes(one) for one in active):
        return EVERYWHERE
    named = {_target(one.get("organization")) for one in active if OF_SITE in _codes(one)}
    return await _with_whole(store, named - {""})


def may(administered: frozenset[str] | None, organization: str) -> bool:
    """Whether that set has this Organization."""
    return administered is None or organization in administered


async def _with_whole(store: Store, wanted: set[str]) -> frozenset[str]:
    """These organisations and what they are part of."""
    found: set[str] = set()
    for _ in range(DEEPEST):
        keys = [("Organization", one.removeprefix("Organization/")) for one in wanted - found]
        if not keys:
            break
        found |= wanted
        versions = await store.read_many(keys)
        wanted = {_target(orjson.loads(one.body or b"{}").get("partOf")) for one in versions.values()} - {""}
    return frozenset(found)


def _codes(post: Mapping[str, Any]) -> set[str]:
    codings = [coding for concept in post.get("code", ()) for coding in concept.get("coding", ())]
    return {str(one.get("code")) for one in codings if one.get("system") == ROLE}


def _target(reference: Mapping[str, Any] | None) -> str:
    return str((reference or {}).get("reference", ""))
