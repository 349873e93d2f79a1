"""DELETE of a study, series or instance: out of sight, with a trace; the files stay.

Nothing finds or serves a masked instance any more, the ImagingStudy follows, and `Index.masked` tells who
did it, when
and why. The same instance sent again is stored again. The standard has no such transaction; the address and
204 are what other servers have.
"""

from __future__ import annotations

import logging

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from dicomweb.images import Images
from dicomweb.index.contract import Trace
from dicomweb.web import Endpoint, absent, access_of, admit
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Forbidden

log = logging.getLogger(__name__)


def delete(images: Images) -> Endpoint:
    """A system's token with the scope ImagingStudy.d is needed; `reason` may be given in the query."""

    async def delete(request: Request) -> Response:
        path = await admit(images, request)
        access = access_of(request)
        if not access.allows("ImagingStudy", "d") or access.audience is not None:
            raise Forbidden("not-allowed", "deleting needs a system's token with the scope ImagingStudy.d")
        trace = Trace(utc_microseconds(), access.subject, request.query_params.get("reason", "")[:200])
        place = (path["study"], path.get("series"), path.get("instance"))
        count = await anyio.to_thread.run_sync(images.index.mask, place, trace)
        if not count:
            raise absent()
        log.info("%d instances were put out of sight", count)
        return Response(None, 204)

    return delete
