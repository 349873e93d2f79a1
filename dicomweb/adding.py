"""Images that a person puts into a télédossier: files of their computer, an exam that is here, one made here.

    POST /dicom-web/requests/{request}/exams     {study}: an exam of the platform that this person sees
    POST /dicom-web/requests/{request}/studies   STOW-RS; what is stored is wanted in that télédossier
    POST /dicom-web/requests/{request}/created   form: description, series, files → a new exam (`creating`)

What comes is attached by the worker when the identities agree, else proposed. R087–R091, R096
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb import creating, stow
from dicomweb.dataset import is_uid
from dicomweb.files import SLOW_SPOOL
from dicomweb.images import Images
from dicomweb.ingest import Arrival, receive
from dicomweb.transfers import sites
from dicomweb.visibility import may_see
from dicomweb.web import BASE, PRIVATE, Endpoint, absent, access_of, answered, dataset_answer, dataset_type
from profiles.outcomes import Invalid, TooLarge

REQUEST = BASE + "/requests/{request}"
MOST_FILES = 100
MOST_BYTES = 100_000_000  # of one photo or document
CHUNK = 1 << 18


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [
        Route(REQUEST + "/exams", answered(_choose(images)), methods=["POST"]),
        Route(REQUEST + "/studies", answered(_store(images)), methods=["POST"]),
        Route(REQUEST + "/created", answered(_create(images)), methods=["POST"]),
    ]


async def _want(images: Images, request: Request, studies: Iterable[str]) -> None:
    access, id = access_of(request), str(request.path_params["request"])
    for study in dict.fromkeys(studies):
        await asyncio.to_thread(images.queue.wish, study, id, access.subject, time.time_ns() // 1000)


def _choose(images: Images) -> Endpoint:
    async def choose(request: Request) -> Response:
        access = access_of(request)
        await sites.open_request(images.store, access, str(request.path_params["request"]))
        try:
            study = str(orjson.loads(await request.body())["study"])
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            raise Invalid("bad-json", "the body is {study: UID}") from error
        if not is_uid(study) or not await may_see(images.store, access, study):
            raise absent()
        await _want(images, request, (study,))
        return Response(None, 202)

    return choose


def _store(images: Images) -> Endpoint:
    async def store(request: Request) -> Response:
        access = access_of(request)
        await sites.open_request(images.store, access, str(request.path_params["request"]))
        media_type = dataset_type(request)
        arrival = Arrival(time.time_ns() // 1000, source=access.subject.rpartition("/")[2].lower())
        header = request.headers.get("content-type", "")
        receipts = await stow.store(images, request.stream(), header, arrival)
        await _want(images, request, (one.study for one in receipts if one.study and one.reason is None))
        return dataset_answer(stow.answer(receipts, images.base, ""), media_type, stow.status_of(receipts))

    return store


def _create(images: Images) -> Endpoint:
    async def create(request: Request) -> Response:
        access = access_of(request)
        found = await sites.open_request(images.store, access, str(request.path_params["request"]))
        patient = await sites.patient_of(images.store, found)
        async with request.form(max_files=MOST_FILES, max_fields=10) as form:
            files = [one for one in form.getlist("file") if isinstance(one, UploadFile) and one.size]
            title, series = (str(form.get(name) or "").strip() for name in ("description", "series"))
            if not files or not 0 < len(title) <= 64 or len(series) > 64:
                raise Invalid("bad-exam", "needed: files, and a description of at most 64 characters")
            spooled = [await _spooled(images, one) for one in files]
        exam = creating.Exam(patient, title, series, access.subject)
        try:
            made = await asyncio.to_thread(creating.make, exam, spooled, images)
        finally:
            for path in spooled:
                path.unlink(missing_ok=True)
        source = access.subject.rpartition("/")[2].lower()
        for path in made:
            receipt = await asyncio.to_thread(
                receive, path, Arrival(time.time_ns() // 1000, source=source), images.files, images.index
            )
            if receipt.reason is not None:
                raise Invalid(receipt.reason.slug, receipt.reason.comment)
        await _want(images, request, (exam.study,))
        body = orjson.dumps({"study": exam.study, "instances": len(made)})
        return Response(body, 201, {"Cache-Control": PRIVATE}, "application/json")

    return create


async def _spooled(images: Images, file: UploadFile) -> Path:
    """Raises TooLarge."""
    path = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    size = 0
    with path.open("wb") as target:
        while chunk := await file.read(CHUNK):
            size += len(chunk)
            if size > MOST_BYTES:
                path.unlink()
                raise TooLarge("too-large", f"a photo or document has at most {MOST_BYTES // 10**6} MB")
            await asyncio.to_thread(target.write, chunk)
    return path
