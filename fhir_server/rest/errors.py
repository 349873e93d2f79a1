"""Every failure as an OperationOutcome; what nobody foresaw gets a number for the log and tells nothing
else."""

from __future__ import annotations

import logging
import traceback
from uuid import uuid4

from fhir_server.rest.answer import Answer
from fhir_server.store.contract import RaceLost
from profiles import codec, patch
from profiles.outcomes import Conflict, Invalid, Issue, TeledossierError, operation_outcome

log = logging.getLogger(__name__)


def outcome_of(error: Exception) -> Answer:
    """The answer to any exception. The log line of an unexpected one has type and places, never its message:
    that could carry a patient's data."""
    if isinstance(error, RaceLost):
        error = Conflict("lost-race", "what this writes changed meanwhile; retry")
    elif isinstance(error, RecursionError):
        error = Invalid("too-deep", "the resource is nested too deeply")
    if isinstance(error, TeledossierError):
        return Answer(error.status, codec.dump(operation_outcome(error.issues)), _headers(error))
    number = uuid4().hex[:12]
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    log.error("error %s: %s at %s", number, type(error).__name__, places)
    issue = Issue(
        "fatal", "exception", "internal-error", f"unexpected error {number}; the operator's log knows more"
    )
    return Answer(500, codec.dump(operation_outcome([issue])))


def _headers(error: TeledossierError) -> dict[str, str]:
    if error.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if error.status == 405:
        return {"Allow": str(getattr(error, "allow", ""))}
    if error.slug == "patch-format":
        return {"Accept-Patch": ", ".join(patch.FORMATS)}  # RFC 5789 §2.2
    if error.status == 503:
        return {"Retry-After": "1"}
    return {}
