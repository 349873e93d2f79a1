"""A patient as the DPI names them, and the Patient known here: matching and the safe update.

Matched by INS (same system and value), else by IPP (system and value), never by name and birth date: two
patients who share those stay two. The known identity changes only where that is safe: a more trusted identity
replaces a less trusted one and the old name is kept, a lesser or different one adds nothing but a notice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from fhir_server.search.nodes import Select, Token
from fhir_server.store.contract import Store
from fhir_server.teledossier.definitions import properties
from fhir_server.teledossier.vocabulary import (
    BIRTH_PLACE,
    IDENTIFIER_TYPE,
    INS_SYSTEMS,
    Resource,
    extension_url,
    family_and_given,
    key,
    value,
    with_extension,
)
from profiles import codec
from profiles.identity import is_ins
from profiles.outcomes import Invalid

IPP = "/NamingSystem/ipp/"
LOCAL_NUMBER = {"system": IDENTIFIER_TYPE, "code": "PI"}
TAKEN = ("identifier", "name", "gender", "birthDate", "telecom", "address", "extension")
"""What is taken of a Patient from outside; the rest (id, links, narrative, …) is its own server's."""
EXTENSIONS = (BIRTH_PLACE, extension_url("identity-status"))


@dataclass(frozen=True, slots=True)
class Imported:
    """`patient` as it is to be stored, its id and version those of the known one if there was; `changed`
    False when there is nothing to write; `notices` are slugs of CodeSystem `issue`."""

    patient: Resource
    changed: bool
    notices: tuple[str, ...] = ()


def taken(patient: Any) -> Resource:
    """What is taken of a Patient resource from outside. Raises Invalid for anything that is not one."""
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        raise Invalid(
            "no-patient", "the parameter 'patient' is a Patient resource", expression="Parameters.patient"
        )
    kept: Resource = {"resourceType": "Patient"}
    kept.update({field: patient[field] for field in TAKEN if patient.get(field)})
    for field in ("identifier", "name", "extension"):
        several = kept.get(field, [])
        if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
            raise Invalid(
                "bad-patient", f"Patient.{field} is a list of objects", expression=f"Patient.{field}"
            )
    if "extension" in kept:
        kept["extension"] = [one for one in kept["extension"] if one.get("url") in EXTENSIONS]
        if not kept["extension"]:
            del kept["extension"]
    return kept


def ins_of(patient: Resource) -> tuple[str, str] | None:
    """(system, value) of the INS."""
    return next(iter(_identifiers(patient, lambda system: system in INS_SYSTEMS)), None)


def ipps_of(patient: Resource) -> list[tuple[str, str]]:
    """(system, value) of every local identifier."""
    return _identifiers(patient, lambda system: IPP in system)


def _identifiers(patient: Resource, wanted: Any) -> list[tuple[str, str]]:
    several = patient.get("identifier", ())
    pairs = (
        (str(one.get("system", "")), str(one.get("value", ""))) for one in several if one.get("use") != "old"
    )
    return [(system, number) for system, number in pairs if number and wanted(system)]


async def import_patient(store: Store, sent: Any, issuers: Collection[str] | None = None) -> Imported:
    """The Patient for a télédossier: the known one, brought up to date where safe, or a new one. `issuers`
    (`Organization/id`) are the establishments whose local numbers the sender may bring, None for all. Raises
    Invalid."""
    incoming, notices = sound(taken(sent))
    if issuers is not None:
        incoming = _issued_by(incoming, issuers)
    ins = ins_of(incoming)
    known = await _find(store, [ins]) if ins else None
    by_ipp = await _find(store, ipps_of(incoming))
    made = merge(known, by_ipp, incoming)
    return replace(made, notices=(*notices, *made.notices))


def sound(patient: Resource) -> tuple[Resource, tuple[str, ...]]:
    """Without an INS that is none (its key is wrong) or a second one; local numbers typed as such; and called
    qualified only with all that a qualified identity has. An opinion is not held up by a DPI's slip: the
    slip is left out and noticed."""
    kept, notices, has_ins = [], [], False
    for one in patient.get("identifier", ()):
        if one.get("system") in INS_SYSTEMS and one.get("use") != "old":
            if has_ins or not is_ins(str(one.get("value", ""))):
                notices.append("ins-not-taken")
                continue
            has_ins = True
        kept.append(_typed(one) if IPP in str(one.get("system", "")) else one)
    made = {**patient, "identifier": kept}
    if not kept:
        del made["identifier"]
    if value(made, "identity-status") == "qualifiee" and not (has_ins and all(_traits(made))):
        made = with_extension(made, "identity-status", {"valueCode": "provisoire"})
        notices.append("identity-not-qualified")
    return made, tuple(dict.fromkeys(notices))


def _typed(identifier: Resource) -> Resource:
    """A local number with its type, PI."""
    codes = [one.get("code") for one in identifier.get("type", {}).get("coding", ())]
    return identifier if "PI" in codes else {**identifier, "type": {"coding": [LOCAL_NUMBER]}}


async def _find(store: Store, identifiers: Sequence[tuple[str, str]]) -> Resource | None:
    if not identifiers:
        return None
    where = Token("identifier", tuple(identifiers))
    rows = await store.search(Select("Patient", where, count=1))
    body = rows[0].version.body if rows else None
    return codec.parse(body) if body is not None else None


def merge(by_ins: Resource | None, by_ipp: Resource | None, incoming: Resource) -> Imported:
    """Pure. `by_ins`, `by_ipp`: the Patients known under the incoming INS and IPP."""
    if by_ins is not None:
        foreign = by_ipp is not None and key(by_ipp) != key(by_ins)
        return _update(
            by_ins, _without_ipp(incoming) if foreign else incoming, ["identifier-taken"] * foreign
        )
    if by_ipp is not None:
        if ins_of(by_ipp) and ins_of(incoming):
            return _new(_without_ipp(incoming), ["identifier-taken"])
        return _update(by_ipp, incoming, [])
    return _new(incoming, [])


def _issued_by(patient: Resource, issuers: Collection[str]) -> Resource:
    """Without the local numbers of other establishments: they run in series and can be guessed, so only
    their issuer's people may say whom one of them names."""

    def foreign(system: str) -> bool:
        return IPP in system and f"Organization/{system.rpartition('/')[2]}" not in issuers

    several = patient.get("identifier", ())
    kept = [one for one in several if not foreign(str(one.get("system", "")))]
    rest = {field: content for field, content in patient.items() if field != "identifier"}
    return {**rest, "identifier": kept} if kept else rest


def _without_ipp(patient: Resource) -> Resource:
    kept = [one for one in patient.get("identifier", ()) if IPP not in str(one.get("system", ""))]
    return {**patient, "identifier": kept}


def _new(patient: Resource, notices: list[str]) -> Imported:
    """A new Patient; the id follows from the first identifier, so that two imports at once make one
    Patient."""
    first = next(iter([one for one in (ins_of(patient), *ipps_of(patient)) if one]), None)
    made = dict(patient)
    if first:
        made["id"] = str(uuid5(NAMESPACE_URL, "|".join(first)))
    return Imported(made, True, tuple(notices))


def _update(known: Resource, incoming: Resource, notices: list[str]) -> Imported:
    """The known Patient with what is missing; with the incoming traits where those are surer."""
    updated = {**known, "identifier": _joined(known.get("identifier", []), incoming.get("identifier", []))}
    for field in ("telecom", "address", "gender", "birthDate", "name"):
        if not updated.get(field) and incoming.get(field):
            updated[field] = incoming[field]
    updated = _with_birth_place(updated, incoming)
    differs = _traits(known) != _traits(incoming)
    if _trust(incoming) > _trust(known):
        updated = _trusted(updated, known, incoming, differs)
    elif differs:
        notices = [*notices, "identity-differs" if ins_of(known) else "identity-lesser"]
    return Imported(updated, updated != known, tuple(notices))


def _joined(known: Sequence[Resource], incoming: Iterable[Resource]) -> list[Resource]:
    """The known identifiers and those that are new: another INS or another IPP of the same issuer adds
    nothing."""
    systems = {one.get("system") for one in known}
    has_ins = bool(systems.intersection(INS_SYSTEMS))
    added = [
        one
        for one in incoming
        if one.get("system")
        and one["system"] not in systems
        and not (has_ins and one["system"] in INS_SYSTEMS)
    ]
    return [*known, *added]


def _with_birth_place(updated: Resource, incoming: Resource) -> Resource:
    has = any(one.get("url") == BIRTH_PLACE for one in updated.get("extension", ()))
    places = [one for one in incoming.get("extension", ()) if one.get("url") == BIRTH_PLACE]
    return (
        updated if has or not places else {**updated, "extension": [*updated.get("extension", ()), *places]}
    )


def _trusted(updated: Resource, known: Resource, incoming: Resource, differs: bool) -> Resource:
    """The traits of a surer identity; a name that changes stays as an old one."""
    taken_over = {field: incoming[field] for field in ("gender", "birthDate") if incoming.get(field)}
    others = [one for one in known.get("extension", ()) if one.get("url") not in EXTENSIONS]
    mine = list(incoming.get("extension", ()))
    if not any(one.get("url") == BIRTH_PLACE for one in mine):
        mine += [one for one in known.get("extension", ()) if one.get("url") == BIRTH_PLACE]
    made = {**updated, **taken_over, "extension": [*others, *mine]}
    if differs and incoming.get("name"):
        made["name"] = [*incoming["name"], *({**one, "use": "old"} for one in known.get("name", ()))]
    return made


def _trust(patient: Resource) -> int:
    """The rank of the identity's state; unknown is the lowest."""
    return int(properties("identity-status", str(value(patient, "identity-status"))).get("rank", -1))


def _traits(patient: Resource) -> tuple[str, str, str, str]:
    """Birth name, first given name, birth date, sex: the strict traits, compared without case."""
    _, given, family = family_and_given(patient)
    first = given.split(" ")[0] if given else ""
    return (
        family.casefold(),
        first.casefold(),
        str(patient.get("birthDate", "")),
        str(patient.get("gender", "")),
    )
