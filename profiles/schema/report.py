"""Gathering findings. Places are kept as links and become text only for the few that are reported."""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.outcomes import Issue, Severity

MAX_ISSUES = 200
"""Beyond this many a report stops growing: enough to work with, and hostile input stays cheap."""

Where = tuple["Where | None", str, int]
"""(the place above, FHIRPath step, index or -1); the root's step is the type."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a rule says when it is broken, made once when the rule is compiled: what is wrong and how to mend
    it, in English and in French; content is never repeated."""

    code: str
    slug: str
    english: str
    french: str
    severity: Severity = "error"


@dataclass(slots=True)
class Report:
    """Findings of one validation. `contained` holds, for each resource being checked, the ids it contains;
    `used` those that some reference named."""

    issues: list[Issue] = field(default_factory=list)
    contained: list[frozenset[str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def add(self, where: Where, code: str, slug: str, english: str, french: str) -> None:
        """One error. The texts say what is wrong and what is expected, and repeat no content."""
        if len(self.issues) < MAX_ISSUES:
            path = expression(where)
            self.issues.append(Issue("error", code, slug, f"{path}: {english}", path, f"{path} : {french}"))

    def note(self, where: Where, message: Message) -> None:
        """One finding of a rule."""
        if len(self.issues) < MAX_ISSUES:
            path = expression(where)
            if any(
                one.slug == message.slug and one.expression == path and message.english in one.diagnostics
                for one in self.issues
            ):
                return  # an element and its slice, or a profile and its base, say the same
            english, french = f"{path}: {message.english}", f"{path} : {message.french}"
            self.issues.append(Issue(message.severity, message.code, message.slug, english, path, french))

    @property
    def failed(self) -> bool:
        """Whether an error is among the findings."""
        return any(issue.severity in ("error", "fatal") for issue in self.issues)


def expression(where: Where) -> str:
    """The FHIRPath of a place."""
    above, step, index = where
    text = step if index < 0 else f"{step}[{index}]"
    return text if above is None else f"{expression(above)}.{text}"


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string" if value else "an empty string"
        case dict():
            return "an object" if value else "an empty object"
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "a number"


def french_kind(value: object) -> str:
    """The same in French."""
    match value:
        case None:
            return "null"
        case bool():
            return "un booléen"
        case str():
            return "un texte" if value else "un texte vide"
        case dict():
            return "un objet" if value else "un objet vide"
        case list():
            return "une liste" if value else "une liste vide"
        case _:
            return "un nombre"
