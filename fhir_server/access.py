"""Who may see what, as part of the query: nothing is filtered on the way out.

An Access travels with every request. Its scopes say which interactions on which types are allowed; its
`audience` says whose télédossiers are visible: a set of references ("Practitioner/p08", "Organization/urg-
auch"), or None for a machine that sees all. A télédossier (ServiceRequest) names its own audience in the
`audience` index entry, kept by the domain alone; every other clinical resource is visible through the
télédossier it belongs to, followed by the table below. The directory and the definitions are open to every
authenticated reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.search.nodes import And, Chain, Everything, Has, Node, Nothing, Or, Reference

DIRECTORY = frozenset(
    {"Organization", "Practitioner", "PractitionerRole", "HealthcareService", "Location", "Endpoint"}
)
DEFINITIONS = frozenset(
    {
        "CodeSystem",
        "ValueSet",
        "ConceptMap",
        "NamingSystem",
        "StructureDefinition",
        "SearchParameter",
        "OperationDefinition",
        "Questionnaire",
        "PlanDefinition",
        "ActivityDefinition",
        "CapabilityStatement",
        "CompartmentDefinition",
        "ImplementationGuide",
        "MessageDefinition",
        "StructureMap",
    }
)

# type → reference entries that lead to the ServiceRequest it belongs to
BELONGS_BY: Mapping[str, tuple[str, ...]] = {
    "Task": ("focus",),
    "DiagnosticReport": ("based-on",),
    "ImagingStudy": ("basedon",),
    "Communication": ("based-on",),
    "QuestionnaireResponse": ("based-on",),
    "DocumentReference": ("related",),
    "Binary": ("security-context",),
    "Consent": ("data",),
    "ChargeItem": ("request",),
    "Provenance": ("target",),
    "AuditEvent": ("entity",),
}
# type → ServiceRequest's reference entry that leads to it
BELONGS_TO: Mapping[str, str] = {"Patient": "subject", "Encounter": "encounter"}


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope: `type` or "*", and the letters of cruds it grants. SMART App Launch 2.2 scopes."""

    type: str
    letters: str

    def grants(self, type: str, letter: str) -> bool:
        return letter in self.letters and self.type in ("*", type)


@dataclass(frozen=True, slots=True)
class Access:
    """One reader's rights. `subject` names the reader: "Practitioner/p08", "Client/reporting", "System"."""

    subject: str
    scopes: tuple[Scope, ...]
    audience: frozenset[str] | None = frozenset()

    def allows(self, type: str, letter: str) -> bool:
        """Whether the interaction (c, r, u, d or s) on that type is within the granted scopes."""
        return any(scope.grants(type, letter) for scope in self.scopes)

    def restrict(self, type: str, where: Node) -> Node:
        """`where`, narrowed to what this reader may see of `type`. Applied at every hop, before any limit."""
        visible = self.visible(type)
        return where if isinstance(visible, Everything) else And((visible, where))

    def visible(self, type: str) -> Node:
        """The condition alone: Everything, Nothing, or the way to a télédossier of this audience."""
        if not (self.allows(type, "r") or self.allows(type, "s")):
            return Nothing()
        if self.audience is None or type in DIRECTORY or type in DEFINITIONS:
            return Everything()
        if not self.audience:
            return Nothing()
        mine = Reference("audience", tuple(sorted(self.audience)))
        if type == "ServiceRequest":
            return mine
        if type in BELONGS_BY:
            ways = tuple(Chain(param, "ServiceRequest", mine) for param in BELONGS_BY[type])
            return ways[0] if len(ways) == 1 else Or(ways)
        if type in BELONGS_TO:
            return Has("ServiceRequest", BELONGS_TO[type], mine)
        return Nothing()


SYSTEM = Access("System", (Scope("*", "cruds"),), None)
"""The platform itself: jobs, loaders, and the domain's own transactions after it has judged the person's
right."""
