"""Which series of an exam a télédossier sends to its recipients' PACS: chosen before it is sent.

    GET /dicom-web/requests/{request}/sending                the exams and their series, most useful first
    PUT /dicom-web/requests/{request}/sending/{study}        {series: [UID, …]}; none or all of them = all

All of them, unless somebody chose; what is chosen holds for the relays that begin afterwards. Once the
télédossier is sent, the choice is closed. D5, R080–R082
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.dataset import is_uid
from dicomweb.images import Images
from dicomweb.transfers import sites
from dicomweb.transfers.relaying import study_uid
from dicomweb.transfers.usefulness import described, in_order
from dicomweb.web import Endpoint, access_of, answered, json_answer, small_body
from dicomweb.wishes import REQUEST
from fhir_server.search.nodes import Reference, Select
from profiles.outcomes import Conflict, Invalid, NotFound

MOST = 100  # exams of a télédossier


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [
        Route(REQUEST + "/sending", answered(_show(images)), methods=["GET"]),
        Route(REQUEST + "/sending/{study}", answered(_choose(images)), methods=["PUT"]),
    ]


def _show(images: Images) -> Endpoint:
    async def show(request: Request) -> Response:
        id = str(request.path_params["request"])
        await sites.request_for(images.store, access_of(request), id)
        found = [await asyncio.to_thread(_described, images, id, one) for one in await _exams(images, id)]
        return json_answer(found)

    return show


def _described(images: Images, request: str, study: str) -> dict[str, Any]:
    chosen = images.queue.selected(request, study)
    known = {one.uid: one for one in images.index.series_of(study)}
    series = [described(one.attributes, one.uid, one.instance_count) for one in known.values()]
    by_uid = {one.uid: one for one in series}
    return {
        "study": study,
        "series": [
            {
                "uid": uid, "description": by_uid[uid].description, "modality": by_uid[uid].modality,
                "number": by_uid[uid].number, "images": by_uid[uid].images,
                "chosen": not chosen or uid in chosen,
            }
            for uid in in_order(series)
        ],
    }  # fmt: skip


def _choose(images: Images) -> Endpoint:
    async def choose(request: Request) -> Response:
        id, study = str(request.path_params["request"]), str(request.path_params["study"])
        found = await sites.open_request(images.store, access_of(request), id)
        if found.get("status") != "draft":
            raise Conflict("already-sent", "the series are chosen before the télédossier is sent")
        if study not in await _exams(images, id):
            raise NotFound("no-such-exam", "no such exam in this télédossier")
        asked = (await small_body(request)).get("series")
        if not isinstance(asked, list) or not all(isinstance(one, str) and is_uid(one) for one in asked):
            raise Invalid("bad-selection", "series is a list of UIDs")
        known = {one.uid for one in await asyncio.to_thread(images.index.series_of, study)}
        if strange := set(asked) - known:
            raise Invalid("bad-selection", f"{len(strange)} of these series are not in the exam")
        chosen = () if set(asked) == known else tuple(sorted(set(asked)))
        await asyncio.to_thread(images.queue.select, id, study, chosen)
        return Response(None, 204)

    return choose


async def _exams(images: Images, request: str) -> list[str]:
    where = Reference("basedon", (f"ServiceRequest/{request}",))
    rows = await images.store.search(Select("ImagingStudy", where, count=MOST))
    found = (study_uid(orjson.loads(row.version.body or b"{}")) for row in rows)
    return sorted({uid for uid in found if uid})
