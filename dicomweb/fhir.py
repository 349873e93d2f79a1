"""What the work on images needs of the FHIR write path, and how its transactions are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from profiles.outcomes import Gone, NotFound


class Fhir(Protocol):
    """The FHIR write path, as `fhir_server.interactions.fhir.Fhir` offers it."""

    async def read(self, type: str, id: str) -> dict[str, Any]: ...

    async def search(
        self, type: str, params: Sequence[tuple[str, str]] = (), *, limit: int = 1000
    ) -> list[dict[str, Any]]: ...

    async def transaction(self, bundle: dict[str, Any]) -> dict[str, Any]: ...


async def current_study(fhir: Fhir, uid: str) -> dict[str, Any] | None:
    """The ImagingStudy as it is now; None when there is none, or none any more."""
    try:
        return await fhir.read("ImagingStudy", uid)
    except (NotFound, Gone):
        return None


async def transaction(fhir: Fhir, *entries: dict[str, Any]) -> None:
    """All of them, or nothing."""
    await fhir.transaction({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})


def put(resource: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
    """A transaction entry; the current version, when there is one, must still be the one that was read."""
    request = {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
    version = (current or {}).get("meta", {}).get("versionId")
    if version:
        request["ifMatch"] = f'W/"{version}"'
    return {"resource": resource, "request": request}


def escape(value: str) -> str:
    """For a search parameter's value. FHIR R4 search.html#escaping"""
    return "".join(f"\\{c}" if c in "\\,$|" else c for c in value)
