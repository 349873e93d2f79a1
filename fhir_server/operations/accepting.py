"""What the operations that begin a job share: the demand that it be asynchronous, and the 202.

FHIR R4 async.html
"""

from __future__ import annotations

from fhir_server.interactions.engine import Engine
from fhir_server.jobs.record import Job
from fhir_server.operations.registry import OperationRequest, OperationResult
from profiles.outcomes import Invalid, Issue, operation_outcome


def check_async(request: OperationRequest, what: str) -> None:
    """Raises Invalid for a request that would wait for its answer."""
    if "respond-async" not in request.prefer:
        raise Invalid("not-async", f"{what} is asynchronous: send 'Prefer: respond-async'")


def accepted(engine: Engine, job: Job, diagnostics: str) -> OperationResult:
    """202, with the address that tells how far the job is."""
    told = Issue("information", "informational", "accepted", diagnostics)
    address = f"{engine.settings.fhir_base}/_job/{job.id}"
    return OperationResult(202, operation_outcome([told]), {"Content-Location": address})
