"""The terminology operations, over what is stored, installed and built in.

FHIR R4 terminology-service.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fhir_server.operations.registry import Handler, Level, Operation
from fhir_server.operations.terminology import expand, lookup, subsumes, validate_code

_DEFINITION = "http://hl7.org/fhir/OperationDefinition/"
_LEVELS: tuple[Level, ...] = ("type", "instance")


def _offered(
    type: str, name: str, handler: Handler, levels: tuple[Level, ...] = _LEVELS
) -> tuple[Operation, ...]:
    made: Callable[[Level], Operation] = partial(_operation, type, name, handler)
    return tuple(made(level) for level in levels)


def _operation(type: str, name: str, handler: Handler, level: Level) -> Operation:
    definition = f"{_DEFINITION}{type}-{name}"
    return Operation(name, level, frozenset({type}), handler, affects_state=False, definition=definition)


OPERATIONS: tuple[Operation, ...] = (
    *_offered("CodeSystem", "lookup", lookup.lookup, ("type",)),
    *_offered("CodeSystem", "validate-code", validate_code.in_code_system),
    *_offered("CodeSystem", "subsumes", subsumes.subsumes),
    *_offered("ValueSet", "expand", expand.expand),
    *_offered("ValueSet", "validate-code", validate_code.in_value_set),
)
