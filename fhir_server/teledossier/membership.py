"""Who belongs where: a person's posts and communities, and whose télédossiers they may see.

A person's own set is their Practitioner and every community among the organizations of their active
PractitionerRoles.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.search.nodes import Reference, Select
from fhir_server.store.contract import Store
from fhir_server.teledossier.vocabulary import Resource, code_of, target
from profiles import codec

MOST_ROLES = 500


async def roles(store: Store, practitioner_id: str) -> list[Resource]:
    """The active PractitionerRoles of a person, in the order of their ids."""
    where = Reference("practitioner", (f"Practitioner/{practitioner_id}",))
    rows = await store.search(Select("PractitionerRole", where, count=MOST_ROLES))
    found = [codec.parse(row.version.body) for row in rows if row.version.body is not None]
    return sorted((role for role in found if role.get("active", True)), key=lambda role: str(role["id"]))


async def read_all(store: Store, references: Sequence[str]) -> dict[str, Resource]:
    """The current resources that these `Type/id` lead to; what is not there is left out."""
    keys = []
    for reference in dict.fromkeys(references):
        type, _, id = reference.partition("/")
        if id:
            keys.append((type, id))
    found = await store.read_many(keys)
    return {
        f"{type}/{id}": codec.parse(one.body) for (type, id), one in found.items() if one.body is not None
    }


def is_community(organization: Resource | None) -> bool:
    """Whether an Organization is a community."""
    return organization is not None and code_of(organization.get("type"), "organization-type") == "communaute"


async def audience(store: Store, practitioner_id: str) -> frozenset[str]:
    """The references under which télédossiers are open to this person: themselves and their communities."""
    organizations = [target(role.get("organization")) for role in await roles(store, practitioner_id)]
    found = await read_all(store, organizations)
    communities = {reference for reference, one in found.items() if is_community(one)}
    return frozenset({f"Practitioner/{practitioner_id}", *communities})
