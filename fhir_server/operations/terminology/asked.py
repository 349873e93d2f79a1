"""What a terminology operation is asked: its parameters, from the address or a Parameters resource.

FHIR R4 operations.html#request
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.operations.registry import OperationRequest
from profiles.outcomes import Invalid, Unprocessable
from profiles.validation import validate

Json = dict[str, Any]
LONGEST = 5_000
"""Characters of one value."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Values by name: texts as the address or a primitive gives them, resources and data types as objects."""

    texts: Mapping[str, list[str]]
    objects: Mapping[str, Json]

    @classmethod
    def of(cls, request: OperationRequest, texts: Collection[str], objects: Mapping[str, str]) -> Asked:
        """`objects`: name → the FHIR type it comes as. Raises Invalid for what the operation does not
        take."""
        found: dict[str, list[str]] = {}
        whole: dict[str, Json] = {}
        for name, value in request.query:
            _check_name(name, texts, objects)
            if name in objects:
                raise Invalid(
                    "bad-parameter", f"'{name}' cannot stand in the address; send a Parameters resource"
                )
            found.setdefault(name, []).append(value)
        for row in request.parameters.get("parameter") or []:
            name, value = row["name"], _value(row)
            if name == "resource":
                name = next((own for own, type in objects.items() if type == _type(value)), name)
            _check_name(name, texts, objects)
            if name in objects:
                if not isinstance(value, dict) or name in whole:
                    raise Invalid("bad-parameter", f"'{name}' comes once, as a {objects[name]}")
                whole[name] = value
            else:
                found.setdefault(name, []).append(_text(name, value))
        if any(len(value) > LONGEST for values in found.values() for value in values):
            raise Invalid("too-long", f"a parameter has more than {LONGEST} characters")
        return cls(found, whole)

    def all(self, name: str) -> list[str]:
        return self.texts.get(name, [])

    def text(self, name: str) -> str | None:
        """None if not given. Raises Invalid for several."""
        values = self.texts.get(name, [])
        if len(values) > 1:
            raise Invalid("repeated-parameter", f"'{name}' comes once")
        return values[0] if values else None

    def number(self, name: str) -> int | None:
        """Not negative. Raises Invalid."""
        value = self.text(name)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or len(value) > 9:
            raise Invalid("bad-parameter", f"'{name}' is a whole number, 0 or more")
        return int(value)

    def flag(self, name: str) -> bool | None:
        """Raises Invalid."""
        value = self.text(name)
        if value not in (None, "true", "false"):
            raise Invalid("bad-parameter", f"'{name}' is true or false")
        return None if value is None else value == "true"

    def resource(self, name: str, type: str) -> Json | None:
        """A definition sent along, of valid structure and that type. Raises Unprocessable, Invalid."""
        found = self.objects.get(name)
        if found is None:
            return None
        errors = [issue for issue in validate(found, type) if issue.severity in ("fatal", "error")]
        if errors:
            raise Unprocessable("invalid-resource", errors[0].diagnostics, issues=errors)
        return found


def coding_of(value: Json) -> tuple[str | None, str, str | None]:
    """(system, code, display) of a Coding. Raises Invalid."""
    system, code, display = (value.get(name) for name in ("system", "code", "display"))
    if not isinstance(code, str) or not all(
        part is None or isinstance(part, str) for part in (system, display)
    ):
        raise Invalid("bad-coding", "a Coding here has a code, and its system and display are texts")
    return system, code, display


def _check_name(name: str, texts: Collection[str], objects: Collection[str]) -> None:
    if name not in texts and name not in objects:
        valid = ", ".join(sorted([*texts, *objects]))
        raise Invalid("unknown-parameter", f"'{name[:64]}' is no parameter of this operation; valid: {valid}")


def _value(row: Json) -> Any:
    if "resource" in row:
        return row["resource"]
    return next((value for key, value in row.items() if key.startswith("value")), None)


def _type(value: Any) -> str:
    return str(value.get("resourceType")) if isinstance(value, dict) else ""


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise Invalid("bad-parameter", f"'{name}' has a single value")
