"""Extensions: defined by their URL, allowed where they stand, modifiers where modifiers belong.

FHIR R4 extensibility.html; defining-extensions.html#context
"""

from __future__ import annotations

from typing import Any

from profiles import definitions
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item

VERSIONED = Message(
    "value",
    "versioned-extension",
    "an extension's URL has no version; take away what follows '|'",
    "l'URL d'une extension n'a pas de version ; retirez ce qui suit « | »",
)
NOT_HERE = Message(
    "structure",
    "extension-context",
    "this extension is not allowed on this element; its definition names where it may stand",
    "cette extension n'est pas permise sur cet élément ; sa définition dit où elle peut l'être",
)
MODIFIER = Message(
    "structure",
    "extension-modifier",
    "an extension that changes the meaning stands in modifierExtension, any other in extension; move it",
    "une extension qui change le sens va dans modifierExtension, toute autre dans extension ; déplacez-la",
)


_CORE = "http://hl7.org/fhir/StructureDefinition/"
ALSO_ALLOWED = {
    _CORE + "structuredefinition-fhir-type": frozenset({"ElementDefinition.type"}),
    _CORE + "regex": frozenset({"ElementDefinition.type"}),
    _CORE + "structuredefinition-normative-version": frozenset(
        {"ElementDefinition", "CodeSystem", "ValueSet", "OperationDefinition"}
    ),
}
"""Where the R4 publication itself puts three of its extensions, against the context that it defines for them;
HL7 widened those contexts later."""


UNOWNED = (
    "example.org/",
    "example.com/",
    "acme.com/",
    "nema.org/",
    "hl7.org/fhir/tools/",
    "operationoutcome-issue-",
)
"""Parts of URLs whose extensions no R4 package has: made for examples, by DICOM, by HL7's tools."""


def check(item: Item, names: tuple[str, ...], context: Context) -> str:
    """`names` are the paths and types that the element holding it is known by; of an extension also its URL.
    Gives the URL of an extension that is known, else ""."""
    url = item.value.get("url")
    if not isinstance(url, str) or (":" not in url and names[-1:] == ("Extension",)):
        return ""  # a part of a complex extension, which the profile of the whole judges
    if "|" in url:
        context.report.note(item.where, VERSIONED)
    known = context.profiles.extension(url) if ":" in url else None
    if known is None:
        if names[-1:] != ("Extension",):
            context.doubt(item.where, _unknown(url))
        return ""
    allowed = known.allowed.get(names)
    if allowed is None:
        allowed = known.allowed[names] = _allowed(known.structure, names)
    if not allowed:
        context.report.note(item.where, NOT_HERE)
    if known.modifies != (item.where[1] == "modifierExtension"):
        context.report.note(item.where, MODIFIER)
    if known.profile is not None:
        known.profile.check(item, context)
    return url


def _unknown(url: str) -> Message:
    known = url[:200]
    return Message(
        "extension",
        "unknown-extension",
        f"the extension {known} is not known here; install the package that defines it",
        f"l'extension {known} n'est pas connue ici ; installez le paquet qui la définit",
        "warning" if any(part in url for part in UNOWNED) else "error",
    )


def _allowed(structure: dict[str, Any], names: tuple[str, ...]) -> bool:
    contexts = structure.get("context") or []
    if not contexts or ALSO_ALLOWED.get(str(structure.get("url")), frozenset()) & frozenset(names):
        return True
    for context in contexts:
        expression = str(context.get("expression", ""))
        if context.get("type") == "fhirpath":
            return True  # not told by the place alone
        if context.get("type") == "extension":
            if expression in names:
                return True
            continue
        if expression in names or expression in ("Element", "Base"):
            return True
        if any("." not in name and definitions.is_kind_of(name, expression) for name in names):
            return True
        if any(_inherited(name, expression) for name in names):
            return True
    return False


def _inherited(name: str, expression: str) -> bool:
    """`Resource.meta` allows `Patient.meta`; a deeper path is one of a data type's elements."""
    type, _, rest = name.partition(".")
    wanted, _, below = expression.partition(".")
    return bool(rest) and rest == below and definitions.is_kind_of(type, wanted)
