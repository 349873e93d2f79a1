"""The DICOMweb addresses under /dicom-web. Each asks first whether the reader may see the study.

Errors are a status with a small JSON body; no patient data in them. Answers are `private`; instances never
change, so their ETag is the file's hash. PS3.18 §8.5 (status codes), §10.4, §10.6
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from dicomweb import (
    bulk,
    capabilities,
    delete,
    dicom_xml,
    media,
    methods,
    qido,
    retrieval,
    showing,
    stow,
    subscriptions,
    uri,
    worklist,
)
from dicomweb.dataset import is_uid
from dicomweb.dicom_xml import XML
from dicomweb.encodings import coding_of, decoded
from dicomweb.gateway.region.registry import sender
from dicomweb.images import Images
from dicomweb.index.contract import Level
from dicomweb.ingest import Arrival
from dicomweb.media import JSON
from dicomweb.visibility import visible
from dicomweb.web import (
    BASE,
    PRIVATE,
    Endpoint,
    accept_of,
    access_of,
    answered,
    dataset_answer,
    dataset_type,
    multipart_answer,
    names_of,
)
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Forbidden, Invalid

JSON_TYPES = (JSON, "application/json")
SEARCH_TYPES = (*JSON_TYPES, XML, "application/xml")
STUDY = BASE + "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"


def routes(images: Images) -> list[BaseRoute]:
    """STOW-RS, QIDO-RS and WADO-RS; `request.scope["access"]` is there (smart_launch.guard)."""
    searches: tuple[tuple[str, Level], ...] = (
        (BASE + "/studies", "study"),
        (BASE + "/series", "series"),
        (BASE + "/instances", "instance"),
        (STUDY + "/series", "series"),
        (STUDY + "/instances", "instance"),
        (SERIES + "/instances", "instance"),
    )
    made: list[BaseRoute] = [
        Route(path, answered(_search(images, level)), methods=["GET"]) for path, level in searches
    ]
    for path in (BASE + "/studies", STUDY):
        made.append(Route(path, answered(_store(images)), methods=["POST"]))
    for path in (STUDY, SERIES, INSTANCE):
        made += [
            Route(path, answered(retrieval.retrieve(images)), methods=["GET"]),
            Route(path + "/metadata", answered(retrieval.metadata(images)), methods=["GET"]),
            Route(path + "/bulkdata", answered(retrieval.all_bulk(images, ())), methods=["GET"]),
            Route(path + "/pixeldata", answered(retrieval.all_bulk(images, bulk.PIXELS)), methods=["GET"]),
            Route(path + "/thumbnail", answered(showing.thumbnail(images)), methods=["GET"]),
        ]
    for path in (STUDY, SERIES):
        made.append(Route(path + "/rendered", answered(showing.show_many(images)), methods=["GET"]))
    for path in (INSTANCE, FRAMES):
        made.append(Route(path + "/rendered", answered(showing.show_instance(images)), methods=["GET"]))
    made += [
        Route(FRAMES, answered(retrieval.retrieve_frames(images)), methods=["GET"]),
        Route(FRAMES + "/thumbnail", answered(showing.thumbnail(images)), methods=["GET"]),
        Route(INSTANCE + "/bulkdata/{path:path}", answered(retrieval.bulk_data(images)), methods=["GET"]),
    ]
    for path in (STUDY, SERIES, INSTANCE):
        made.append(Route(path, answered(delete.delete(images)), methods=["DELETE"]))
    made.append(Route(BASE + "/wado", answered(uri.retrieve(images)), methods=["GET"]))
    items, item = BASE + "/workitems", BASE + "/workitems/{workitem}"
    subscriber = item + "/subscribers/{subscriber}"
    made += [
        Route(items, answered(worklist.search(images)), methods=["GET"]),
        Route(items, answered(worklist.create(images)), methods=["POST"]),
        Route(item, answered(worklist.retrieve(images)), methods=["GET"]),
        Route(item, answered(worklist.update(images)), methods=["POST"]),
        Route(item + "/state", answered(worklist.change_state(images)), methods=["PUT"]),
        Route(item + "/cancelrequest", answered(worklist.cancel(images)), methods=["POST"]),
        Route(subscriber, answered(subscriptions.subscribe(images)), methods=["POST"]),
        Route(subscriber, answered(subscriptions.unsubscribe(images)), methods=["DELETE"]),
        Route(subscriber + "/suspend", answered(subscriptions.suspend(images)), methods=["POST"]),
        WebSocketRoute(BASE + "/subscribers/{subscriber}", subscriptions.open_channel(images)),
    ]
    made += capabilities.routes(images, tuple(made))
    return made + methods.rest(made)


def registered() -> list[BaseRoute]:
    """The same routes for who wants to know them only; none of them can be called."""
    return routes(cast(Images, None))


def _search(images: Images, level: Level) -> Endpoint:
    async def search(request: Request) -> Response:
        access = access_of(request)
        media_type = media.choose(accept_of(request), SEARCH_TYPES)
        path = names_of(request)
        if not all(map(is_uid, path.values())):
            return _rows([], media_type, {})
        asked = qido.parse(level, path, request.query_params.multi_items())
        asked = qido.narrowed(asked, await visible(images.store, access, asked.study_uids()))
        page = await anyio.to_thread.run_sync(qido.answer, images.index, asked, images.base)
        return _rows(page.rows, media_type, _warnings(images.base, page.more, asked.ignored))

    return search


def _warnings(base: str, more: int, ignored: Sequence[str]) -> dict[str, str]:
    """PS3.18 §10.6.3.2: a cut is said with what remains; a key that was not used is said too."""
    texts = []
    if more:
        count = more if more < qido.COUNTED else f"{more} or more"
        texts.append(f"There are {count} additional results that can be requested")
    if names := [name for name in ignored if name.isascii() and name.isalnum()]:
        texts.append(f"Not used for matching: {', '.join(names)[:200]}")
    elif ignored:
        texts.append("Some parameters are not attributes; they were not used for matching")
    return {"Warning": ", ".join(f'299 {base} "{text}"' for text in texts)} if texts else {}


def _rows(rows: list[dict[str, Any]], media_type: str, headers: Mapping[str, str]) -> Response:
    """204 when nothing was found. PS3.18 §10.6.3.1; Table 10.6.3-2 (XML: one part a result)"""
    headers = {"Cache-Control": PRIVATE, "Vary": "Accept", **headers}
    if not rows:
        return Response(None, 204, headers)
    if media_type in JSON_TYPES:
        return Response(orjson.dumps(rows), 200, headers, media_type)
    documents = map(dicom_xml.dump, rows)
    return multipart_answer((media.Part(XML, one, len(one)) for one in documents), XML, headers)


def _store(images: Images) -> Endpoint:
    async def store(request: Request) -> Response:
        access = access_of(request)
        if not access.allows("ImagingStudy", "c") or access.audience is not None:
            raise Forbidden("not-allowed", "storing needs a system's token with the scope ImagingStudy.c")
        study = names_of(request).get("study", "")
        if study and not is_uid(study):
            raise Invalid("bad-uid", "the address names no Study Instance UID")
        media_type = dataset_type(request)
        client = access.subject.rpartition("/")[2]
        gateway = await sender(images.store, access)
        source = gateway.organization.rpartition("/")[2] if gateway else client.lower()
        arrival = Arrival(utc_microseconds(), source=source, study=study, gateway=client)
        header = request.headers.get("content-type", "")
        body = decoded(request.stream(), coding_of(request.headers.get("content-encoding", "")))
        receipts = await stow.store(images, body, header, arrival)
        return dataset_answer(stow.answer(receipts, images.base, study), media_type, stow.status_of(receipts))

    return store
