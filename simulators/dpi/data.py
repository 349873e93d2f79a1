"""The small hospital records of every establishment, read from the demonstration scenario.

The scenario is data of the project; this process shares nothing else with the platform. Ids are opaque and
stable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

URGENT = {"avc_aigu": "avis-avc-aigu", "avis_urgences": "avis-urgences"}
REASONS = {
    "avc_aigu": "Suspicion d'AVC",
    "avis_urgences": "Traumatisme crânien sous anticoagulant",
    "transfert_imagerie": "Bilan d'extension, présentation en RCP",
    "avis_generique": "Bilan de palpitations",
    "rcp_greffe_renale": "Bilan prégreffe",
}
SEXES = {"M": "male", "F": "female"}


@dataclass(frozen=True, slots=True)
class Service:
    """A unit of an establishment, by its UF number."""

    uf: str
    name: str


@dataclass(frozen=True, slots=True)
class Professional:
    """Someone who works there. Without RPPS the local number identifies them."""

    id: str
    prefix: str
    family: str
    given: str
    job: str
    uf: str | None
    rpps: str | None
    local: str | None
    phone: str | None

    @property
    def name(self) -> str:
        return f"{self.prefix} {self.given} {self.family}"


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of one establishment, with the venue that is open now. `intent` is the workflow that the
    record proposes by itself, "" when the professional is to choose. `birth` is an ISO date."""

    id: str
    ipp: str
    family: str
    given: str
    sex: str
    birth: str
    city: str | None
    ins: str | None
    identity: str
    venue: str
    venue_id: str
    uf: str
    reason: str
    arrived: str
    intent: str
    used_name: str | None = None


@dataclass(frozen=True, slots=True)
class Establishment:
    """One establishment: who works there and who is cared for."""

    id: str
    name: str
    finess: str
    services: Mapping[str, Service] = field(default_factory=dict)
    professionals: Mapping[str, Professional] = field(default_factory=dict)
    patients: Mapping[str, Patient] = field(default_factory=dict)

    def service_name(self, uf: str | None) -> str:
        service = self.services.get(uf or "")
        return service.name if service else ""


def load(path: Path, now: datetime | None = None) -> dict[str, Establishment]:
    """Every establishment of the scenario that has professionals, in the scenario's order."""
    scenario = yaml.safe_load(path.read_text("utf-8"))
    at = now or datetime.now(ZoneInfo(scenario["meta"]["fuseau"]))
    made = (_establishment(scenario, row, at) for row in scenario["organisations"])
    return {one.id: one for one in made if one.professionals}


def _establishment(scenario: Mapping[str, Any], row: Mapping[str, Any], at: datetime) -> Establishment:
    org = row["id"]
    services = {s["uf"]: Service(s["uf"], s["nom"]) for s in scenario["services"] if s["org"] == org}
    people = [p for p in scenario["professionnels"] if p.get("org") == org and p.get("compte", True)]
    files = {file["patient"]: file for file in scenario["teledossiers"]}
    authors = {p["id"]: p for p in people}
    patients = [
        _patient(org, patient, files.get(patient["id"]), authors, services, at)
        for patient in scenario["patients"]
        if org in patient["ipp"]
    ]
    return Establishment(
        org,
        row["nom"],
        row["finess"],
        services,
        {one.id: one for one in map(_professional, people)},
        {one.id: one for one in patients},
    )


def _professional(row: Mapping[str, Any]) -> Professional:
    return Professional(
        f"ps-{row['id']}",
        row["civ"],
        row["nom"],
        row["prenom"],
        row["metier"],
        row.get("uf"),
        row.get("rpps"),
        row.get("id_local"),
        row.get("tel"),
    )


def _patient(
    org: str,
    row: Mapping[str, Any],
    file: Mapping[str, Any] | None,
    authors: Mapping[str, Mapping[str, Any]],
    services: Mapping[str, Service],
    at: datetime,
) -> Patient:
    """The venue is the one of the scenario's request where this establishment is the one that asks."""
    author = authors.get(file["auteur"]) if file else None
    workflow = file["workflow"] if file and author else ""
    uf = str(author["uf"]) if author else next(iter(services), "")
    minutes = 20 if workflow in URGENT else 24 * 60
    return Patient(
        id=_opaque(org, row["id"]),
        ipp=row["ipp"][org],
        family=row["nom"],
        given=row["prenom"],
        sex=SEXES.get(row["sexe"], "unknown"),
        birth=row["naissance"],
        city=row["ne_a"],
        ins=row["ins"],
        identity=row["identite"],
        venue=f"{org.upper()}-V-{_opaque('venue', org, row['id'])[:6]}",
        venue_id=_opaque("venue", org, row["id"]),
        uf=uf,
        reason=REASONS.get(workflow, "Consultation"),
        arrived=(at - timedelta(minutes=minutes)).replace(microsecond=0).isoformat(),
        intent=URGENT.get(workflow, ""),
        used_name=row.get("nom_utilise"),
    )


def _opaque(*parts: str) -> str:
    """A stable id that tells nothing: nothing about a person may stand in an address."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]
