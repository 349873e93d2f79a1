"""The functions, one file per chapter of the specification. FHIRPath N1 §5; FHIR R4 fhirpath.html#functions

A function is a builder: it gets the closure of what it is called on, the trees of its arguments, and a
Compile for those, and returns its closure. Those whose result is a Boolean stand in TESTS and give a truth,
which becomes a collection only where one is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from profiles.fhirpath.functions import (
    boundaries,
    conversion,
    existence,
    fhir,
    filtering,
    keys,
    math,
    navigation,
    strings,
    subsetting,
    terminology,
)
from profiles.fhirpath.functions.calling import Builder, Compile, Run, Test, TestBuilder, as_run
from profiles.fhirpath.nodes import Collection, Scope
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
        **keys.BUILDERS,
    }
)
TESTS: Mapping[str, TestBuilder] = MappingProxyType(
    {
        **existence.TESTS,
        **filtering.TESTS,
        **conversion.TESTS,
        **strings.TESTS,
        **boundaries.TESTS,
        **fhir.TESTS,
        **terminology.TESTS,
    }
)


def build(name: str, of: Run | None, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """The closure of a call. Raises Invalid when there is no such function, or with other arguments."""
    if name in TESTS:
        return as_run(build_test(name, of, arguments, compile))
    builder = BUILDERS.get(name)
    if builder is None:
        raise Invalid("fhirpath-unsupported", f"FHIRPath function {name[:64]}() is not offered")
    return builder(of or _focus, arguments, compile)


def build_test(name: str, of: Run | None, arguments: tuple[Expression, ...], compile: Compile) -> Test:
    """The closure of a call of one of TESTS. Raises Invalid for other arguments than it takes."""
    return TESTS[name](of or _focus, arguments, compile)


def _focus(focus: Collection, scope: Scope) -> Collection:
    return focus
