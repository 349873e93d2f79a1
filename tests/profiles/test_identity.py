"""The check keys. All numbers are published examples or made up."""

from __future__ import annotations

import pytest

from profiles import identity


@pytest.mark.parametrize(
    ("number", "key"),
    [
        ("2951099126111", "93"),
        ("1891275125012", "82"),
        ("253072A073004", "43"),
        ("253072B073004", "70"),
        ("1234567890122", "12"),
    ],
)
def test_ins_key(number: str, key: str) -> None:
    assert identity.ins_key(number) == key
    assert identity.is_ins(number + key)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "295109912611194",
        "123456789012244",
        "2951099126111",
        "2A5109912611193",
        "2951099126111 93",
        "29510991261119３",
        "253072C07300443",
        "253072a07300443",
    ],
)
def test_a_wrong_ins(value: str) -> None:
    assert not identity.is_ins(value)


def test_ins_key_refuses_what_is_no_nir() -> None:
    with pytest.raises(ValueError, match="13 digits"):
        identity.ins_key("2A51099126111")


@pytest.mark.parametrize("value", ["10000000009", "10101201233", "10004234562", "89990000013"])
def test_rpps(value: str) -> None:
    assert identity.is_rpps(value)
    assert identity.is_id_nat_ps("8" + value)


@pytest.mark.parametrize(
    "value", ["", "10101201234", "1010120123", "101012012331", "1010120123A", "１0101201233"]
)
def test_a_wrong_rpps(value: str) -> None:
    assert not identity.is_rpps(value)
    assert not identity.is_id_nat_ps("8" + value)


@pytest.mark.parametrize(
    "value", ["310781406", "340780477", "300780038", "2B0000020", "2B0005342", "2B0004246", "993100015"]
)
def test_finess(value: str) -> None:
    assert identity.is_finess(value)


@pytest.mark.parametrize(
    "value", ["", "310781407", "2A0000020", "2b0000020", "31078140", "2C0000020", "31078140A"]
)
def test_a_wrong_finess(value: str) -> None:
    assert not identity.is_finess(value)
