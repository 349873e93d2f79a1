"""The workflows' own data, Questionnaires and PlanDefinitions, fetched once and kept a minute."""

from __future__ import annotations

import time

from smart_launch.app.fhir import Fhir, FhirError, Json


class Definitions:
    """`Questionnaire/<workflow>` and `PlanDefinition/<workflow>`, remembered for `ttl` seconds."""

    def __init__(self, ttl: float = 60.0) -> None:
        self._ttl = ttl
        self._known: dict[str, tuple[float, Json]] = {}

    async def get(self, fhir: Fhir, type: str, workflow: str) -> Json:
        """The definition, or `{}` when the server has none for this workflow."""
        key = f"{type}/{workflow}"
        if key in self._known and self._known[key][0] > time.monotonic():
            return self._known[key][1]
        try:
            found = await fhir.read(type, workflow) if workflow else {}
        except FhirError as error:
            if error.status not in (404, 410):
                raise
            found = {}
        self._known[key] = (time.monotonic() + self._ttl, found)
        return found
