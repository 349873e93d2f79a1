"""The transfers of a télédossier that are not well ended, for every page that shows its exams."""

from __future__ import annotations

from smart_launch.app.desk import Desk
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.app.views import transfers
from smart_launch.app.views.transfers import Progress

JSON = {"accept": "application/json"}


async def under_way(desk: Desk, fhir: Fhir, id: str) -> list[Progress]:
    """The transfers of a télédossier that are not well ended; none where they cannot be asked."""
    try:
        asked = await fhir.request("GET", "/dicom-web/transfers", params=[("request", id)], headers=JSON)
        found = asked.json()
        if not found:
            return []
        names = {str(one["id"]): str(one.get("name", "")) for one in await fhir.all("Endpoint", [])}
    except (FhirError, ValueError):
        return []
    return transfers.progress(found, names, desk.now())
