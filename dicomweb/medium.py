"""What the portal asks before it sends the files of a CD, a folder or an archive.

    POST /dicom-web/requests/{request}/identity  {patients: [{name, birth, ids: [{value, issuer}]}]} →
                                                 [{verdict: same | differs | unknown, by}], in the same order
    POST /dicom-web/requests/{request}/known     {instances: {SOP Instance UID: SHA-256}} → {known: [UID]}

Whose images a medium carries is judged here, by the rules that judge again when they have come. An instance
is known to who shows its hash: who does not hold the file learns nothing; its study is wanted as if it had
been sent. R089
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb import association
from dicomweb.association import Exam
from dicomweb.dataset import is_uid
from dicomweb.identity import FINESS_SYSTEM, Identifier, finess_issuers, identifiers, ins_of
from dicomweb.images import Images
from dicomweb.index.contract import PatientId
from dicomweb.transfers import sites
from dicomweb.web import Endpoint, access_of, answered, json_answer, small_body
from dicomweb.wishes import REQUEST, want
from fhir_server.search.nodes import Select, Token
from fhir_server.store.contract import Store
from profiles.outcomes import Invalid

MOST_PATIENTS = 200
MOST_INSTANCES = 200
MOST_BODY = 100_000  # bytes
_SHA256 = re.compile(r"[0-9a-f]{64}")


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [
        Route(REQUEST + "/identity", answered(_compare(images)), methods=["POST"]),
        Route(REQUEST + "/known", answered(_known(images)), methods=["POST"]),
    ]


def _compare(images: Images) -> Endpoint:
    async def compare(request: Request) -> Response:
        access = access_of(request)
        found = await sites.open_request(images.store, access, str(request.path_params["request"]))
        patient = await sites.patient_of(images.store, found)
        shown = (await small_body(request, MOST_BODY)).get("patients")
        if not isinstance(shown, list) or len(shown) > MOST_PATIENTS:
            raise Invalid("bad-patients", f"patients is a list of at most {MOST_PATIENTS}")
        exams = [_shown(one) for one in shown]
        every = [one for _exam, ids in exams for one in ids]
        organisations = await _organisations(images.store, every)
        return json_answer([_verdict(exam, ids, organisations, patient) for exam, ids in exams])

    return compare


def _shown(one: object) -> tuple[Exam, list[PatientId]]:
    """A patient as the medium has them: name in the form of DICOM, birth YYYYMMDD. Raises Invalid."""
    if not isinstance(one, dict) or not isinstance(one.get("ids", []), list):
        raise Invalid("bad-patients", "a patient is {name, birth, ids: [{value, issuer}]}")
    birth = str(one.get("birth", ""))
    birth = f"{birth[:4]}-{birth[4:6]}-{birth[6:]}" if re.fullmatch(r"[0-9]{8}", birth) else ""
    ids = [
        PatientId(str(id.get("value", ""))[:64].strip(), str(id.get("issuer", ""))[:128].strip())
        for id in one.get("ids", [])[:20]
        if isinstance(id, dict)
    ]
    return Exam("", name=str(one.get("name", ""))[:300], birth=birth), [id for id in ids if id.value]


async def _organisations(store: Store, ids: Sequence[PatientId]) -> dict[str, str]:
    """FINESS → organisation id, for the issuers written so."""
    wanted = sorted(finess_issuers(ids))[:50]
    if not wanted:
        return {}
    where = Token("identifier", tuple((FINESS_SYSTEM, finess) for finess in wanted))
    found = {}
    for row in await store.search(Select("Organization", where, count=100)):
        body = sites.body_of(row.version)
        for one in body.get("identifier", ()):
            if one.get("system") == FINESS_SYSTEM and one.get("value") in wanted:
                found[str(one["value"])] = str(body["id"])
    return found


def _verdict(
    exam: Exam, ids: Sequence[PatientId], organisations: Mapping[str, str], patient: dict[str, Any]
) -> dict[str, str]:
    known: tuple[Identifier, ...] = identifiers(ids, organisations)
    verdict, by = association.compared(
        Exam("", ins=ins_of(known), name=exam.name, birth=exam.birth), known, patient
    )
    return {"verdict": verdict, "by": by}


def _known(images: Images) -> Endpoint:
    async def known(request: Request) -> Response:
        await sites.open_request(images.store, access_of(request), str(request.path_params["request"]))
        shown = (await small_body(request, MOST_BODY)).get("instances")
        if not isinstance(shown, dict) or len(shown) > MOST_INSTANCES:
            raise Invalid("bad-instances", f"instances is an object of at most {MOST_INSTANCES} members")
        if not all(is_uid(uid) and _SHA256.fullmatch(str(digest)) for uid, digest in shown.items()):
            raise Invalid("bad-instances", "each member is a SOP Instance UID and a SHA-256")
        here = await asyncio.to_thread(_here, images, shown)
        await want(images, request, here.values())
        return json_answer({"known": list(here)})

    return known


def _here(images: Images, shown: Mapping[str, str]) -> dict[str, str]:
    """Instance → study, of those stored with that very content. Blocking."""
    found = {uid: images.index.file(uid) for uid in shown}
    return {uid: file.study for uid, file in found.items() if file is not None and file.sha256 == shown[uid]}
