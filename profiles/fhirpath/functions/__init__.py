"""The functions, one file per chapter of the specification. FHIRPath N1 §5; FHIR R4 fhirpath.html#functions

A function is a builder: it gets the closure of what it is called on, the trees of its arguments, and `build`
to compile those, and returns its closure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from profiles.fhirpath.functions import (
    boundaries,
    conversion,
    existence,
    fhir,
    filtering,
    math,
    navigation,
    strings,
    subsetting,
)
from profiles.fhirpath.functions.calling import Builder, Run
from profiles.fhirpath.syntax import Expression
from profiles.outcomes import Invalid

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        **existence.BUILDERS,
        **filtering.BUILDERS,
        **subsetting.BUILDERS,
        **conversion.BUILDERS,
        **strings.BUILDERS,
        **math.BUILDERS,
        **navigation.BUILDERS,
        **boundaries.BUILDERS,
        **fhir.BUILDERS,
    }
)


def build(
    name: str, of: Run | None, arguments: tuple[Expression, ...], build_tree: Callable[[Expression], Run]
) -> Run:
    """The closure of a call. Raises Invalid when there is no such function, or with other arguments."""
    builder = BUILDERS.get(name)
    if builder is None:
        raise Invalid("fhirpath-unsupported", f"FHIRPath function {name[:64]}() is not offered")
    return builder(of or (lambda focus, scope: focus), arguments, build_tree)
