"""Changed duplicates, for a person to judge: what came under a SOP Instance UID that has other content.

    GET  /dicom-web/conflicts?study=…&study=…            how many of each that has some; JSON
    GET  /dicom-web/studies/{study}/conflicts            those of a study, with what differs; JSON
    POST /dicom-web/studies/{study}/conflicts            {"numbers": […], "serve": "first" | "new",
                                                         "reason": "…"} → {"decided": how many}
    POST /dicom-web/studies/{study}/conflicts/{number}   {"serve", "reason"} → 204

Whoever sees the study sees those of its instances; a person who sees it, or a system that may store images,
decides. What is not served any more is masked with the trace; its file stays. Content that says it is of
another study can only be put aside for good: it may be somebody else's study. No part of DICOMweb.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.dataset import is_uid
from dicomweb.images import Images
from dicomweb.index.contract import Aside, Trace
from dicomweb.visibility import visible
from dicomweb.web import BASE, Endpoint, absent, access_of, admit, answered, json_answer, small_body
from fhir_server.access import Access
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Conflict, Forbidden, Invalid

MOST_REASON = 200
MOST_STUDIES = 50
MOST_BODY = 1_000_000  # bytes of the numbers of an exam's images
AT_ONCE = 100  # decided in one transaction


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there."""
    path = BASE + "/studies/{study}/conflicts"
    return [
        Route(BASE + "/conflicts", answered(_counted(images)), methods=["GET"]),
        Route(path, answered(_listed(images)), methods=["GET"]),
        Route(path, answered(_decide_all(images)), methods=["POST"]),
        Route(path + "/{number}", answered(_decide(images)), methods=["POST"]),
    ]


def _counted(images: Images) -> Endpoint:
    async def counted(request: Request) -> Response:
        asked = [one for one in request.query_params.getlist("study")[:MOST_STUDIES] if is_uid(one)]
        seen = await visible(images.store, access_of(request), asked)
        wanted = asked if seen is None else [one for one in asked if one in seen]
        return json_answer(await anyio.to_thread.run_sync(images.index.aside_counts, wanted))

    return counted


def _listed(images: Images) -> Endpoint:
    async def listed(request: Request) -> Response:
        path = await admit(images, request)
        return json_answer(await anyio.to_thread.run_sync(_shown, images, path["study"]))

    return listed


def _shown(images: Images, study: str) -> list[dict[str, Any]]:
    return [
        {
            "number": aside.number, "series": aside.instance.series, "instance": aside.instance.uid,
            "received": aside.instance.received, "from": aside.instance.calling_ae or aside.instance.source,
            "sha256": aside.instance.sha256, "size": aside.instance.size, "differs": _differs(images, aside),
        }
        for aside in images.index.asides(study)
    ]  # fmt: skip


def _differs(images: Images, aside: Aside) -> list[str]:
    """The tags whose values are not the same; empty when only bulk data (the pixels) differ."""
    uid = aside.instance.uid
    file = images.index.file(uid)
    if file is None:
        return []
    ours = next(iter(images.index.metadata(file.study, file.series, uid)), None)
    known = ours.json if ours is not None else b"{}"
    stored, new = orjson.loads(known), aside.instance.attributes
    return sorted(tag for tag in stored.keys() | new.keys() if stored.get(tag) != new.get(tag))


def _decide_all(images: Images) -> Endpoint:
    async def decide_all(request: Request) -> Response:
        path, access = await admit(images, request), access_of(request)
        _may_decide(access)
        wanted = await small_body(request, MOST_BODY)
        numbers = wanted.get("numbers")
        if not isinstance(numbers, list) or not all(type(one) is int for one in numbers):
            raise Invalid("bad-decision", "numbers is a list of numbers")
        decided = await anyio.to_thread.run_sync(
            _settled, images, path["study"], frozenset(map(str, numbers)), _decision(wanted, access)
        )
        return json_answer({"decided": decided})

    return decide_all


def _decide(images: Images) -> Endpoint:
    async def decide(request: Request) -> Response:
        path, access = await admit(images, request), access_of(request)
        _may_decide(access)
        decision = _decision(await small_body(request), access)
        await anyio.to_thread.run_sync(_settled, images, path["study"], frozenset({path["number"]}), decision)
        return Response(None, 204)

    return decide


def _decision(wanted: Mapping[str, Any], access: Access) -> tuple[bool, Trace]:
    """Whether what came later is served, and the trace. Raises Invalid."""
    serve, reason = wanted.get("serve"), wanted.get("reason")
    if serve not in ("first", "new") or not isinstance(reason, str) or not reason.strip():
        raise Invalid("bad-decision", "serve is first or new, and a reason is given")
    return serve == "new", Trace(utc_microseconds(), access.subject, reason.strip()[:MOST_REASON])


def _settled(images: Images, study: str, numbers: Collection[str], decision: tuple[bool, Trace]) -> int:
    """How many of these were decided now. Blocking. Raises NotFound, Conflict; nothing is decided then."""
    found = [one for one in images.index.asides(study) if str(one.number) in numbers]
    if not found:
        raise absent()
    if decision[0] and any(one.instance.study != study for one in found):
        raise Conflict("of-another-study", "what came says that it is of another study")
    # each step is short: images that come meanwhile do not wait for thousands
    steps = (found[start : start + AT_ONCE] for start in range(0, len(found), AT_ONCE))
    decided = sum(images.index.settle_asides(step, *decision) for step in steps)
    if not decided:
        raise Conflict("decided-already", "somebody else has decided")
    return decided


def _may_decide(access: Access) -> None:
    is_person = access.subject.startswith("Practitioner/")
    if not is_person and not (access.audience is None and access.allows("ImagingStudy", "c")):
        raise Forbidden("not-allowed", "deciding needs a person, or a system's token for ImagingStudy.c")
