"""Images that a person puts into a télédossier: files of their computer, an exam that is here, one made here.

    POST /dicom-web/requests/{request}/exams     {study}: an exam of the platform that this person sees
    POST /dicom-web/requests/{request}/studies   STOW-RS; what is stored is wanted in that télédossier
    POST /dicom-web/requests/{request}/created   form: description, series, date (YYYY-MM-DD), body-part,
                                                 side, files → a new exam (`creating`)

What comes is attached by the worker when the identities agree, else proposed. R087–R091, R096
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb import creating, form, stow
from dicomweb.dataset import is_uid
from dicomweb.images import Images
from dicomweb.ingest import Arrival, receive
from dicomweb.transfers import sites
from dicomweb.visibility import may_see
from dicomweb.web import (
    PRIVATE,
    Endpoint,
    absent,
    access_of,
    answered,
    dataset_answer,
    dataset_type,
    small_body,
)
from dicomweb.wishes import REQUEST, want
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Invalid


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [
        Route(REQUEST + "/exams", answered(_choose(images)), methods=["POST"]),
        Route(REQUEST + "/studies", answered(_store(images)), methods=["POST"]),
        Route(REQUEST + "/created", answered(_create(images)), methods=["POST"]),
    ]


def _choose(images: Images) -> Endpoint:
    async def choose(request: Request) -> Response:
        access = access_of(request)
        await sites.open_request(images.store, access, str(request.path_params["request"]))
        study = (await small_body(request)).get("study")
        if not isinstance(study, str):
            raise Invalid("bad-json", "the body is {study: UID}")
        if not is_uid(study) or not await may_see(images.store, access, study):
            raise absent()
        await want(images, request, (study,))
        return Response(None, 202)

    return choose


def _store(images: Images) -> Endpoint:
    async def store(request: Request) -> Response:
        access = access_of(request)
        await sites.open_request(images.store, access, str(request.path_params["request"]))
        media_type = dataset_type(request)
        arrival = Arrival(utc_microseconds(), source=access.subject.rpartition("/")[2].lower())
        header = request.headers.get("content-type", "")
        receipts = await stow.store(images, request.stream(), header, arrival)
        await want(images, request, (one.study for one in receipts if one.study and one.reason is None))
        return dataset_answer(stow.answer(receipts, images.base, ""), media_type, stow.status_of(receipts))

    return store


def _create(images: Images) -> Endpoint:
    async def create(request: Request) -> Response:
        access = access_of(request)
        found = await sites.open_request(images.store, access, str(request.path_params["request"]))
        patient = await sites.patient_of(images.store, found)
        author = await sites.name_of(images.store, access.subject)
        requester = await sites.name_of(images.store, str(found.get("requester", {}).get("reference", "")))
        async with form.received(request, images.files) as given:
            exam = _wanted(
                given.fields, creating.Exam(patient, "", "", author, requester, sites.number_of(found))
            )
            if not given.files:
                raise Invalid("bad-exam", "needed: files, and a description of at most 64 characters")
            made = await asyncio.to_thread(creating.make, exam, given.files, images)
        source = access.subject.rpartition("/")[2].lower()
        for path in made:
            receipt = await asyncio.to_thread(
                receive, path, Arrival(utc_microseconds(), source=source), images.files, images.index
            )
            if receipt.reason is not None:
                raise Invalid(receipt.reason.slug, receipt.reason.comment)
        await want(images, request, (exam.study,))
        body = orjson.dumps({"study": exam.study, "instances": len(made)})
        return Response(body, 201, {"Cache-Control": PRIVATE}, "application/json")

    return create


def _is_line(text: str) -> bool:
    """Whether a value of VR LO can hold it, and a reader sees it as it is; French has hard spaces. PS3.5
    Table 6.2-1"""
    return text.translate({0xA0: " ", 0x202F: " "}).isprintable() and "\\" not in text


def _wanted(given: Mapping[str, str], exam: creating.Exam) -> creating.Exam:
    """The exam as the form describes it. Raises Invalid."""
    title, series = given.get("description", ""), given.get("series", "")
    if not 0 < len(title) <= 64 or len(series) > 64 or not _is_line(title + series):
        raise Invalid("bad-exam", "needed: files, and a description of at most 64 characters")
    try:
        day = date.fromisoformat(given["date"]) if given.get("date") else None
    except ValueError as error:
        raise Invalid("bad-date", "the date is YYYY-MM-DD") from error
    if day and not date(1900, 1, 1) <= day <= exam.at.date():
        raise Invalid("bad-date", "the date of the exam is not after today")
    part, side = given.get("body-part", ""), given.get("side", "")
    if part not in ("", *creating.BODY_PARTS) or side not in ("", *creating.SIDES):
        known = f"body-part: {', '.join(creating.BODY_PARTS)}; side: {', '.join(creating.SIDES)}"
        raise Invalid("bad-place", known)
    return replace(exam, title=title, series=series, day=day, body_part=part, side=side)
