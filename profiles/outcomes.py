"""What can go wrong, said once: the Issue and the one error family.

    TeledossierError            slug, HTTP status, issues
    ├── Invalid            400  the request itself is wrong (syntax, parameters, structure of an envelope)
    ├── Unauthenticated    401  no valid token or session
    ├── Forbidden          403  known, but not allowed this interaction
    ├── NotFound           404  not there, or not for this reader: the two are never told apart
    ├── NotAllowed         405  the interaction is not offered on this address
    ├── NotAcceptable      406  none of the asked media types can be served
    ├── Conflict           409  an illegal step, a lost race, a referenced resource in the way
    ├── Gone               410  deleted
    ├── PreconditionFailed 412  If-Match does not fit, or a condition matched several
    ├── TooLarge           413  a body over the limit
    ├── UnsupportedMedia   415  a body in a format that is not read here
    ├── Unprocessable      422  the resource breaks FHIR or a profile; carries every issue
    ├── NotSupported       501  named by the standard, not offered by this store or server
    └── Unavailable        503  a part is not ready; try again

    SchemaMismatch              no answer to a request: the program does not start on such a file or database

Validation returns issues, interactions raise. The edge renders one error in three dialects (OperationOutcome,
DICOM status, OAuth JSON) and, for people, in French. Messages never carry patient data.
FHIR R4 operationoutcome.html; http.html#status-codes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_PLACE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-"
Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding. `code` is from the issue-type value set; `slug` is ours and stable; `expression` is a
    FHIRPath such as `Patient.name[0].family`, or empty when the finding has no place in a resource. `text`
    says it in French for the people on the screen, where the domain's definitions have words for it. `line`
    and `column`, from 1, are the element's place in the JSON that was sent; 0 is not known."""

    severity: Severity
    code: str
    slug: str
    diagnostics: str
    expression: str = ""
    text: str = ""
    line: int = 0
    column: int = 0

    def as_fhir(self) -> dict[str, Any]:
        """The OperationOutcome.issue element."""
        issue: dict[str, Any] = {
            "severity": self.severity,
            "code": self.code,
            "details": {
                "coding": [{"system": "https://teledossier.example/fhir/CodeSystem/issue", "code": self.slug}]
            },
            "diagnostics": self.diagnostics,
        }
        if self.text:
            issue["details"]["text"] = self.text
        if self.expression:
            issue["expression"] = [self.expression]
        if self.line:
            issue["diagnostics"] += f" (line {self.line}, column {self.column})"
            issue["extension"] = [
                {"url": _PLACE + "line", "valueInteger": self.line},
                {"url": _PLACE + "col", "valueInteger": self.column},
            ]
        return issue


def operation_outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """An OperationOutcome; never empty, as the resource demands at least one issue."""
    if not issues:
        issues = [Issue("information", "informational", "ok", "All OK")]
    return {"resourceType": "OperationOutcome", "issue": [issue.as_fhir() for issue in issues]}


class TeledossierError(Exception):
    """The root of the family. Raise a child: `raise NotFound("no-such-resource", "Patient/12 is not
    known")`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"

    def __init__(
        self, slug: str, diagnostics: str, *, expression: str = "", issues: Sequence[Issue] = ()
    ) -> None:
        super().__init__(diagnostics)
        self.slug = slug
        self.issues: tuple[Issue, ...] = tuple(issues) or (
            Issue("error", self.code, slug, diagnostics, expression),
        )


class Invalid(TeledossierError):
    status, code = 400, "invalid"


class Unauthenticated(TeledossierError):
    status, code = 401, "login"


class Forbidden(TeledossierError):
    status, code = 403, "forbidden"


class NotFound(TeledossierError):
    status, code = 404, "not-found"


class NotAllowed(TeledossierError):
    status, code = 405, "not-supported"


class NotAcceptable(TeledossierError):
    status, code = 406, "not-supported"


class Conflict(TeledossierError):
    status, code = 409, "conflict"


class Gone(TeledossierError):
    status, code = 410, "deleted"


class PreconditionFailed(TeledossierError):
    status, code = 412, "conflict"


class TooLarge(TeledossierError):
    status, code = 413, "too-long"


class UnsupportedMedia(TeledossierError):
    status, code = 415, "not-supported"


class Unprocessable(TeledossierError):
    status, code = 422, "processing"


class TooManyRequests(TeledossierError):
    status, code = 429, "throttled"


class NotSupported(TeledossierError):
    status, code = 501, "not-supported"


class Unavailable(TeledossierError):
    status, code = 503, "transient"


class SchemaMismatch(Exception):
    """What is stored has another schema than this program, which does not start; the text names both."""
