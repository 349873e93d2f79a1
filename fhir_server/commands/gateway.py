"""`teledossier gateway`: a site's gateway, and what its operator asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from dicomweb.files import DicomFiles
from dicomweb.gateway import by_hand, health
from dicomweb.gateway import settings as config
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.parts import files_path, is_running, outbox_path
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.gateway.steps import Steps
from dicomweb.peers.session import PeerError
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.logs import log_to_stderr
from fhir_server.settings import Settings
from profiles.outcomes import Conflict, NotFound, Unavailable


@click.group("gateway", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Receive exams from a site's modalities and deliver them to the platform (TELEDOSSIER_GATEWAY_…)."""
    if context.invoked_subcommand is not None:
        return
    settings = config.load()
    log_to_stderr(Settings(log_level=settings.log_level))
    from dicomweb.gateway import running
    from dicomweb.gateway.platform import signing_key

    if settings.key_file:
        try:
            signing_key(Path(settings.key_file))
        except (PeerError, UnicodeDecodeError) as error:
            raise Conflict("gateway-key", f"TELEDOSSIER_GATEWAY_KEY_FILE: {error}") from error

    async def run(stop: asyncio.Event) -> None:
        await running.serve(settings, stop, ready=lambda port: click.echo(f"listening {port}"))

    with _named(settings):
        run_until_stopped(run)


@command.command("status")
def status() -> None:
    """What waits, was delivered, or was not taken by the platform; exit 1 when something needs a person."""
    settings = config.load()
    with _outbox(settings) as outbox:
        summary, apart = outbox.summary(), outbox.apart()
        counts, untaken = Steps(outbox).counts(), Steps(outbox).apart()
    runs = is_running(settings)
    click.echo(f"gateway    {'runs' if runs else 'does not run'}, for {settings.url}")
    state = health.read_state(settings) if runs else {}
    for line in health.lines(summary, counts, state, shutil.disk_usage(settings.root).free):
        click.echo(line)
    for one in apart:
        click.echo(f"  {one.uid} from {one.ae_title}: {one.reason}")
    for said in untaken:
        click.echo(f"  step {said.message.step} from {said.ae_title}, {said.message.kind}: {said.reason}")
    if apart or untaken or not runs or state.get("problems"):
        raise click.exceptions.Exit(1)


@command.command("retry")
def retry() -> None:
    """Deliver again what the platform would not take."""
    with _outbox(config.load()) as outbox:
        click.echo(f"{outbox.retry()} instances wait again")
        if steps := Steps(outbox).retry():
            click.echo(f"{steps} messages of performed steps wait again")


@command.command("exams")
def exams() -> None:
    """The exams kept here, newest first, with what their files say of the patient."""
    settings = config.load()
    files = DicomFiles(files_path(settings))
    with _outbox(settings) as outbox:
        for one in outbox.exams():
            who = by_hand.described(files.path(one.path))
            at = datetime.fromtimestamp(one.received / 1e6, settings.zone).strftime("%Y-%m-%d %H:%M")
            waits = f"{one.waiting} wait" if one.waiting else "delivered"
            size = f"{one.instances} images, {one.bytes / 1e6:.0f} MB"
            click.echo(f"{one.study}\n  {at} from {one.ae_title}, {size}, {waits}")
            click.echo(
                f"  {who.patient} ({who.patient_id}), {who.birth_date}: {who.modality} {who.description}"
            )


@command.command("send")
@click.argument("study")
@click.argument("to", metavar="AETITLE=HOST:PORT")
def send(study: str, to: str) -> None:
    """Send an exam straight to another gateway or PACS, when the platform is away (C-STORE)."""
    settings, peer = config.load(), by_hand.target(to)
    files, there, problems = DicomFiles(files_path(settings)), 0, 0
    try:
        with _outbox(settings) as outbox:
            for one in by_hand.send(settings, outbox, files, study, peer):
                there, problems = there + (not one.problem), problems + bool(one.problem)
                if one.problem:
                    click.echo(f"{one.uid}: {one.problem}", err=True)
    except PeerError as error:
        raise Unavailable("not-sent", f"{to}: {error.slug}; {there} instances are there") from error
    if not there and not problems:
        raise NotFound("no-such-exam", f"nothing of {study} is kept here")
    click.echo(f"{there} instances are there" + (f", {problems} are not" if problems else ""))
    if problems:
        raise click.exceptions.Exit(1)


@command.command("key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def key(file: Path) -> None:
    """Make the gateway's key: private into FILE, public printed, for `teledossier client add --jwks`."""
    from joserfc.jwk import ECKey

    made = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True, auto_kid=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict("file-exists", f"{file} exists already; a key is never written over") from error
    try:
        with os.fdopen(descriptor, "w") as written:
            json.dump(made.as_dict(private=True), written)
    except OSError:
        file.unlink()  # half a key would stand in the way of the next
        raise
    click.echo(json.dumps({"keys": [made.as_dict(private=False)]}))


@contextmanager
def _outbox(settings: GatewaySettings) -> Iterator[Outbox]:
    """Opened. Raises NotFound, Conflict, SchemaMismatch, Unavailable."""
    path = outbox_path(settings)
    if not path.exists():
        raise NotFound("no-outbox", f"no gateway ever ran on {settings.root}")
    found = Outbox(path)
    with _named(settings):
        found.open()
        try:
            yield found
        finally:
            found.close()


@contextmanager
def _named(settings: GatewaySettings) -> Iterator[None]:
    """An outbox that turns out to be damaged is named, with what helps. Raises Conflict."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        advice = "if it is damaged, move it away: whole files are delivered anew"
        raise Conflict("outbox-damaged", f"{outbox_path(settings)}: {error}; {advice}") from error
