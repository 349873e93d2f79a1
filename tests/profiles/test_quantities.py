"""UCUM codes, by the sections of its specification."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import quantities
from profiles.quantities import expression


@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("§3 case", "mm[Hg]"),
        ("§4 prefixes", "dag"),
        ("§4 binary prefixes", "KiBy"),
        ("§5 point and solidus", "mg/kg/d"),
        ("§7 leading solidus", "/uL"),
        ("§8 factor", "10.L/(min.m2)"),
        ("§8 a point is a product", "1.5"),
        ("§9 exponent", "cm-2"),
        ("§9 exponent with its sign", "m+2"),
        ("§9 powers of ten", "10*3/uL"),
        ("§9 powers of ten", "10^9/L"),
        ("§10 parentheses", "((m))"),
        ("§11 square brackets", "[in_i'H2O]"),
        ("§11 a point within", "B[10.nV]"),
        ("§11 parentheses within", "[m/s2/Hz^(1/2)]"),
        ("§12 annotation", "mL{total}"),
        ("§12 annotation alone", "{cells}/uL"),
        ("§12 after parentheses, as the list of examples has it", "U/(10.g){feces}"),
        ("§12 after an exponent", "m2{body'surface}"),
        ("§22 special", "mCel"),
        ("§22 special among others is a code, without a scale", "Cel/min"),
        ("§24 arbitrary", "k[IU]/mL"),
        ("§31 percent", "%"),
    ],
)
def test_codes_that_are_units(section: str, code: str) -> None:
    assert quantities.valid(code), section


@pytest.mark.parametrize(
    "code",
    [
        "", " ", "m m", "/", "m/", "m..s", "(m", "m)", "()", "{", "}", "{a", "{a}{b}", "m{a}2", "[", "[]",
        "k", "Kg", "MM[HG]", "mmHg", "inch", "k[in_i]", "0", "1e3", "m{é}", "é", "m9999", "10*400",
        "m\n", "m ", "(" * 20 + "m" + ")" * 20, "m." * 200 + "m",
    ],
)  # fmt: skip
def test_codes_that_are_none(code: str) -> None:
    assert not quantities.valid(code)
    assert quantities.canonical(Decimal(1), code) is None


def test_every_unit_of_the_table_is_defined_by_units_of_the_table() -> None:
    units = expression._units()
    assert len(units) == 312
    assert [code for code in units if expression.parse(code) is None] == []


@pytest.mark.parametrize(
    ("section", "value", "source", "target", "result"),
    [
        ("§29 SI", "1", "N", "kg.m/s2", "1"),
        ("§30 other units", "2", "L", "cm3", "2000"),
        ("§30 time", "1", "a", "d", "365.25"),
        ("§31 amounts", "5", "mg/dL", "g/L", "0.05"),
        ("§31 numbers", "4.5", "10*3/uL", "10*9/L", "4.5"),
        ("§35 customary", "1", "[in_i]", "cm", "2.54"),
        ("§37 avoirdupois", "1", "[lb_av]", "g", "453.59237"),
        ("§31 pressure of mercury", "1", "mm[Hg]", "kPa", "0.133322"),
        ("§22 Fahrenheit", "98.6", "[degF]", "Cel", "37"),
        ("§22 Réaumur", "80", "[degRe]", "Cel", "100"),
        ("§22 Celsius", "0", "Cel", "K", "273.15"),
        ("§22 Celsius with a prefix", "37000", "mCel", "[degF]", "98.6"),
        ("§45 bel", "20", "dB[W]", "W", "100"),
        ("§45 bel back", "100", "W", "dB[W]", "20"),
        ("§45 sound pressure", "2", "B[SPL]", "Pa", "0.0002"),
        ("§46 acidity", "7", "[pH]", "mol/L", "1E-7"),
        ("§24 arbitrary, two spellings", "1", "k[IU]/mL", "[iU]/uL", "1"),
        ("§12 annotations mean nothing", "3", "mL{total}", "mL", "3"),
        ("§31 per cent", "12", "%", "1", "0.12"),
    ],
)
def test_conversions(section: str, value: str, source: str, target: str, result: str) -> None:
    assert str(quantities.convert(Decimal(value), source, target)) == result, section


@pytest.mark.parametrize(
    ("value", "source", "target"),
    [
        ("1", "m", "s"),
        ("1", "[IU]", "[arb'U]"),
        ("1", "[IU]", "mg"),
        ("1", "Cel/min", "K/min"),
        ("1", "m", "metre"),
        ("-1", "mol/L", "[pH]"),
        ("1E300", "[pH]", "mol/L"),
        ("1E999999", "m", "cm"),
        ("NaN", "m", "cm"),
        ("Infinity", "m", "cm"),
    ],
)
def test_what_cannot_be_converted(value: str, source: str, target: str) -> None:
    assert quantities.convert(Decimal(value), source, target) is None


@pytest.mark.parametrize(
    ("value", "code", "canonical"),
    [
        ("1", "kPa", ("1000000", "g.m-1.s-2")),
        ("120", "mm[Hg]", ("15998640", "g.m-1.s-2")),
        ("37", "Cel", ("310.15", "K")),
        ("50", "%", ("0.5", "1")),
        ("1.10", "g", ("1.1", "g")),
        ("1", "[IU]/L", ("1000", "[iU].m-3")),
        ("1", "/min", ("0.01666666666666666666666666667", "s-1")),
    ],
)
def test_the_canonical_form(value: str, code: str, canonical: tuple[str, str]) -> None:
    found = quantities.canonical(Decimal(value), code)
    assert found is not None
    assert (str(found[0]), found[1]) == canonical


PIECES = st.sampled_from(
    ["m", "g", "k", "10*", "3", "-", "+", ".", "/", "(", ")", "{", "}", "[", "]", "Cel", "[degF]", "mol",
     "[IU]", "99", "é", "\x00", "%", "B[SPL]"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join), st.decimals(allow_nan=True))
def test_no_code_and_no_value_raises(code: str, value: Decimal) -> None:
    found = quantities.canonical(value, code)
    if found is not None:
        assert quantities.valid(code)
        assert quantities.valid(found[1])
        assert found[0].is_finite()


@given(
    st.decimals(min_value=-(10**6), max_value=10**6, places=4),
    st.sampled_from(["Cel", "[degF]", "[lb_av]", "[in_i]", "L"]),
)
def test_there_and_back(value: Decimal, code: str) -> None:
    there = quantities.canonical(value, code)
    assert there is not None
    back = quantities.convert(there[0], there[1], code)
    assert back is not None
    assert abs(Fraction(back) - Fraction(value)) <= Fraction(1, 10**15)
