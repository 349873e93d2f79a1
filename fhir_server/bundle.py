"""batch and transaction: the Bundle posted to the base. FHIR R4 http.html#transaction"""

from __future__ import annotations

from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.batch import batch
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.entries import Item, split
from fhir_server.interactions.listing import Listing
from fhir_server.interactions.transaction import transaction
from profiles.outcomes import Invalid


async def run(
    engine: Engine, access: Access, bundle: dict[str, Any], *, returning: str = "minimal"
) -> Listing:
    """The response Bundle to be. `returning` is Prefer's: minimal, representation or OperationOutcome.
    Raises Invalid for a Bundle of another type, and what `transaction` raises."""
    if bundle.get("resourceType") != "Bundle":
        raise Invalid("not-a-bundle", "the base takes a Bundle")
    kind = bundle.get("type")
    items = split(bundle, engine.settings.fhir_base)
    if kind == "batch":
        return Listing("batch-response", await batch(engine, access, items, returning=returning))
    if kind != "transaction":
        raise Invalid(
            "bad-bundle-type", "Bundle.type is neither batch nor transaction", expression="Bundle.type"
        )
    whole: list[Item] = []
    for item in items:
        if isinstance(item, Invalid):
            raise item
        whole.append(item)
    return Listing("transaction-response", await transaction(engine, access, whole, returning=returning))


async def process(
    engine: Engine, access: Access, bundle: dict[str, Any], *, returning: str = "minimal"
) -> dict[str, Any]:
    """`run`, its answer as a dict: for callers in the process."""
    return (await run(engine, access, bundle, returning=returning)).parsed()
