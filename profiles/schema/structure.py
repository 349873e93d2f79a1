"""A type's definition compiled to one check: names, JSON kinds, cardinality, choices, formats, required
codes, references.

`checker(type key)` is made once per type and holds, for each JSON member, a small rule. A check runs through
the members that are there and touches the definition no more.

FHIR R4 json.html; conformance-rules.html; terminologies.html#required
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any

from profiles import definitions
from profiles.definitions import Element
from profiles.schema.primitives import FORMATS, Format
from profiles.schema.referring import Check, refers
from profiles.schema.report import Report, Where, french_kind, kind

Json = dict[str, Any]
Rule = Callable[[Any, Where, Report, Json], None]
"""Of a member's value, the place of its object, the report, and the object itself."""


@cache
def checker(type: str) -> Check:
    """The check of a complex type, backbone or resource type; of "Resource", whatever type the value says it
    is."""
    if type in definitions.ABSTRACT:
        return check_resource
    rules = _rules(type)
    required = _required(type)
    also = _ALSO.get(type)
    is_resource = type in definitions.resource_types()

    def check(value: Any, where: Where, report: Report) -> None:
        if value.__class__ is not dict:
            report.add(
                where,
                "structure",
                "wrong-type",
                f"{kind(value)} is here; expected an object ({type})",
                f"{french_kind(value)} est ici ; attendu : un objet ({type})",
            )
            return
        chosen: Json | None = None
        for name, item in value.items():
            found = rules.get(name)
            if found is None:
                if not (is_resource and name == "resourceType"):
                    _unknown(name, type, rules, where, report)
                continue
            rule, choice = found
            rule(item, where, report, value)
            if choice:
                chosen = {} if chosen is None else chosen
                if chosen.setdefault(choice, name.removeprefix("_")) != name.removeprefix("_"):
                    text = f"{choice}[x] is given in several types; expected one"
                    french = f"{choice}[x] est donné dans plusieurs types ; attendu : un seul"
                    report.add((where, choice, -1), "structure", "several-choices", text, french)
        for step, names in required:
            if not any(name in value for name in names):
                text = f"this element is missing; expected {_names(names, 'one of')}"
                french = f"cet élément manque ; attendu : {_names(names, 'un de')}"
                report.add((where, step, -1), "required", "missing-element", text, french)
        if not value:
            report.add(
                where,
                "structure",
                "empty",
                "an empty object is here; expected content, or no member at all",
                "un objet vide est ici ; attendu : un contenu, ou aucun membre",
            )
        if also is not None:
            also(value, where, report)

    return check


def check_resource(value: Any, where: Where, report: Report) -> None:
    """A whole resource at this place: one contained, in a Bundle's entry, in Parameters, or the root."""
    type = value.get("resourceType") if value.__class__ is dict else None
    if not isinstance(type, str) or type not in definitions.resource_types():
        text = "there is no such resource type" if type is not None else "there is no resourceType"
        french = "ce type de ressource n'existe pas" if type is not None else "il n'y a pas de resourceType"
        report.add(
            where,
            "structure",
            "unknown-resource-type",
            f"{text}; expected one of FHIR R4 (4.0.1)",
            f"{french} ; attendu : un de FHIR R4 (4.0.1)",
        )
        return
    if where[1] == "contained":
        _check_contained(value, where, report)
        checker(type)(value, where, report)
        return
    inside = value.get("contained")
    members = [one for one in inside if one.__class__ is dict] if inside.__class__ is list else []
    report.contained.append(frozenset(id for one in members if isinstance(id := one.get("id"), str)))
    used, report.used = report.used, set()
    checker(type)(value, where, report)
    if members:
        _check_uses(value, members, where, report)
    report.contained.pop()
    report.used = used


def _check_contained(value: Json, where: Where, report: Report) -> None:
    if "contained" in value:
        report.add(
            where,
            "structure",
            "nested-contained",
            "a contained resource contains others; expected none",
            "une ressource contenue en contient d'autres ; attendu : aucune",
        )
    if "id" not in value:
        report.add(
            (where, "id", -1),
            "required",
            "missing-element",
            "a contained resource has no id; expected one",
            "une ressource contenue n'a pas d'id ; attendu : un",
        )
    meta = value.get("meta")
    if meta.__class__ is dict and ("versionId" in meta or "lastUpdated" in meta):
        text = "a contained resource has a version of its own; expected no versionId or lastUpdated"
        french = "une ressource contenue a sa propre version ; attendu : ni versionId ni lastUpdated"
        report.add((where, "meta", -1), "structure", "contained-version", text, french)


def _check_uses(container: Json, members: list[Json], where: Where, report: Report) -> None:
    """Every contained resource is referred to, or refers to its container (dom-3)."""
    texts: set[str] = set()
    for place, one in enumerate(members):
        id = one.get("id")
        if not isinstance(id, str) or id in report.used:
            continue
        if not texts:
            _gather_texts(container, texts)
        if "#" + id not in texts and not _mentions(one, "#"):
            text = "nothing refers to this contained resource; expected a reference to it, or from it to '#'"
            french = (
                "rien ne mène à cette ressource contenue ; attendu : une référence à elle, ou d'elle à '#'"
            )
            report.add((where, "contained", place), "structure", "unused-contained", text, french)


def _gather_texts(value: Any, found: set[str]) -> None:
    """Every text that may be a fragment."""
    if value.__class__ is dict:
        for item in value.values():
            _gather_texts(item, found)
    elif value.__class__ is list:
        for item in value:
            _gather_texts(item, found)
    elif value.__class__ is str and value[:1] == "#":
        found.add(value)


def _mentions(value: Any, text: str) -> bool:
    if value.__class__ is dict:
        return any(_mentions(item, text) for item in value.values())
    if value.__class__ is list:
        return any(_mentions(item, text) for item in value)
    return bool(value == text)


def _rules(type: str) -> dict[str, tuple[Rule, str]]:
    """JSON member → its rule and, in a choice, the choice's name."""
    rules: dict[str, tuple[Rule, str]] = {}
    for name, (element, of_type) in definitions.properties(type).items():
        step = f"{element.name}.ofType({of_type})" if element.choice else element.name
        choice = element.name if element.choice else ""
        format = FORMATS.get(of_type)
        if format is None:
            rules[name] = (_complex(element, of_type, step), choice)
            continue
        rules[name] = (_primitive(element, _with_codes(format, element, of_type), step, name), choice)
        if of_type != "xhtml" and name != "id" and (type, name) != ("Extension", "url"):
            rules["_" + name] = (_sibling(element, step, name), choice)
    return rules


def _required(type: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(FHIRPath step, JSON members of which one must be there) of each required element."""
    found = []
    for element in definitions.elements(type).values():
        if element.min:
            names = [name for name, (of, _type) in definitions.properties(type).items() if of is element]
            found.append((element.name, (*names, *("_" + name for name in names))))
    return tuple(found)


def _names(names: Iterable[str], several: str) -> str:
    plain = [name for name in names if not name.startswith("_")]
    return plain[0] if len(plain) == 1 else f"{several} {', '.join(plain[:12])}"


def _unknown(name: str, type: str, rules: Iterable[str], where: Where, report: Report) -> None:
    near = get_close_matches(name[:64], list(rules), 1)
    hint, french_hint = (
        (f"; did you mean {near[0]}?", f" ; vouliez-vous dire {near[0]} ?") if near else ("", "")
    )
    text = f"{type} has no element {name[:64]!r}{hint}"
    french = f"{type} n'a pas d'élément {name[:64]!r}{french_hint}"
    report.add(where, "structure", "unknown-element", text, french)


def _with_codes(format: Format, element: Element, of_type: str) -> Format:
    """A code whose binding is required and enumerable has its codes for a format."""
    systems = definitions.codes(element.value_set) if of_type == "code" and element.value_set else None
    if systems is None:
        return format
    codes = frozenset().union(*systems.values())
    some = ", ".join(sorted(codes)[:12]) + (", …" if len(codes) > 12 else "")
    return Format(
        lambda value: value.__class__ is str and value in codes,
        f"a code of {element.value_set}: {some}",
        f"un code de {element.value_set} : {some}",
    )


def _wrong(value: Any, format: Format, where: Where, report: Report) -> None:
    if value.__class__ is str and value and "code of http" in format.expected:
        report.add(
            where,
            "code-invalid",
            "bad-code",
            f"this is no code of the required value set; expected {format.expected}",
            f"ce code n'est pas du jeu de valeurs requis ; attendu : {format.french}",
        )
    elif value.__class__ is list:
        text = f"a list is here; expected one value: {format.expected}"
        french = f"une liste est ici ; attendu : une seule valeur, {format.french}"
        report.add(where, "structure", "too-many", text, french)
    else:
        report.add(
            where,
            "value",
            "bad-format",
            f"{kind(value)} is here that does not fit; expected {format.expected}",
            f"{french_kind(value)} qui ne convient pas est ici ; attendu : {format.french}",
        )


def _primitive(element: Element, format: Format, step: str, name: str) -> Rule:
    test = format.test

    def one(value: Any, where: Where, report: Report, holder: Json) -> None:
        if not test(value):
            _wrong(value, format, (where, step, -1), report)

    def many(value: Any, where: Where, report: Report, holder: Json) -> None:
        if value.__class__ is not list or not value:
            _not_a_list(value, (where, step, -1), report)
            return
        for place, item in enumerate(value):
            if item is None:
                _check_gap(holder.get("_" + name), place, (where, step, place), report)
            elif not test(item):
                _wrong(item, format, (where, step, place), report)
        _check_count(element, len(value), (where, step, -1), report)

    return many if element.repeats else one


def _check_gap(siblings: Any, place: int, where: Where, report: Report) -> None:
    """A null in a list of primitives stands for a value that has only extensions."""
    if siblings.__class__ is not list or place >= len(siblings) or siblings[place] is None:
        report.add(
            where,
            "structure",
            "empty",
            "null is here without an extension beside it; expected a value",
            "null est ici sans extension à côté ; attendu : une valeur",
        )


def _sibling(element: Element, step: str, name: str) -> Rule:
    """The `_name` member: ids and extensions of a primitive."""
    check = checker("Element")

    def one(value: Any, where: Where, report: Report, holder: Json) -> None:
        check(value, (where, step, -1), report)

    def many(value: Any, where: Where, report: Report, holder: Json) -> None:
        if value.__class__ is not list or not value:
            _not_a_list(value, (where, step, -1), report)
            return
        values = holder.get(name)
        if values.__class__ is list and len(values) != len(value):
            counts = f"{len(values)} and {len(value)}"
            text = f"{name} and _{name} have {counts} items; expected as many, with nulls for gaps"
            french = (
                f"{name} et _{name} n'ont pas le même nombre d'éléments ; attendu : autant, avec des null"
            )
            report.add((where, step, -1), "structure", "uneven-lists", text, french)
        for place, item in enumerate(value):
            if item is not None:
                check(item, (where, step, place), report)
            elif values is None:
                report.add(
                    (where, step, place),
                    "structure",
                    "empty",
                    "null is here with no value; expected either",
                    "null est ici sans valeur ; attendu : l'un ou l'autre",
                )

    return many if element.repeats else one


def _complex(element: Element, of_type: str, step: str) -> Rule:
    also = _bound(element, of_type) if of_type in ("Coding", "CodeableConcept") else None
    if of_type == "Reference":
        also = refers(element)
    known: list[Check] = []

    def check_item(value: Any, where: Where, report: Report) -> None:
        if not known:
            known.append(checker(of_type))  # not earlier: types are recursive
        known[0](value, where, report)
        if also is not None and value.__class__ is dict:
            also(value, where, report)

    def one(value: Any, where: Where, report: Report, holder: Json) -> None:
        if value.__class__ is list:
            text, french = f"expected one {of_type}", f"attendu : un seul {of_type}"
            report.add(
                (where, step, -1),
                "structure",
                "too-many",
                f"a list is here; {text}",
                f"une liste est ici ; {french}",
            )
            return
        check_item(value, (where, step, -1), report)

    def many(value: Any, where: Where, report: Report, holder: Json) -> None:
        if value.__class__ is not list or not value:
            _not_a_list(value, (where, step, -1), report)
            return
        for place, item in enumerate(value):
            check_item(item, (where, step, place), report)
        _check_count(element, len(value), (where, step, -1), report)

    return many if element.repeats else one


def _not_a_list(value: Any, where: Where, report: Report) -> None:
    report.add(
        where,
        "structure",
        "not-a-list",
        f"{kind(value)} is here; expected a list of at least one item",
        f"{french_kind(value)} est ici ; attendu : une liste d'au moins un élément",
    )


def _check_count(element: Element, count: int, where: Where, report: Report) -> None:
    if count < element.min or (element.max is not None and count > element.max):
        most = "*" if element.max is None else element.max
        text = f"{count} items are here; expected {element.min}..{most}"
        french = f"il y a {count} éléments ; attendu : {element.min}..{most}"
        report.add(where, "structure", "too-many" if count > element.min else "too-few", text, french)


def _bound(element: Element, of_type: str) -> Check | None:
    """A required binding of a Coding or CodeableConcept; extensions may stand for a missing code."""
    systems = definitions.codes(element.value_set) if element.value_set else None
    if systems is None:
        return None

    def fits(coding: Any) -> bool:
        if coding.__class__ is not dict or not isinstance(coding.get("system"), str):
            return False
        code = coding.get("code")
        return isinstance(code, str) and code in systems.get(coding["system"], ())

    def check(value: Any, where: Where, report: Report) -> None:
        codings = [value] if of_type == "Coding" else value.get("coding", [])
        if "extension" in value or codings.__class__ is not list:
            return
        if not any(fits(coding) for coding in codings):
            text = f"no coding here is of the required value set; expected one of {element.value_set}"
            french = f"aucun codage n'est du jeu de valeurs requis ; attendu : un de {element.value_set}"
            report.add(where, "code-invalid", "bad-code", text, french)

    return check


def _extension(value: Json, where: Where, report: Report) -> None:
    """ext-1: a value or further extensions, not both."""
    has_value = any(name.startswith(("value", "_value")) for name in value)
    if has_value == ("extension" in value):
        text = "an extension has both a value and extensions" if has_value else "an extension has no content"
        french = (
            "une extension a une valeur et des extensions" if has_value else "une extension est sans contenu"
        )
        report.add(
            where,
            "structure",
            "bad-extension",
            f"{text}; expected value[x], or extensions",
            f"{french} ; attendu : value[x], ou des extensions",
        )


_ALSO: dict[str, Check] = {"Extension": _extension}
