"""What happens to a télédossier's exams beside those that are there: transfers that are not well ended,
earlier exams found at other sites, images that came twice. For every page that shows its exams."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.views import transfers
from smart_launch.app.views.priors import Priors, priors

JSON = {"accept": "application/json"}
NOTHING: dict[str, Any] = {"transferts": [], "anterieurs": Priors(), "conflits": {}}


async def under_way(desk: Desk, fhir: Fhir, id: str, here: Collection[str]) -> dict[str, Any]:
    """A page's `transferts`, `anterieurs` and `conflits` (exam → how many images came twice); `here`: the
    exams it has. Nothing where they cannot be asked."""
    try:
        asked, told, twice = await asyncio.gather(
            fhir.request("GET", "/dicom-web/transfers", params=[("request", id)], headers=JSON),
            fhir.request("GET", f"/dicom-web/requests/{quote(id, safe='')}/priors", headers=JSON),
            _disputed(fhir, here),
        )
        moved, found = asked.json(), told.json()
        if not (moved or found["priors"] or found["searches"]):
            return {**NOTHING, "conflits": twice}
        names = {str(one["id"]): str(one.get("name", "")) for one in await fhir.all("Endpoint", [])}
    except (FhirError, ValueError):
        return NOTHING
    return {
        "transferts": transfers.progress(moved, names, desk.now()),
        "anterieurs": priors(found, names, here),
        "conflits": twice,
    }


async def _disputed(fhir: Fhir, here: Collection[str]) -> dict[str, int]:
    if not here:
        return {}
    params = [("study", uid) for uid in here]
    found = (await fhir.request("GET", "/dicom-web/conflicts", params=params, headers=JSON)).json()
    return found if isinstance(found, dict) else {}
