"""Where log lines go: standard error, one line each, without patient data.

What an exception says may be a value of what was read (`invalid literal for int(): '…'`), so of an exception
only the kind and the places are written; and few of those, since what is nested without end fails at
thousands.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType

from fhir_server.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
OUTER, INNER = 3, 8  # places of an exception that are written: where it began, and what raised it
log = logging.getLogger("teledossier")


def log_to_stderr(settings: Settings) -> None:
    """Our own lines from the settings' level, other libraries' from warning. What ends a thread is a line
    too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("teledossier", "fhir_server", "dicomweb", "smart_launch"):
        logging.getLogger(name).setLevel(LEVELS[settings.log_level])
    threading.excepthook = _thread_ended


class Lines(logging.Formatter):
    """A record in one line, its exception in the same."""

    def format(self, record: logging.LogRecord) -> str:
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record).replace("\n", " ")
        finally:
            record.exc_text = kept

    def formatException(self, ei: object) -> str:
        error = ei[1] if isinstance(ei, tuple) else None
        return described(error) if isinstance(error, BaseException) else ""


def described(error: BaseException) -> str:
    """Kind and places of an exception and of what caused it, outermost place first, in one line."""
    told: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(told) < OUTER:
        seen.add(id(link))
        told.append(f"{type(link).__name__} at {_places(link.__traceback__)}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "; because of ".join(told)


def _places(trace: TracebackType | None) -> str:
    found = [
        f"{'/'.join(frame.f_code.co_filename.rsplit('/', 3)[-3:])}:{line}"
        for frame, line in traceback.walk_tb(trace)
    ]
    if len(found) > OUTER + INNER:
        found[OUTER:-INNER] = ["…"]
    return " > ".join(found) or "an unknown place"


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        log.error("a thread ended: %s", described(ended.exc_value))
