"""Around the whole application, in pure ASGI: a number for each request, one log line, figures.

Log lines and figures carry no query value, no id and no body: the path is reduced to its first parts
(`/fhir/Patient`, never `/fhir/Patient/12`). Outermost of all, so that a refusal by the guard is counted too;
other web origins are the guard's business.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from dataclasses import dataclass
from itertools import count

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_server.access import Access
from fhir_server.audit import Trail
from fhir_server.settings import is_loopback
from fhir_server.store.contract import Store
from profiles import definitions

access_log = logging.getLogger("teledossier.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ROOMS = frozenset(
    {"fhir", "dicom-web", "gateway", "oauth", "launch", "static", "connexion", "healthz", "readyz", "metrics"}
)
_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_READY_WITHIN = 2.0  # seconds
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Figures:
    """What Prometheus reads; one of these per process, made with the application. `by_site` names the sites:
    it is for this machine, and for systems that may read the sites' systems."""

    def __init__(self, trail: Trail | None = None) -> None:
        self.registry, self.by_site = CollectorRegistry(), CollectorRegistry()
        self.requests = Counter(
            "teledossier_requests_total", "Requests", ("method", "room", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "teledossier_request_seconds",
            "Time to the last byte",
            ("room",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        running = Gauge("teledossier_requests_running", "Requests being answered", registry=self.registry)
        running.set_function(lambda: self.running)
        self.running = 0
        self._prefix, self._numbers = secrets.token_hex(6), count()
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        dropped = Gauge(
            "teledossier_audit_dropped_total", "Audit events lost since the start", registry=self.registry
        )
        dropped.set_function(lambda: trail.dropped if trail is not None else 0)

    def number(self) -> str:
        """A request's number: this process's own random part, then a count. Random bytes from the system at
        each request would cost more than all else here."""
        return f"{self._prefix}{next(self._numbers):04x}"

    def count(self, method: str, room: str, status: int, seconds: float) -> None:
        """One request more. The series are looked up once: their number is bounded by methods, rooms and
        statuses."""
        counted = self._counted.get((method, room, status))
        if counted is None:
            series = self.requests.labels(method, room, str(status)), self.seconds.labels(room)
            counted = self._counted[method, room, status] = series
        counted[0].inc()
        counted[1].observe(seconds)


def room_of(path: str) -> str:
    """A path without what could name a person: "fhir/Patient", "dicom-web", "portal"."""
    parts = path.split("/", 3)
    first = parts[1] if len(parts) > 1 else ""
    if first == "fhir":
        second = parts[2] if len(parts) > 2 else ""
        return f"fhir/{second}" if second in definitions.resource_types() or second == "metadata" else "fhir"
    return first if first in _ROOMS else "portal"


@dataclass(frozen=True, slots=True)
class Observed:
    """Gives the request its number (X-Request-Id, the client's own if it is harmless), counts it, logs it."""

    app: ASGIApp
    figures: Figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number = _given_number(scope) or self.figures.number()
        scope["request_id"] = number
        status, room, began = 500, room_of(scope["path"]), time.perf_counter()

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", number.encode())]
            await send(message)

        self.figures.running += 1
        try:
            await self.app(scope, receive, observed_send)
        finally:
            self.figures.running -= 1
            took = time.perf_counter() - began
            self.figures.count(_method(scope), room, status, took)
            if access_log.isEnabledFor(logging.INFO):
                access_log.info("%s %s %s %d %.1fms", number, _method(scope), room, status, took * 1000)


def _given_number(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return str(given)
    return ""


def _method(scope: Scope) -> str:
    """The method, or "other": a made-up method must not make a new time series."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"


def status_routes(store: Store, figures: Figures) -> list[BaseRoute]:
    """/healthz: the process answers. /readyz: its store does. /metrics: the figures of this process."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        try:
            await asyncio.wait_for(store.latest(), _READY_WITHIN)
        except Exception as error:
            logging.getLogger(__name__).error("the store does not answer: %s", type(error).__name__)
            return JSONResponse({"ready": False, "store": "does not answer"}, 503)
        return JSONResponse({"ready": True, "store": "answers"})

    async def metrics(request: Request) -> Response:
        told = generate_latest(figures.registry)
        if _may_read_sites(request):
            told += await asyncio.to_thread(generate_latest, figures.by_site)
        headers = {"Cache-Control": "no-store"}
        return Response(told, 200, headers, "text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _may_read_sites(request: Request) -> bool:
    """From this machine, not through a proxy that says for whom; or with a system's token."""
    access = request.scope.get("access")
    if isinstance(access, Access):
        return access.audience is None and access.allows("Endpoint", "s")
    here = request.client is not None and is_loopback(request.client.host)
    return here and not any(name in request.headers for name in _PROXIED)
