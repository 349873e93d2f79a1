"""An exam follows its patient when two were merged: its subject is the one that stayed.

What the files say is not touched: they are served as they came (README, Decisions).
FHIR R4 patient.html#links
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from dicomweb.fhir import Fhir, put, transaction

BASE = "https://teledossier.example/fhir"
WORDS = "L'identité du patient a été réunie à une autre : l'examen suit."


def replaced_by(patient: dict[str, Any]) -> str:
    """The Patient that it was merged into, "" for none."""
    for link in patient.get("link", ()):
        if link.get("type") == "replaced-by":
            return str((link.get("other") or {}).get("reference", ""))
    return ""


async def follow(fhir: Fhir, patients: Iterable[dict[str, Any]], now: str) -> int:
    """The exams of those of these patients that were merged; returns how many moved. Again changes
    nothing."""
    moved = 0
    for patient in patients:
        stays = replaced_by(patient)
        if not stays.startswith("Patient/"):
            continue
        for study in await fhir.search("ImagingStudy", [("subject", f"Patient/{patient['id']}")]):
            follows = {**study, "subject": {"reference": stays}}
            await transaction(fhir, put(follows, study), put(provenance(study, stays, now), None))
            moved += 1
    return moved


def provenance(study: dict[str, Any], patient: str, now: str) -> dict[str, Any]:
    """A line in the timelines of the exam's télédossiers."""
    requests = [{"reference": one["reference"]} for one in study.get("basedOn", ()) if "reference" in one]
    digest = hashlib.sha256(f"merged\n{study['id']}\n{patient}".encode()).hexdigest()[:40]
    return {
        "resourceType": "Provenance",
        "id": f"exam-{digest}",
        "target": [*requests, {"reference": f"ImagingStudy/{study['id']}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": f"{BASE}/CodeSystem/step", "code": "exam-attached"}]},
        "reason": [{"text": WORDS}],
        "agent": [{"who": {"display": "Plateforme"}}],
    }
