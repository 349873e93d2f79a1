"""`teledossier worker`: background jobs."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from dicomweb.acquisition import Listed
from dicomweb.images import open_images
from dicomweb.priors.seeking import Seeking
from dicomweb.steps.forwarding import Forwarding
from dicomweb.storage.retention import Retention
from dicomweb.storage.upkeep import Upkeep
from dicomweb.transfers import asking, audit
from dicomweb.transfers.runner import Parts, Runner
from dicomweb.worker import Worker
from fhir_server import opening
from fhir_server import settings as config
from fhir_server.clock import utc_microseconds
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.logs import log_to_stderr
from smart_launch.authorization.keys import STATEMENT_ALGORITHM, Keys


@click.command("worker")
def command() -> None:
    """Record received exams and attach them to their télédossiers; transfer exams from and to the PACS."""
    settings = config.load()
    log_to_stderr(settings)

    async def run(stop: asyncio.Event) -> None:
        async with opening.opened(settings) as platform:
            store, fhir = platform.engine.store, platform.fhir
            images = open_images(settings, store)
            signing = await Keys(store).load()
            sign = partial(signing.sign, algorithm=STATEMENT_ALGORITHM, type="transfer-receipt+jwt")

            def listed(study: str) -> Listed:
                return Listed(*images.queue.importing(study))

            exams = Worker(
                images.index, store, fhir, settings, listed=listed, is_prior=images.priors.is_prior
            )
            transfers = Runner(Parts(settings, store, fhir, images, exams, sign))
            find = partial(asking.find, images)

            async def searched(what: audit.Searched) -> None:
                await audit.keep(images, audit.of_search(what, utc_microseconds()))

            priors = Seeking(store, fhir, images.queue, images.priors, find, utc_microseconds, searched)
            upkeep = Upkeep(images.index, images.files, settings)
            retention = Retention(images.index, fhir, images.queue.is_wanted, settings.retention_seconds)
            steps = Forwarding(images, fhir)
            try:
                running = (exams, transfers, priors, upkeep, retention, steps)
                await asyncio.gather(*(one.run(stop) for one in running))
            finally:
                images.close()

    run_until_stopped(run)
