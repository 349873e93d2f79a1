"""batch and transaction: the Bundle posted to the base. FHIR R4 http.html#transaction"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.batch import batch
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.entries import Item, split
from fhir_server.interactions.listing import Listing
from fhir_server.interactions.transaction import transaction
from profiles.outcomes import Invalid, NotSupported, TeledossierError


async def run(
    engine: Engine, access: Access, bundle: dict[str, Any], *, returning: str = "minimal"
) -> Listing:
    """The response Bundle to a Bundle from outside. `returning` is Prefer's: minimal, representation or
    OperationOutcome. Raises Invalid for a Bundle of another type, NotSupported for a transaction of several
    writes on a store whose commits are not atomic, and what `transaction` raises."""
    items = _items(engine, bundle)
    if bundle["type"] == "transaction":
        _check_atomic(engine, items)
    return await _answered(engine, access, bundle, items, returning)


async def process(
    engine: Engine, access: Access, bundle: dict[str, Any], *, returning: str = "minimal"
) -> dict[str, Any]:
    """The response Bundle to a Bundle of our own, as a dict: for callers in the process, who know what it
    means when others see a part of it for a moment."""
    return (await _answered(engine, access, bundle, _items(engine, bundle), returning)).parsed()


def _items(engine: Engine, bundle: dict[str, Any]) -> Sequence[Item | TeledossierError]:
    if bundle.get("resourceType") != "Bundle":
        raise Invalid("not-a-bundle", "the base takes a Bundle")
    if bundle.get("type") not in ("batch", "transaction"):
        raise Invalid(
            "bad-bundle-type", "Bundle.type is neither batch nor transaction", expression="Bundle.type"
        )
    return split(bundle, engine.settings.fhir_base)


def _check_atomic(engine: Engine, items: Sequence[Item | TeledossierError]) -> None:
    writes = sum(isinstance(item, Item) and item.verb not in ("GET", "HEAD") for item in items)
    if writes > 1 and not engine.store.atomic_commits:
        raise NotSupported(
            "no-transactions",
            f"this transaction writes {writes} entries, and the database of this server has no transactions "
            "of several documents (it is no replica set); send the entries as a batch, or one by one",
            expression="Bundle.type",
        )


async def _answered(
    engine: Engine,
    access: Access,
    bundle: dict[str, Any],
    items: Sequence[Item | TeledossierError],
    returning: str,
) -> Listing:
    if bundle["type"] == "batch":
        return Listing("batch-response", await batch(engine, access, items, returning=returning))
    whole: list[Item] = []
    for item in items:
        if isinstance(item, TeledossierError):
            raise item
        whole.append(item)
    return Listing("transaction-response", await transaction(engine, access, whole, returning=returning))
