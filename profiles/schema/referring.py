"""What is judged of a Reference by itself: that it says something, and that its target may stand there.

FHIR R4 references.html#literal, #contained
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiles import definitions, references
from profiles.definitions import Element
from profiles.schema.report import Report, Where

Check = Callable[[Any, Where, Report], None]


def refers(element: Element) -> Check:
    """A Reference says something, and its target is of a type allowed here."""
    targets = frozenset(element.targets) if "Resource" not in element.targets else frozenset()

    def check(value: Any, where: Where, report: Report) -> None:
        text = value.get("reference")
        if text is None:
            if not value.keys() & {"identifier", "display", "extension", "_reference"}:
                report.add(
                    where,
                    "structure",
                    "empty-reference",
                    "expected a reference, an identifier or a display",
                    "attendu : une référence, un identifiant ou un libellé",
                )
            return
        if text.__class__ is not str:
            return
        found = references.parse(text)
        if found.kind == "fragment":
            _check_fragment(found.id, where, report)
        elif found.kind == "other":
            expected = "Type/id, an absolute URL, urn:uuid:…, urn:oid:… or #id"
            report.add(
                (where, "reference", -1),
                "value",
                "bad-reference",
                f"this is no reference; expected {expected}",
                "ceci n'est pas une référence ; attendu : Type/id, une URL absolue, un URN ou #id",
            )
        elif found.kind == "local" and found.type not in definitions.resource_types():
            text, french = "there is no such resource type", "ce type de ressource n'existe pas"
            report.add((where, "reference", -1), "value", "bad-reference", text, french)
        elif targets and found.kind == "local" and found.type not in targets:
            expected = ", ".join(sorted(targets))
            text = f"a {found.type} is referred to; expected {expected}"
            french = f"un {found.type} est référencé ; attendu : {expected}"
            report.add((where, "reference", -1), "structure", "wrong-target", text, french)

    return check


def _check_fragment(id: str, where: Where, report: Report) -> None:
    report.used.add(id)
    if id and report.contained and id not in report.contained[-1]:
        text = "no contained resource has this id; expected one"
        french = "aucune ressource contenue n'a cet id ; attendu : une"
        report.add((where, "reference", -1), "structure", "missing-contained", text, french)
