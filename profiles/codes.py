"""How validation asks about codes: the CodeChecker it is given, and the answer's form.

The terminology floor is above this one, so validation never imports it: whoever calls `validation.validate`
hands a checker over, or none, and then bindings beyond the built-in tables are not judged.

FHIR R4 terminologies.html; terminology-service.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Coding:
    """A code of a system, with the display that its code system gives, or None."""

    system: str
    code: str
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a code is in a value set. `unknown` says that it cannot be judged here, and `unknown_systems`
    names the code systems that are missing for it. `system` is the code's, found when none was given;
    `display` is the one that the code system prefers. `message` is for people, and repeats no content but
    the code."""

    result: Literal["yes", "no", "unknown"]
    message: str = ""
    system: str | None = None
    display: str | None = None
    unknown_systems: tuple[str, ...] = ()


class CodeChecker(Protocol):
    """Synchronous and pure over loaded tables. A value set is named by its canonical URL, with or without a
    version; no method raises for a value set, system or code that is unknown."""

    def validate_code(self, value_set: str, system: str | None, code: str, display: str | None) -> Verdict:
        """Is the code in the value set? Without a system, the code alone must tell. A display that is none
        of the concept's makes the answer `yes` with a message."""
        ...

    def validate_in_system(self, system: str, code: str, display: str | None) -> Verdict:
        """Has the code system the code? `unknown` where it is not loaded, or only a part of it."""
        ...

    def expand(self, value_set: str, *, limit: int) -> tuple[Coding, ...] | None:
        """At most `limit` members; None where this cannot be judged here."""
        ...

    def subsumed(self, system: str, code: str) -> tuple[str, ...] | None:
        """The code and all its descendants; None where the system or code is unknown."""
        ...

    def ancestors(self, system: str, code: str) -> tuple[str, ...] | None:
        """The code and all its ancestors; None where the system or code is unknown."""
        ...
