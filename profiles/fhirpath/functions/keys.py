"""What SQL on FHIR adds, so that rows of different views can be joined: `getResourceKey`, `getReferenceKey`.

A key is "Type/id"; a reference to another server keeps its whole address, and meets no resource of this.
SQL on FHIR v2, functions
"""

from __future__ import annotations

from collections.abc import Mapping

from profiles import definitions, references
from profiles.fhirpath.functions.calling import Builder, Compile, Run, count, named_type, plain
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.syntax import Expression


def _resource_key(found: Collection) -> Collection:
    return [
        (f"{type}/{value['id']}", "System.String", None)
        for value, type, _sibling in found
        if isinstance(value, dict)
        and type in definitions.resource_types()
        and isinstance(value.get("id"), str)
    ]


def _reference_key(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """With a type, keys of resources of that type alone."""
    count("getReferenceKey", arguments, 0, 1)
    wanted = named_type("getReferenceKey", arguments).rpartition(".")[2] if arguments else ""

    def run(focus: Collection, scope: Scope) -> Collection:
        texts = [
            value.get("reference") for value, _type, _sibling in of(focus, scope) if isinstance(value, dict)
        ]
        parsed = [references.parse(text) for text in texts if isinstance(text, str)]
        return [
            (one.target, "System.String", None)
            for one in parsed
            if one.id and one.kind != "fragment" and wanted in ("", one.type)
        ]

    return run


BUILDERS: Mapping[str, Builder] = {
    "getResourceKey": plain(_resource_key, "getResourceKey"),
    "getReferenceKey": _reference_key,
}
