"""That a study is wanted in a télédossier: kept in the queue until the worker grants it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.requests import Request

from dicomweb.images import Images
from dicomweb.web import BASE, access_of
from fhir_server.clock import utc_microseconds

REQUEST = BASE + "/requests/{request}"


async def want(images: Images, request: Request, studies: Iterable[str]) -> None:
    """The request of the address wants these; each once."""
    access, id = access_of(request), str(request.path_params["request"])
    for study in dict.fromkeys(studies):
        await asyncio.to_thread(images.queue.wish, study, id, access.subject, utc_microseconds())
