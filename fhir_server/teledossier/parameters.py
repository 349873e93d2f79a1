"""Reading an operation's Parameters: typed, and a clear 400 for what does not fit.

FHIR R4 parameters.html
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fhir_server.teledossier.vocabulary import Resource
from profiles.outcomes import Invalid, Unprocessable
from profiles.validation import validate

LONGEST_TEXT = 20_000
"""Characters in one text from a person."""
MOST_ISSUES = 50


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one call by name."""

    entries: tuple[Resource, ...]

    @classmethod
    def of(cls, resource: Resource, known: Collection[str]) -> Parameters:
        """Raises Invalid for a name that the operation does not have."""
        entries = tuple(one for one in resource.get("parameter", ()) if isinstance(one, dict))
        strange = sorted({str(one.get("name")) for one in entries} - set(known))
        if strange:
            raise Invalid(
                "unknown-parameter", f"no parameter {', '.join(strange)}; known: {', '.join(sorted(known))}"
            )
        return cls(entries)

    def has(self, name: str) -> bool:
        return any(one["name"] == name for one in self.entries)

    def all(self, name: str, kinds: Collection[str], python: type) -> list[Any]:
        """Every value of a name, whichever of the `kinds` (valueString, resource, …) it came as. Raises
        Invalid."""
        found = []
        for one in self.entries:
            if one["name"] == name:
                fits = [one[kind] for kind in kinds if isinstance(one.get(kind), python)]
                if not fits:
                    raise Invalid(
                        "bad-parameter", f"parameter '{name}' comes as {' or '.join(sorted(kinds))}"
                    )
                found.append(fits[0])
        return found

    def one(self, name: str, kinds: Collection[str], python: type) -> Any:
        """The value of a name or None. Raises Invalid for several."""
        found = self.all(name, kinds, python)
        if len(found) > 1:
            raise Invalid("repeated-parameter", f"parameter '{name}' comes once")
        return found[0] if found else None

    def text(self, name: str) -> str:
        """A string, markdown or code; "" if not given."""
        found = self.one(name, ("valueString", "valueMarkdown", "valueCode"), str) or ""
        if len(found) > LONGEST_TEXT:
            raise Invalid("too-long", f"parameter '{name}' has more than {LONGEST_TEXT} characters")
        return str(found)

    def code(self, name: str, known: Collection[str] = ()) -> str | None:
        found: str | None = self.one(name, ("valueCode", "valueString"), str)
        if found is not None and known and found not in known:
            raise Invalid("bad-parameter", f"parameter '{name}' is one of {', '.join(known)}")
        return found

    def is_code(self, name: str) -> bool:
        """Whether it was sent as a code."""
        return any("valueCode" in one for one in self.entries if one["name"] == name)

    def boolean(self, name: str) -> bool | None:
        return next(iter(self.all(name, ("valueBoolean",), bool)), None)

    def integer(self, name: str, most: int) -> int | None:
        """0 to `most`."""
        found: int | None = self.one(name, ("valueInteger", "valuePositiveInt", "valueUnsignedInt"), int)
        if found is not None and (isinstance(found, bool) or not 0 <= found <= most):
            raise Invalid("bad-parameter", f"parameter '{name}' is a whole number from 0 to {most}")
        return found

    def reference(self, name: str) -> str:
        """`Type/id` of a Reference; "" if not given."""
        found = self.references(name)
        if len(found) > 1:
            raise Invalid("repeated-parameter", f"parameter '{name}' comes once")
        return found[0] if found else ""

    def references(self, name: str) -> list[str]:
        found = []
        for one in self.all(name, ("valueReference",), dict):
            reference = one.get("reference")
            if not isinstance(reference, str) or not reference:
                raise Invalid("bad-parameter", f"parameter '{name}' is a Reference with a 'reference'")
            found.append("/".join(reference.rsplit("/", 2)[-2:]))
        return found

    def resource(self, name: str, type: str, **defaults: str) -> Resource | None:
        """A valid resource of that type or None; `defaults` fill what a caller may leave out. Raises Invalid,
        Unprocessable with every issue of the base validation."""
        found = self.one(name, ("resource",), dict)
        if found is None:
            return None
        if found.get("resourceType") != type:
            raise Invalid("bad-parameter", f"parameter '{name}' is a resource {type}")
        whole: Resource = {**defaults, **found}
        issues = [issue for issue in validate(whole) if issue.severity in ("fatal", "error")]
        if issues:
            raise Unprocessable(
                "invalid-resource", f"parameter '{name}' is no valid {type}", issues=issues[:MOST_ISSUES]
            )
        return whole

    def parts(self, name: str, known: Collection[str]) -> Parameters | None:
        """The parts of a parameter as Parameters of their own."""
        found = [one for one in self.entries if one["name"] == name]
        if len(found) > 1:
            raise Invalid("repeated-parameter", f"parameter '{name}' comes once")
        if not found:
            return None
        parts = found[0].get("part", [])
        if not isinstance(parts, list) or not all(isinstance(one, dict) and "name" in one for one in parts):
            raise Invalid("bad-parameter", f"parameter '{name}' has parts")
        return Parameters.of({"parameter": parts}, known)
