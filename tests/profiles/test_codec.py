"""The codec loses nothing and refuses what is not strict JSON, naming the place."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import codec
from profiles.outcomes import Invalid


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "1",
        "-1",
        "1.0",
        "1.50e3",
        "-0.00",
        "0.10",
        "1E-7",
        "1e+2",
        "-0",
        "100000000000000000000",
        "-9223372036854775808",
        "18446744073709551615",
        "0.1000000000000000055511151231257827",
        "123456789.123456789",
        "5e-324",
    ],
)
@pytest.mark.parametrize(
    "form", ['{"value":%s}', '{"value":[%s]}', '{"value":[1,%s]}', '{"a":"1.5","value":{"b":%s}}']
)
def test_every_number_comes_back_as_written(form: str, number: str) -> None:
    body = (form % number).encode()
    assert codec.dump(codec.parse(body)) == body


def test_numbers_are_found_between_spaces_and_after_line_ends() -> None:
    assert (
        codec.dump(codec.parse(b'{"value"\n :\t1.0 , "x" : [ 2.0\r\n,3.00 ] }'))
        == b'{"value":1.0,"x":[2.0,3.00]}'
    )


def test_a_written_decimal_is_a_decimal_and_survives_copying() -> None:
    value = codec.parse(b'{"value":1.50e3}')["value"]
    assert value == Decimal("1500")
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert codec.dump({"value": other}) == b'{"value":1.50e3}'
    assert codec.dump({"value": Decimal("2.50")}) == b'{"value":2.50}'


def test_a_byte_order_mark_is_passed_over() -> None:
    assert codec.parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "slug", "place"),
    [
        (b"", "json-empty", "line 1, column 1"),
        (b" \n", "json-empty", "line 1, column 1"),
        (b"[]", "json-not-an-object", "line 1, column 1"),
        (b'"a"', "json-not-an-object", "line 1, column 1"),
        (b'{"a":1,}', "json-syntax", "line 1, column"),
        (b'{"a":1\n,"b":tru}', "json-syntax", "line 2, column"),
        (b'{"a":NaN}', "json-syntax", "line 1, column 6"),
        (b'{"a":-Infinity}', "json-syntax", "line 1, column"),
        (b'{"a":01}', "json-syntax", "line 1, column"),
        (b'{"a":1.}', "json-syntax", "line 1, column"),
        (b'{"a":1} {}', "json-syntax", "line 1, column"),
        (b'{"a":"\\ud800"}', "json-syntax", "line 1, column"),
        (b'{"a":\n"\xff"}', "json-not-utf-8", "line 2, column 2"),
        (b'{"a":"\xed\xa0\x80"}', "json-not-utf-8", "line 1, column 7"),
        (b"{'a':1}", "json-syntax", "line 1, column 2"),
        (b'{"a":1 /* no */}', "json-syntax", "line 1, column"),
        (b'{"a":1,"a":2}', "json-repeated-name", "line 1, column 8"),
        (b'{"b":\n{"a":1, "a" :2}}', "json-repeated-name", "line 2, column 9"),
        (b'{"a":"\\u0022:", "a":2}', "json-repeated-name", "line 1, column 17"),
        (b'{"a":"x\\": y","\\u0061":2}', "json-repeated-name", "line 1, column 15"),
        (b'{"a" :1,"a":"\\u0022: "}', "json-repeated-name", "line 1, column 9"),
        (b'{"a":1e999}', "json-syntax", ""),
        (b'{"a":1e-99999999999999999999}', "json-number", ""),
        (b'{"a":0.' + b"9" * 5000 + b"}", "json-number", ""),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "json-too-deep", ""),
        (b'{"a":' + b"[" * 100 + b"1" + b"]" * 100 + b"}", "json-too-deep", ""),
        (b'{"a":' + b"[" * 600 + b"1" + b"]" * 600 + b"}", "json-too-deep", ""),
        (b'{"a":' + b"[" * 100_000, "json-syntax", "line 1"),
    ],
)
def test_what_is_refused(body: bytes, slug: str, place: str) -> None:
    with pytest.raises(Invalid) as caught:
        codec.parse(body)
    assert caught.value.slug == slug
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"a":"\\": ","b":"x\\":y"}',
        b'{"a":{"b":1},"c":{"b":1}}',
        b'{"a":[{"b":1},{"b":1}]}',
    ],
)
def test_what_is_just_within_the_rules(body: bytes) -> None:
    assert codec.dump(codec.parse(body)) == body


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), object(), {1: 2}])
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(TypeError):
        codec.dump({"a": value})


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_numbers = st.one_of(
    st.integers().map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)


@given(
    st.recursive(
        st.one_of(_texts.map(json.dumps), _numbers, st.sampled_from(["true", "false", "null"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
            st.dictionaries(_texts, inner, max_size=4).map(
                lambda members: "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in members.items()) + "}"
            ),
        ),
        max_leaves=12,
    )
)
def test_any_document_keeps_its_meaning_to_the_last_digit(value: str) -> None:
    body = f'{{"root":{value}}}'.encode()

    def exact(text: bytes) -> object:
        return json.loads(text, parse_float=lambda n: ("number", n), parse_int=lambda n: ("number", n))

    assert exact(codec.dump(codec.parse(body))) == exact(body)


@given(st.binary(max_size=60))
def test_no_bytes_bring_another_error(body: bytes) -> None:
    try:
        codec.parse(body)
    except Invalid:
        return
