"""The exams that the worklists of the person's sites have for a draft's patient, asked for when the person
wants to see them."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import quote

from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.views.orders import Orders, orders

JSON = {"accept": "application/json"}


async def worklists(fhir: Fhir) -> list[str]:
    """The names of those that may be asked; none where that cannot be known."""
    try:
        answer = await fhir.request("GET", "/dicom-web/worklists", headers=JSON)
        return [str(one["name"]) for one in answer.json()]
    except (FhirError, ValueError, KeyError, TypeError):
        return []


async def proposed(fhir: Fhir, id: str, expected: Collection[str]) -> Orders:
    """Raises FhirError."""
    answer = await fhir.request(
        "POST", f"/dicom-web/requests/{quote(id, safe='')}/orders", json={}, headers=JSON
    )
    found = answer.json()
    return orders(found if isinstance(found, list) else [], expected)
