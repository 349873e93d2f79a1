"""Where log lines go: standard error, one line each, without patient data."""

from __future__ import annotations

import logging
import sys

from fhir_server.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_to_stderr(settings: Settings) -> None:
    """Our own lines from the settings' level, other libraries' from warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("teledossier", "fhir_server", "dicomweb", "smart_launch"):
        logging.getLogger(name).setLevel(LEVELS[settings.log_level])
