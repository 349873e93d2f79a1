"""Countries (two letters, three letters, three digits) and currencies: codes without names.

ISO 3166-1; ISO 4217; FHIR R4 terminologies-systems.html
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from terminology.code_systems.listed import Listed


@cache
def countries() -> Listed:
    codes = [code for row in _rows("country") for code in row]
    return _listed("urn:iso:std:iso:3166", "Countries", codes)


@cache
def currencies() -> Listed:
    return _listed("urn:iso:std:iso:4217", "Currencies", [code for (code,) in _rows("currency")])


def _listed(url: str, name: str, codes: list[str]) -> Listed:
    return Listed({"url": url, "name": name, "concept": [{"code": code} for code in codes]})


def _rows(kind: str) -> list[list[str]]:
    text = files("terminology.code_systems").joinpath("iso.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return [row[1:] for row in rows if row[0] == kind]
