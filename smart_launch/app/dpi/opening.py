"""From what the DPI told to an open draft: the person's role there, an earlier draft of the same, else
`$start`.

All of it over the platform's own FHIR as that person, so the launch has no right of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from smart_launch.app.dpi.issuers import Issuer
from smart_launch.app.dpi.ports import Json, Platform
from smart_launch.app.dpi.record import BASE, INS
from smart_launch.app.dpi.refusals import Stopped
from smart_launch.app.fhir import Fhir, FhirError
from smart_launch.clock import SECOND

LOCK, LOCK_LIFE = "dpi-opening", 20 * SECOND
ASKING = ("requerant", "auteur-delegue", "secretariat-requerant", "manipulateur", "requis")
"""The functions under which a file is opened, the most fitting first."""
MOST_DRAFTS = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to open: our Patient and Encounter, not stored yet; `workflow` "" when the person is to choose."""

    patient: Json
    encounter: Json | None
    workflow: str
    title: str = ""


async def author_role(fhir: Fhir, issuer: Issuer, practitioner: str) -> str:
    """The reference of the person's PractitionerRole at the DPI's establishment, a community's before a
    service's. Raises Stopped."""
    try:
        found = await fhir.all(
            "PractitionerRole",
            [("practitioner", f"Practitioner/{practitioner}"), ("_include", "PractitionerRole:organization")],
        )
        ranked = [
            (rank, role["id"])
            for role in found
            if role.get("active", True) and (rank := await _rank(fhir, issuer, role)) is not None
        ]
    except FhirError as error:
        raise Stopped("ouverture-refusee", f"PractitionerRole: {error}") from error
    if not ranked:
        raise Stopped("sans-fonction", "no role at the organization of the DPI")
    return f"PractitionerRole/{min(ranked)[1]}"


async def _rank(fhir: Fhir, issuer: Issuer, role: Json) -> tuple[int, int] | None:
    """How well a role fits; None for another establishment's."""
    reference = role.get("organization", {}).get("reference", "")
    if not reference.startswith("Organization/"):
        return None
    own = f"Organization/{issuer.organization}"
    organization = await fhir.read("Organization", reference.partition("/")[2])
    if own not in (reference, organization.get("partOf", {}).get("reference")):
        return None
    codes = set(_codes(role.get("code", [])))
    function = next((place for place, code in enumerate(ASKING) if code in codes), len(ASKING))
    community = "communaute" in set(_codes(organization.get("type", [])))
    return (0 if community else 1, function)


def _codes(concepts: Iterable[Json]) -> list[str]:
    return [
        coding["code"] for concept in concepts for coding in concept.get("coding", []) if "code" in coding
    ]


async def open_draft(platform: Platform, fhir: Fhir, role: str, wanted: Wanted) -> str:
    """The id of the draft: the one there is, else a new one. Two clicks at once open one draft. Raises
    Stopped."""
    async with _alone(platform, role, wanted):
        return await find_draft(fhir, role, wanted) or await _start(fhir, role, wanted)


async def find_draft(fhir: Fhir, role: str, wanted: Wanted) -> str | None:
    """A draft by the same author for the same patient and venue, of the wanted workflow if one is wanted;
    the newest."""
    params = [
        ("status", "draft"),
        ("_include", "ServiceRequest:patient"),
        ("_include", "ServiceRequest:encounter"),
    ]
    try:
        page = await fhir.search("ServiceRequest", params)
        drafts, included = page.matches, page.included
        while page.next and len(drafts) < MOST_DRAFTS:
            page = await fhir.follow("ServiceRequest", page.next)
            drafts, included = drafts + page.matches, included + page.included
    except FhirError as error:
        raise Stopped("ouverture-refusee", f"drafts: {error}") from error
    by_reference = {f"{one.get('resourceType')}/{one.get('id')}": one for one in included}
    for draft in drafts:
        patient = by_reference.get(draft.get("subject", {}).get("reference", ""), {})
        encounter = by_reference.get(draft.get("encounter", {}).get("reference", ""))
        if (
            _author(draft) == role
            and _same_patient(patient, wanted.patient)
            and _numbers(encounter) == _numbers(wanted.encounter)
            and (not wanted.workflow or wanted.workflow in _codes(draft.get("category", [])))
        ):
            return str(draft["id"])
    return None


async def _start(fhir: Fhir, role: str, wanted: Wanted) -> str:
    parameters: list[Json] = [
        {"name": "workflow", "valueCode": wanted.workflow},
        {"name": "patient", "resource": wanted.patient},
        {"name": "author", "valueReference": {"reference": role}},
    ]
    if wanted.encounter is not None:
        parameters.append({"name": "encounter", "resource": wanted.encounter})
    if wanted.title:
        parameters.append({"name": "title", "valueString": wanted.title})
    try:
        made = await fhir.operation("ServiceRequest/$start", parameters)
    except FhirError as error:
        raise Stopped("ouverture-refusee", f"$start: {error} {' '.join(error.slugs)}") from error
    if not made.get("id"):
        raise Stopped("ouverture-refusee", "$start answered no ServiceRequest")
    return str(made["id"])


@asynccontextmanager
async def _alone(platform: Platform, role: str, wanted: Wanted) -> AsyncIterator[None]:
    """One opening at a time for one author and patient, across processes; a lost lock opens by itself."""
    key = hashlib.sha256(repr((role, sorted(_numbers(wanted.patient)))).encode()).hexdigest()
    with anyio.move_on_after(LOCK_LIFE / SECOND):
        # The other opening may be in another process: there is no event to wait for.
        while not await platform.records.put_record(  # noqa: ASYNC110
            LOCK, key, {}, expires=platform.clock() + LOCK_LIFE, only_if_absent=True
        ):
            await anyio.sleep(0.05)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await platform.records.delete_record(LOCK, key)


def _author(draft: Json) -> str:
    url = f"{BASE}/StructureDefinition/author"
    found: Any = next((one for one in draft.get("extension", []) if one.get("url") == url), {})
    return str(found.get("valueReference", draft.get("requester", {})).get("reference", ""))


def _same_patient(one: Json, other: Json) -> bool:
    """By INS where both have one, else by a common local number. Never by name."""
    ins_one, ins_other = (
        {number for number in _numbers(patient) if number[0] in INS} for patient in (one, other)
    )
    if ins_one and ins_other:
        return bool(ins_one & ins_other)
    return bool(_numbers(one) & _numbers(other))


def _numbers(resource: Json | None) -> frozenset[tuple[str, str]]:
    return frozenset(
        (str(one.get("system")), str(one.get("value"))) for one in (resource or {}).get("identifier", [])
    )
