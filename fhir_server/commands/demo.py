"""`teledossier demo`: the whole platform with the demonstration data, in one command.

The data is loaded first, by the same operations that people and machines use; then the web tier, the DICOM
node, the worker and the simulated DPI start, each a process of its own; the exams are made once and sent in
by DICOM while the platform is already usable.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import click
import httpx

from fhir_server import demo, opening
from fhir_server import settings as config
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.commands.processes import Program, Supervisor
from fhir_server.demo import pacs
from fhir_server.settings import Settings, is_loopback
from smart_launch.app.dpi import issuers
from smart_launch.authorization import clients
from smart_launch.signin import local

READY_SECONDS = 60.0
EARLIER_SECONDS = 20.0  # for the exams that the PACS have had for years
CLIENT = "demo-backend"
GATEWAY_FOLDER = Path("var/gateway")
KEPT = Path("var/demo.json")
"""The demonstration's password and secret, so that a second start prints the same."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the demonstration prints. Made at the first start, never the same on two machines."""

    password: str
    secret: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the programs beside the platform; `pacs` the first of the PACS and the gateway, 0 = none; `scanners`
    where the scanners listen, 0 = none."""

    dpi: int
    pacs: int
    scanners: int


@click.command("demo")
@click.option(
    "--dpi-port", type=click.IntRange(1, 65535), default=9100, show_default=True, help="The simulated DPI."
)
@click.option("--exams/--no-exams", default=True, show_default=True, help="Send the demonstration's exams.")
@click.option(
    "--pacs-port",
    type=click.IntRange(0, 65534),
    default=11200,
    show_default=True,
    help="The first of the two PACS, where Orthanc is installed; 0 = none.",
)
def command(dpi_port: int, exams: bool, pacs_port: int) -> None:
    """Run everything with a fictitious region; Ctrl-C stops all of it."""
    settings = config.load()
    for name, port in (("web", settings.port), ("DICOM", settings.dimse_port), ("DPI", dpi_port)):
        _check_free(name, settings.host, port)

    ports = Ports(dpi_port, _pacs_port(settings, pacs_port) if exams else 0, _some_port() if exams else 0)

    async def run(stop: asyncio.Event) -> None:
        await _run(settings, ports, exams, stop)

    run_until_stopped(run)


async def _run(settings: Settings, ports: Ports, exams: bool, stop: asyncio.Event) -> None:
    began = time.monotonic()
    click.echo("Télédossier: loading the demonstration …")
    credentials = _credentials()
    dpi_url = f"http://{settings.host}:{ports.dpi}"
    loaded = await _prepare(settings, credentials, dpi_url, ports)
    supervisor = Supervisor(lambda line: click.echo(f"[{line}]", err=True))
    quiet = {"TELEDOSSIER_LOG_LEVEL": os.environ.get("TELEDOSSIER_LOG_LEVEL", "warning")}
    for name in ("serve", "dimse"):
        supervisor.start(Program(name, ("-m", "fhir_server", name), quiet))
    portal = ("--host", settings.host, "--port", str(ports.dpi), "--portal", settings.url)
    supervisor.start(Program("dpi", ("-m", "simulators.dpi", *portal)))
    for one in pacs.PACS if ports.pacs else ():
        supervisor.start(_pacs(settings, one, ports.pacs + one.offset))
    if ports.pacs:
        supervisor.start(_gateway(settings, ports.pacs))
    earlier: list[asyncio.Task[None]] = []
    try:
        if await _ready(stop, f"{settings.url}/readyz", f"{dpi_url}/"):
            if exams:
                supervisor.start(_modality(settings, ports.scanners))
            if ports.pacs:
                earlier = [supervisor.start(_earlier(one, ports.pacs)) for one in pacs.EARLIER]
            _announce(settings, credentials, (dpi_url, ports.pacs), loaded, time.monotonic() - began)
            if earlier:  # what a PACS has is there before somebody looks for it
                await asyncio.wait(earlier, timeout=EARLIER_SECONDS)
            supervisor.start(Program("worker", ("-m", "fhir_server", "worker"), quiet))
            await stop.wait()
    finally:
        click.echo("\nStopping …")
        await supervisor.stop()


async def _prepare(settings: Settings, credentials: Credentials, dpi_url: str, ports: Ports) -> demo.Loaded:
    """Data, accounts, one backend client, and one DPI per establishment. Repeating it changes nothing."""
    async with opening.opened(settings) as platform:
        store = platform.engine.store
        loaded = await demo.load(platform.engine)
        for peer in pacs.PACS if ports.pacs else ():
            await platform.fhir.update(pacs.endpoint(peer, ports.pacs))
        for one in demo.read()["organisations"] if ports.scanners else ():
            await platform.fhir.update(pacs.scanner(one["id"], ports.scanners))
        if ports.pacs:
            await _prepare_gateway(platform)
        for account in demo.accounts():
            if await local.get(store, account.id) is None:
                await local.create_account(
                    store,
                    account.id,
                    account.practitioner.removeprefix("Practitioner/"),
                    credentials.password,
                )
        if await clients.get(store, CLIENT) is None:
            await clients.add(
                store, CLIENT, scope="system/*.cruds", name="Demonstration", secret=credentials.secret
            )
        for organisation in demo.read()["organisations"]:
            issuer = issuers.Issuer(
                f"{dpi_url}/{organisation['id']}/fhir",
                organisation["id"],
                f"DPI {organisation['nom']}",
                "teledossier",
            )
            await issuers.register(store, issuer)
    return loaded


async def _prepare_gateway(platform: opening.Platform) -> None:
    """Its client, which may store images and do nothing else, and its Endpoint."""
    secret, store = GATEWAY_FOLDER / "secret", platform.engine.store
    if not secret.exists() or await clients.get(store, pacs.GATEWAY.client) is None:
        if await clients.get(store, pacs.GATEWAY.client) is not None:
            await clients.remove(store, pacs.GATEWAY.client)
        _, made = await clients.add(
            store, pacs.GATEWAY.client, scope="system/ImagingStudy.c", name=pacs.GATEWAY.name
        )
        _write_private(secret, made or "")
    await platform.fhir.update(pacs.gateway())


def _credentials() -> Credentials:
    if KEPT.exists():
        return Credentials(**json.loads(KEPT.read_text("utf-8")))
    made = Credentials("demo-" + secrets.token_hex(4), secrets.token_urlsafe(24))
    _write_private(KEPT, json.dumps({"password": made.password, "secret": made.secret}))
    return made


def _write_private(path: Path, text: str) -> None:
    """A file that its owner alone may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


async def _ready(stop: asyncio.Event, *urls: str) -> bool:
    """Wait until every address answers; False when stopped or too late."""
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        for url in urls:
            while not stop.is_set():
                try:
                    if (await client.get(url)).status_code < 400:
                        break
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise click.ClickException(f"{url} does not answer after {READY_SECONDS:.0f} s")
                await asyncio.sleep(0.1)
    return not stop.is_set()


def _modality(settings: Settings, port: int) -> Program:
    scenario = str(files("fhir_server") / "demo" / "scenario.yaml")
    arguments = (
        "-m", "simulators.modality", "--scenario", scenario,
        "--to", f"{settings.host}:{settings.dimse_port}", "--ae", settings.ae_title, "--listen", str(port),
    )  # fmt: skip
    return Program("modality", arguments, lasting=False)


def _pacs(settings: Settings, one: pacs.Pacs, port: int) -> Program:
    folder = Path("var/pacs") / one.site
    platform = f"{settings.ae_title}@{settings.host}:{settings.dimse_port}"
    arguments = ("--ae", one.ae_title, "--port", str(port), "--folder", str(folder), "--platform", platform)
    return Program(f"pacs-{one.site}", ("-m", "simulators.pacs", *arguments))


def _gateway(settings: Settings, first_port: int) -> Program:
    """The gateway of one site: it opens connections to the platform, which never calls it."""
    host = settings.host if is_loopback(settings.host) else "127.0.0.1"  # plain http goes no further
    given = {
        "PLATFORM": f"http://{host}:{settings.port}", "CLIENT": pacs.GATEWAY.client,
        "FOLDER": str(GATEWAY_FOLDER / "kept"), "SECRET_FILE": str(GATEWAY_FOLDER / "secret"),
        "AE_TITLE": pacs.GATEWAY.ae_title, "PORT": str(first_port + pacs.GATEWAY.offset),
        "PEERS": pacs.called(first_port), "RETRY_SECONDS": "5", "LOG_LEVEL": "error",
    }  # fmt: skip
    environment = {f"TELEDOSSIER_GATEWAY_{name}": value for name, value in given.items()}
    return Program("gateway", ("-m", "fhir_server", "gateway"), environment)


def _earlier(one: pacs.Earlier, first_port: int) -> Program:
    """An exam that a PACS has and the platform has not."""
    scenario = str(files("fhir_server") / "demo" / "scenario.yaml")
    arguments = (
        "-m", "simulators.modality", "--scenario", scenario, "--exam", "ex01", "--earlier", str(one.years),
        "--patient", one.patient, "--to", f"127.0.0.1:{first_port + one.pacs.offset}",
        "--ae", one.pacs.ae_title, "--folder", f"var/pacs/exams-{one.pacs.site}-{one.patient}",
    )  # fmt: skip
    return Program(f"exams-{one.pacs.site}-{one.patient}", arguments, lasting=False)


def _some_port() -> int:
    """A free one, on which the scanners hear whether their images are kept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _pacs_port(settings: Settings, port: int) -> int:
    """The first port of the PACS; 0, with a word why, where there can be none."""
    if not port:
        return 0
    if not (shutil.which("Orthanc") or Path("/usr/sbin/Orthanc").exists()):
        click.echo("No PACS: Orthanc is not installed.")
        return 0
    try:
        for one in (*pacs.PACS, pacs.GATEWAY):
            _check_free("PACS", "127.0.0.1", port + one.offset)
    except click.ClickException as error:
        click.echo(f"No PACS: {error.message}")
        return 0
    return port


def _announce(
    settings: Settings, credentials: Credentials, peers: tuple[str, int], loaded: demo.Loaded, took: float
) -> None:
    dpi_url, pacs_port = peers
    accounts = list(demo.accounts())
    lines = [
        "",
        f"Ready in {took:.0f} s. All data is fictitious.",
        "",
        f"  Portal         {settings.url}/",
        f"  Simulated DPI  {dpi_url}/   (its patient page has the button TLE/TLI)",
        f"  FHIR R4        {settings.fhir_base}   (metadata, .well-known/smart-configuration)",
        f"  DICOMweb       {settings.url}/dicom-web",
        f"  DICOM          {settings.host}:{settings.dimse_port}, AE title {settings.ae_title}",
        *(
            f"  {'PACS':<14} 127.0.0.1:{pacs_port + one.offset}, AE title {one.ae_title}: {one.name}"
            + (", reached through its gateway alone" if one.via else "")
            for one in (pacs.PACS if pacs_port else ())
        ),
        *(
            [
                f"  {'Gateway':<14} 127.0.0.1:{pacs_port + pacs.GATEWAY.offset}, AE title "
                f"{pacs.GATEWAY.ae_title}: {pacs.GATEWAY.name}; {settings.url}/sites, as p21"
            ]
            if pacs_port
            else []
        ),
        "",
        f"  Accounts       {', '.join(account.id for account in accounts)}; password {credentials.password}",
        f"  Backend client {CLIENT}, secret {credentials.secret}, scope system/*.cruds",
        f"                 curl -u '{CLIENT}:{credentials.secret}' -d grant_type=client_credentials"
        f" -d 'scope=system/*.cruds' {settings.url}/oauth/token",
        "",
        "The tour:",
        *(f"  {line}" for line in demo.tour(loaded.live)),
        "",
        "Ctrl-C stops everything.",
    ]
    click.echo("\n".join(lines))


def _check_free(name: str, host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"the {name} port {host}:{port} is not free ({error.strerror})"
            ) from error
