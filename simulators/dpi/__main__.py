"""`python -m simulators.dpi --port 9100 --portal http://127.0.0.1:8080 --organisation ch-auch`

One process serves every establishment of the scenario; `--organisation` is the one that its first page
proposes.
"""

from __future__ import annotations

import argparse
import socket
import sys
from importlib.resources import files
from pathlib import Path

import uvicorn
import yaml

from simulators.dpi.app import build
from simulators.dpi.data import load
from simulators.dpi.smart import App


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulators.dpi", description="Un dossier patient informatisé simulé."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100, help="0 takes a free one")
    parser.add_argument("--url", default="", help="what browsers call this process; default http://HOST:PORT")
    parser.add_argument("--portal", default="http://127.0.0.1:8080", help="the platform's address")
    parser.add_argument("--organisation", default="ch-auch", help="the establishment proposed first")
    parser.add_argument("--scenario", type=Path, default=None, help="the demonstration data")
    parser.add_argument(
        "--client-secret", default=None, help="without it the platform proves itself by its key"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    path = given.scenario or Path(str(files("fhir_server") / "demo" / "scenario.yaml"))
    try:
        establishments = load(path)
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        print(
            f"simulators.dpi: {path} cannot be read as a scenario ({type(error).__name__})", file=sys.stderr
        )
        return 1
    portal = given.portal.rstrip("/")
    app = App(f"{portal}/launch/callback", f"{portal}/oauth/jwks", f"{portal}/launch", given.client_secret)
    try:
        listening = socket.create_server((given.host, given.port), backlog=128)
    except OSError as error:
        print(f"simulators.dpi: port {given.port} of {given.host}: {error.strerror}", file=sys.stderr)
        return 1
    with listening:
        url = given.url or f"http://{given.host}:{listening.getsockname()[1]}"
        print(f"DPI simulé : {url}/", flush=True)
        config = uvicorn.Config(
            build(url, establishments, app, given.organisation), log_level="warning", access_log=False
        )
        uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
