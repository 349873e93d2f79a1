"""What every page needs at hand: the way to FHIR, the reader, the directory, the clock and the zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from starlette.requests import Request
from starlette.types import ASGIApp

from smart_launch.app.fhir import Fhir, Json
from smart_launch.app.views.definitions import Definitions
from smart_launch.app.views.people import Directory, DirectorySource, Me, identify


@dataclass(frozen=True, slots=True)
class Desk:
    """Made once by `routes`. The two caches hold the directory and the definitions, open to every signed-in
    reader.
    """

    app_ref: Callable[[], ASGIApp]
    zone: tzinfo
    directory: DirectorySource = field(default_factory=DirectorySource)
    definitions: Definitions = field(default_factory=Definitions)

    def fhir(self, request: Request) -> Fhir:
        return Fhir.of(request, self.app_ref)

    def now(self) -> datetime:
        return datetime.now(self.zone)

    async def me(self, request: Request, fhir: Fhir) -> tuple[Me, Directory]:
        """The reader, from the Access the guard put in the request."""
        access = request.scope.get("access")
        subject = str(getattr(access, "subject", "") or "")
        audience: frozenset[str] | None = getattr(access, "audience", frozenset())
        return await identify(fhir, self.directory, subject, audience)


__all__ = ["Desk", "Json"]
