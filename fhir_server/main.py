"""The roof: every room is wired here, once, from one Settings. Imported by the commands alone.

`application()` is what uvicorn starts. From outside in, a request meets: Observed (number, log line,
figures), the guard (who asks), the routes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.types import ASGIApp

from dicomweb.gateway.region.figures import GatewayFigures
from dicomweb.images import open_images
from dicomweb.mount import DicomWeb
from dicomweb.steps.figures import StepFigures
from dicomweb.storage.figures import Figures as ArchiveFigures
from fhir_server import settings as config
from fhir_server.audit import Trail
from fhir_server.bulk.export import export
from fhir_server.bulk.importing import import_
from fhir_server.clock import utc_microseconds
from fhir_server.conformance import reindex
from fhir_server.jobs.runner import Runner, Work
from fhir_server.logs import log_to_stderr
from fhir_server.opening import make_engine, opened_engine
from fhir_server.parent import leave_with_parent
from fhir_server.rest import middleware
from fhir_server.rest import routes as fhir
from fhir_server.rest.ending import on_stop
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.teledossier import membership
from smart_launch import authorization, launch, outbound, signin
from smart_launch.app import routes as portal
from smart_launch.app.rendering import render
from smart_launch.authorization import Keys
from smart_launch.authorization.discovery import ENDPOINTS
from smart_launch.guard import Guard
from smart_launch.signin.local import SignIn
from smart_launch.signin.session import Sessions

WORKS: Mapping[str, Work] = {
    "export": export,
    "import": partial(import_, opened_engine),
    "reindex": reindex.work,
}
"""What is done as a job, by kind."""


def application() -> ASGIApp:
    """What uvicorn starts in each worker process. Raises SettingsError."""
    settings = config.load()
    log_to_stderr(settings)
    leave_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    return build(settings)


def build(settings: Settings) -> ASGIApp:
    """The web tier. Store and image index are opened when the server starts, and closed when it stops."""
    store = open_store(settings)
    trail = Trail(store, settings, utc_microseconds)
    engine = make_engine(settings, store, trail)
    images = open_images(settings, store)
    dicomweb = DicomWeb(images)
    figures = middleware.Figures(trail)
    figures.by_site.register(GatewayFigures(images.board))
    figures.by_site.register(ArchiveFigures(images.index, images.files))
    figures.by_site.register(StepFigures(images.index))
    runner = Runner(engine, WORKS)
    keys, sessions = Keys(store), Sessions(store, settings)
    http = outbound.client()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await store.open()
        await reindex.check_version(store)
        await keys.load()
        trail.start()
        runner.start()
        warming = asyncio.create_task(dicomweb.warm())
        resuming = asyncio.create_task(reindex.submit(engine))
        try:
            with on_stop(images.bell.end):
                yield
        finally:
            await asyncio.gather(warming, resuming)
            await runner.stop()
            await trail.stop()
            await http.aclose()
            images.close()
            await store.close()

    app = FastAPI(
        title="Télédossier",
        version=_version(),
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    guarded = Guard(
        fhir.before(app, engine, oauth_uris=_oauth_uris(settings)),
        store=store,
        settings=settings,
        keys=keys,
        sessions=sessions,
        audience=partial(membership.audience, store),
    )
    app.router.routes.extend(middleware.status_routes(store, figures))
    app.router.routes.extend(authorization.routes(store, settings, keys, http))
    app.router.routes.extend(signin.routes(SignIn(store), sessions, render))
    app.router.routes.extend(launch.routes(store, settings, keys, sessions, http, lambda: guarded, render))
    app.router.routes.append(dicomweb)
    app.router.routes.extend(portal.routes(lambda: guarded, zone=settings.zone))
    return middleware.Observed(guarded, figures)


def _oauth_uris(settings: Settings) -> dict[str, str]:
    names = {
        "token_endpoint": "token",
        "introspection_endpoint": "introspect",
        "revocation_endpoint": "revoke",
    }
    return {short: settings.url + ENDPOINTS[name] for name, short in names.items()}


def _version() -> str:
    try:
        return version("teledossier")
    except PackageNotFoundError:
        return "0"
