"""`$import`: NDJSON of this server's Binaries, or of hosts that the operator named, into the store.

What is imported keeps its ids, as in `teledossier load`. The files are uploaded first (`POST Binary`, raw),
or fetched from an origin in TELEDOSSIER_IMPORT_ORIGINS: an address of anybody's choice is never asked.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fhir_server.access import Access
from fhir_server.bulk.importing import Input
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import ID, current, require
from fhir_server.operations.accepting import accepted, check_async
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult
from profiles.outcomes import Forbidden, Invalid

FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
PARAMETERS = ("inputFormat", "inputSource", "input")
MOST_WAITING, MOST_INPUTS = 2, 1_000


async def import_(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The kick-off. Raises Invalid, Forbidden, NotFound for an input that is not there."""
    if access.audience is not None:
        raise Forbidden("partial-view", "an import writes everywhere; it is for machines that see all")
    check_async(request, "an import")
    inputs = _inputs(request)
    for each in inputs:
        for letter in ("c", "u"):
            require(access, each.type, letter)
        await _check_source(engine, access, each)
    asked = {"inputs": [[each.type, each.url] for each in inputs], "url": request.url}
    job = await engine.jobs.submit("import", access, asked, most=MOST_WAITING)
    return accepted(engine, job, "the import has begun; ask for its status")


def _inputs(request: OperationRequest) -> list[Input]:
    found: list[Input] = []
    for parameter in request.parameters.get("parameter", []):
        name = parameter["name"]
        if name == "inputFormat":
            if _text(parameter) not in FORMATS:
                raise Invalid("bad-format", f"inputFormat takes {', '.join(FORMATS)}")
        elif name == "input":
            parts = {part.get("name"): _text(part) for part in parameter.get("part", ())}
            if not parts.get("type") or not parts.get("url"):
                raise Invalid("bad-input", "an input has the parts 'type' and 'url'")
            found.append(Input(parts["type"], parts["url"]))
        elif name != "inputSource":
            valid = ", ".join(PARAMETERS)
            raise Invalid("unknown-parameter", f"{name[:64]} is not a parameter here; valid: {valid}")
    if not 0 < len(found) <= MOST_INPUTS:
        raise Invalid("no-input", f"an import has 1 to {MOST_INPUTS} inputs")
    return found


def _text(parameter: dict[str, Any]) -> str:
    values = [value for name, value in parameter.items() if name.startswith("value")]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


async def _check_source(engine: Engine, access: Access, input: Input) -> None:
    binary = input.binary(engine.settings.fhir_base)
    if binary:
        if not ID.fullmatch(binary):
            raise Invalid("bad-input", "an input's url is Binary/[id] or an https address")
        require(access, "Binary", "r")
        await current(engine, access, "Binary", binary)
        return
    parts = urlsplit(input.url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None:
        raise Invalid("bad-input", "an input's url is Binary/[id] or an https address")
    if f"{parts.scheme}://{parts.netloc}" not in engine.settings.import_from:
        raise Forbidden("origin", "this server does not fetch from there; see TELEDOSSIER_IMPORT_ORIGINS")


OPERATIONS: tuple[Operation, ...] = (Operation("import", "system", frozenset(), import_, affects_state=True),)
