"""The `$operations` on offer: what is registered is what is routed and what the CapabilityStatement names.

FHIR R4 operations.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fhir_server.access import Access
from profiles.outcomes import Invalid

if TYPE_CHECKING:
    from fhir_server.interactions.engine import Engine

Level = Literal["system", "type", "instance"]


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """One call. `type` and `id` are empty above their level; `parameters` is the Parameters resource of the
    body, an empty one for GET; `query` the address's parameters in order; `accept` the request's Accept
    header; `body` the bytes of a JSON body, for who tells lines and columns; `url` the whole address as
    asked, `prefer` the Prefer header; `content_type` the media type of a body that the operation reads
    itself."""

    type: str = ""
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"resourceType": "Parameters"})
    query: list[tuple[str, str]] = field(default_factory=list)
    accept: str = ""
    body: bytes = b""
    url: str = ""
    prefer: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The answer. `resource`: a resource, bytes that `headers` name the Content-Type of (FHIR JSON if they
    do not), or None for an empty body."""

    status: int = 200
    resource: dict[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[["Engine", Access, OperationRequest], Awaitable[OperationResult]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`name` is without the dollar sign; no `types` means every type. `affects_state` False allows GET.
    The handler judges the reader's right itself: no scope letter stands for an operation. `reads`: media
    types, not FHIR's, whose bodies it takes as they are."""

    name: str
    level: Level
    types: frozenset[str]
    handler: Handler
    affects_state: bool
    definition: str = ""
    reads: frozenset[str] = frozenset()

    def on(self, type: str) -> bool:
        """Whether it is offered on that type."""
        return self.level == "system" or not self.types or type in self.types


@dataclass(frozen=True, slots=True)
class Operations:
    """All of them; lookup by name, level and type."""

    all: tuple[Operation, ...] = ()

    def find(self, name: str, level: Level, type: str = "") -> Operation | None:
        """The one that answers there, or None."""
        for operation in self.all:
            if operation.name == name and operation.level == level and operation.on(type):
                return operation
        return None

    def at(self, level: Level, type: str = "") -> tuple[Operation, ...]:
        """Those offered at that level, for the CapabilityStatement and for naming what exists."""
        return tuple(operation for operation in self.all if operation.level == level and operation.on(type))


def parameters_of(sent: dict[str, Any] | None) -> dict[str, Any]:
    """What was sent as a Parameters: empty for nothing; a resource by itself is the parameter `resource`.
    Raises Invalid. FHIR R4 operations.html#request"""
    if sent is None:
        return {"resourceType": "Parameters"}
    if sent.get("resourceType") == "Parameters":
        _check_shape(sent)
        return sent
    if not isinstance(sent.get("resourceType"), str):
        raise Invalid("no-resource-type", "an operation takes a Parameters resource")
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": sent}]}


def _check_shape(parameters: dict[str, Any]) -> None:
    """So far as every operation relies on it: a list of objects that have a name. Raises Invalid."""
    pending = [(parameters.get("parameter", []), "Parameters.parameter")]
    while pending:
        items, path = pending.pop()
        if not isinstance(items, list):
            raise Invalid("bad-parameters", f"{path} is not an array", expression=path)
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise Invalid("bad-parameters", f"{path}[{index}] has no name", expression=f"{path}[{index}]")
            if "part" in item:
                pending.append((item["part"], f"{path}[{index}].part"))
