"""The check keys of French identifiers: INS (a NIR), RPPS, FINESS. True or false; no meaning beyond the key.

INSEE NIR; ANS FAQ RPPS; FINESS (clé de Luhn)
"""

from __future__ import annotations

import re

INS_NIR = "urn:oid:1.2.250.1.213.1.4.8"
INS_NIA = "urn:oid:1.2.250.1.213.1.4.9"
INS_NIR_TEST = "urn:oid:1.2.250.1.213.1.4.10"
INS_NIR_DEMO = "urn:oid:1.2.250.1.213.1.4.11"
INS_SYSTEMS = frozenset({INS_NIR, INS_NIA, INS_NIR_TEST, INS_NIR_DEMO})
RPPS = "https://rpps.esante.gouv.fr"
ID_NAT_PS = "urn:oid:1.2.250.1.71.4.2.1"
FINESS = "https://finess.esante.gouv.fr"

_NIR = re.compile(r"[0-9]{5}(?:[0-9]{2}|2A|2B)[0-9]{6}", re.ASCII)
_CORSICA_NIR = {"2A": "19", "2B": "18"}
_FINESS = re.compile(r"(?:[0-9]{2}|2A|2B)[0-9]{7}", re.ASCII)
_CORSICA_FINESS = {"2A": "21", "2B": "22"}


def ins_key(number: str) -> str:
    """The two-digit key of a 13-character NIR; Corsica is 2A or 2B in the sixth and seventh place and nowhere
    else.

    Raises ValueError when `number` has not that form.
    """
    if not _NIR.fullmatch(number):
        raise ValueError("a NIR has 13 digits, with 2A or 2B allowed in places 6 and 7 only")
    department = number[5:7]
    return f"{97 - int(number[:5] + _CORSICA_NIR.get(department, department) + number[7:]) % 97:02d}"


def is_ins(value: str) -> bool:
    """A NIR with its key, 15 characters, no spaces."""
    return len(value) == 15 and bool(_NIR.fullmatch(value[:13])) and value[13:] == ins_key(value[:13])


def luhn(digits: str) -> bool:
    """Luhn's sum over all digits, the key last: ISO/IEC 7812-1 annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def is_rpps(value: str) -> bool:
    """11 digits, Luhn over all of them."""
    return len(value) == 11 and value.isascii() and value.isdigit() and luhn(value)


def is_id_nat_ps(value: str) -> bool:
    """The national identifier of a professional of the RPPS: an 8, then the RPPS number."""
    return value.startswith("8") and is_rpps(value[1:])


def is_finess(value: str) -> bool:
    """9 characters, Luhn, with Corsica's 2A counted as 21 and 2B as 22."""
    if not _FINESS.fullmatch(value):
        return False
    return luhn(_CORSICA_FINESS.get(value[:2], value[:2]) + value[2:])
