"""The command line: `teledossier …`, the same as `python -m fhir_server …`.

Every command is a module of `fhir_server.commands` and is imported only when asked for, so that `--help` is
quick. A user's mistake ends in one clear line and a non-zero exit, never in a traceback.
"""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
from collections.abc import Sequence

import click

from fhir_server.logs import described
from fhir_server.settings import SettingsError
from profiles.outcomes import SchemaMismatch, TeledossierError

COMMANDS = {
    "serve": "the web tier: FHIR, DICOMweb, OAuth, portal",
    "dimse": "the DICOM node",
    "gateway": "a site's gateway: exams from its modalities, delivered to the platform",
    "worker": "background jobs: exams into their télédossiers",
    "demo": "all of them, with the demonstration data",
    "load": "bulk load of NDJSON or Bundles",
    "user": "accounts of people: add, list, disable",
    "client": "accounts of machines: add, list, remove",
    "dpi": "hospital records that may launch the portal: add, list, remove",
    "pacs": "the sites' systems: echo, orders",
    "token": "an access token for scripts",
    "package": "FHIR packages: install, list, remove",
    "reindex": "what is stored, by search parameters of one's own",
    "check": "integrity of store and files",
    "retention": "the exams that the sites' rules would put out of sight now",
    "migrate": "bring the store to this program's schema",
}


class Rooms(click.Group):
    """Loads a command's module when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fhir_server.commands.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="teledossier")
def cli() -> None:
    """Télédossier: FHIR-native téléexpertise and medical-image transfer for a region."""


def _check_readable(arguments: Sequence[str]) -> None:
    """Bytes that are no UTF-8 may name a file, nothing else. Raises UsageError."""
    for place, one in enumerate(arguments, 1):
        if any("\ud800" <= char <= "\udfff" for char in one) and not os.path.lexists(one):
            raise click.UsageError(f"argument {place} is not UTF-8")


def main() -> None:
    """Run the command line; exit 1 on a refusal, 2 on wrong usage, 130 on Ctrl-C."""
    try:
        _check_readable(sys.argv[1:])
        # Not standalone, click hands an Exit's code back as the result.
        sys.exit(cli(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except (SettingsError, SchemaMismatch, TeledossierError) as error:
        click.echo(f"teledossier: {error}", err=True)
        sys.exit(1)
    except sqlite3.Error as error:
        click.echo(f"teledossier: a database cannot be used: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(
            f"teledossier: {error.strerror or error}{f': {error.filename}' if error.filename else ''}",
            err=True,
        )
        sys.exit(1)
    except Exception as error:  # an error of the program's: kind and place, not what was read
        click.echo(f"teledossier: this should not happen: {described(error)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
