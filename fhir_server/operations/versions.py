"""`$versions`: which versions of FHIR are spoken here. FHIR R5 capabilitystatement-operation-versions.html"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult
from profiles import definitions


async def versions(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Major and minor, as in the fhirVersion parameter of a media type."""
    spoken = ".".join(definitions.FHIR_VERSION.split(".")[:2])
    parameter = [{"name": name, "valueString": spoken} for name in ("version", "default")]
    return OperationResult(200, {"resourceType": "Parameters", "parameter": parameter})


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "versions",
        "system",
        frozenset(),
        versions,
        affects_state=False,
        definition="http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
    ),
)
