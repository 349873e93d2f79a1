"""`binding`: codes, Codings and CodeableConcepts against a value set, through the CodeChecker.

Required: a code outside is an error. Extensible: a warning, as a code that the set lacks may be used.
Preferred: information. Example: not judged. A write, which only a required binding can refuse, is judged by
those alone. Of several codings one must fit; displays that are none of the concept's are warnings. What
cannot be judged is a warning that names the missing system.

FHIR R4 terminologies.html#strength
"""

from __future__ import annotations

from dataclasses import dataclass

from profiles import definitions
from profiles.codes import Verdict
from profiles.outcomes import Severity
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item, codings

SEVERITY: dict[str, Severity] = {"required": "error", "extensible": "warning", "preferred": "information"}


WIDEST = {"http://hl7.org/fhir/ValueSet/languages": "http://hl7.org/fhir/ValueSet/all-languages"}
"""Value sets that R4 binds with another, beyond which no code may go (elementdefinition-maxValueSet)."""


@dataclass(frozen=True, slots=True)
class Binding:
    strength: str
    value_set: str

    def check(self, item: Item, context: Context) -> None:
        if self.strength != "required" and not context.strict:
            return
        found = list(codings(item.value, item.type))
        if not found:
            return
        verdicts = [self._ask(context, *coding) for coding in found]
        results = {verdict.result for verdict in verdicts}
        if "yes" in results:
            for verdict in verdicts:
                if verdict.result == "yes" and verdict.message:
                    context.report.note(item.where, _display(verdict))
        elif "unknown" in results:
            if context.codes is None:
                return
            systems = sorted({system for verdict in verdicts for system in verdict.unknown_systems})
            context.report.note(item.where, self._unknown(systems))
        else:
            widest = WIDEST.get(self.value_set.partition("|")[0])
            if widest is None:
                context.report.note(item.where, self._outside())
            else:
                Binding("required", widest).check(item, context)

    def _ask(self, context: Context, system: str | None, code: str, display: str | None) -> Verdict:
        if context.codes is not None:
            return context.codes.validate_code(self.value_set, system, code, display)
        table = definitions.codes(self.value_set.partition("|")[0])
        if table is None:
            return Verdict("unknown", unknown_systems=(system,) if system else ())
        systems = table if system is None else {system: table.get(system, frozenset())}
        return Verdict("yes" if any(code in codes for codes in systems.values()) else "no")

    def _outside(self) -> Message:
        return Message(
            "code-invalid",
            "bad-code",
            f"no code here is of the value set {self.value_set} ({self.strength}); use one of its codes",
            f"aucun code n'appartient au jeu de valeurs {self.value_set} ({self.strength}) ; "
            "utilisez l'un de ses codes",
            SEVERITY[self.strength],
        )

    def _unknown(self, systems: list[str]) -> Message:
        which = ", ".join(systems) or self.value_set
        severity: Severity = "warning" if self.strength == "required" else "information"
        return Message(
            "not-found",
            "code-not-judged",
            f"the code cannot be judged against {self.value_set}: {which} is not loaded here",
            f"le code ne peut être vérifié dans {self.value_set} : {which} n'est pas chargé ici",
            severity,
        )


def _display(verdict: Verdict) -> Message:
    return Message(
        "code-invalid",
        "bad-display",
        f"the display is none of the concept's; expected {verdict.display or 'that of the code system'}",
        f"le libellé n'est pas celui du concept ; attendu : {verdict.display or 'celui du système'}",
        "warning",
    )
