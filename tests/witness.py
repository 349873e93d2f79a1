"""An independent witness: what the platform answers, as fhir.resources (R4B models) reads it.

Resources that a test stored itself are not the platform's words, so of a Bundle only the envelope and the
OperationOutcomes in it are read.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
from fhir.resources.R4B import get_fhir_model_class

OWN_WORDS = ("Bundle", "CapabilityStatement", "OperationOutcome")


async def witness(answer: httpx.Response) -> None:
    """A hook of a client: raises what the witness finds wrong with an answer in FHIR JSON."""
    kind = answer.headers.get("content-type", "")
    if "application/fhir+json" not in kind or answer.request.method == "HEAD":
        return
    body = await answer.aread()
    if body:
        read(json.loads(body))


def read(resource: dict[str, Any]) -> None:
    """Raises what the witness finds wrong with the platform's own words."""
    type = resource.get("resourceType")
    if type not in OWN_WORDS:
        return
    if type == "Bundle":
        entries = [_envelope(one) for one in resource.get("entry", ())]
        resource = {**resource, **({"entry": entries} if entries else {})}
    get_fhir_model_class(type).model_validate(resource)


def _envelope(entry: dict[str, Any]) -> dict[str, Any]:
    """Without a resource that is not ours."""
    outcome = entry.get("response", {}).get("outcome")
    if outcome is not None:
        read(outcome)
    if entry.get("resource", {}).get("resourceType") in OWN_WORDS:
        read(entry["resource"])
    rest = {name: value for name, value in entry.items() if name != "resource"}
    return (
        {**rest, "response": {k: v for k, v in rest["response"].items() if k != "outcome"}}
        if "response" in rest
        else rest
    )
