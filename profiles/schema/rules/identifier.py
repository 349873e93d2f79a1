"""French identifiers have the check key of their system, and test identities stay out of production.

INS référentiel d'identitovigilance; FR Core fr-core-patient-ins; FINESS; RPPS
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from profiles import identity
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


def _wrong(what: str, form: str, quoi: str, forme: str) -> Message:
    return Message(
        "value",
        "bad-key",
        f"this is no {what}: {form}; check what was typed",
        f"ceci n'est pas {quoi} : {forme} ; vérifiez la saisie",
    )


_INS = _wrong(
    "INS number",
    "13 characters and the key, 97 minus the number modulo 97 (Corsica: 2A counts as 19, 2B as 18)",
    "un matricule INS",
    "13 caractères et la clé, 97 moins le numéro modulo 97 (Corse : 2A compte pour 19, 2B pour 18)",
)
_RPPS = _wrong(
    "RPPS number",
    "11 digits that keep Luhn's sum",
    "un numéro RPPS",
    "11 chiffres qui respectent la clé de Luhn",
)
_ID_NAT_PS = _wrong(
    "national identifier of a professional",
    "a digit for its kind, then the number; after an 8, an RPPS number",
    "un identifiant national de professionnel",
    "un chiffre pour sa nature, puis le numéro ; après un 8, un numéro RPPS",
)
_FINESS = _wrong(
    "FINESS number",
    "9 characters that keep Luhn's sum (Corsica: 2A counts as 21, 2B as 22)",
    "un numéro FINESS",
    "9 caractères qui respectent la clé de Luhn (Corse : 2A compte pour 21, 2B pour 22)",
)
TEST_IDENTITY = Message(
    "business-rule",
    "test-identity",
    "this system is for test or demonstration identities, which production does not take; use the real one",
    "ce système est celui des identités de test ou de démonstration, que la production n'accepte pas ; "
    "utilisez le système réel",
)
TEST_SYSTEMS = frozenset({identity.INS_NIR_TEST, identity.INS_NIR_DEMO})


def _is_id_nat_ps(value: str) -> bool:
    """Only numbers of the RPPS (kind 8) have a key here: ADELI's were given by other rules."""
    return identity.is_id_nat_ps(value) if value.startswith("8") else bool(value)


KEYS: Mapping[str, tuple[Callable[[str], bool], Message]] = MappingProxyType(
    {
        **dict.fromkeys(identity.INS_SYSTEMS, (identity.is_ins, _INS)),
        identity.RPPS: (identity.is_rpps, _RPPS),
        identity.ID_NAT_PS: (_is_id_nat_ps, _ID_NAT_PS),
        identity.FINESS: (identity.is_finess, _FINESS),
    }
)


URI_SYSTEM = "urn:ietf:rfc:3986"
RELATIVE = Message(
    "value",
    "relative-system",
    "the system of an identifier is an absolute URI; write it in full",
    "le système d'un identifiant est une URI absolue ; écrivez-la en entier",
)
NOT_A_URI = Message(
    "value",
    "not-a-uri",
    "with this system the value is an absolute URI; write it in full, such as urn:oid:1.2.3",
    "avec ce système la valeur est une URI absolue ; écrivez-la en entier, par exemple urn:oid:1.2.3",
)


def check_identifier(item: Item, context: Context) -> None:
    """An Identifier's value against its system's key."""
    system, value = item.value.get("system"), item.value.get("value")
    if not isinstance(system, str):
        return
    if ":" not in system:
        context.doubt((item.where, "system", -1), RELATIVE)
    if system == URI_SYSTEM and isinstance(value, str) and ":" not in value:
        context.doubt((item.where, "value", -1), NOT_A_URI)
    if system in context.refused_systems:
        context.report.note((item.where, "system", -1), TEST_IDENTITY)
    rule = KEYS.get(system)
    if rule is not None and isinstance(value, str) and not rule[0](value):
        context.report.note((item.where, "value", -1), rule[1])
