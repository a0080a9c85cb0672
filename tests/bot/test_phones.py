"""Phone numbers: what people type, what they must not, and what is said of a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import phones


@pytest.mark.parametrize(
    ("typed", "country", "expected"),
    [
        ("139 0000 1234", "CN", "+8613900001234"),
        ("0086-13900001234", "CN", "+8613900001234"),
        ("+86 139 0000 1234", "US", "+8613900001234"),
        ("8613900001234", "CN", "+8613900001234"),
        ("１３９００００１２３４", "CN", "+8613900001234"),
        ("＋86（139）00001234", "CN", "+8613900001234"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("6123 4567", "HK", "+85261234567"),
        ("0912 345 678", "TW", "+886912345678"),
    ],
)
def test_a_typed_number_becomes_e164(typed, country, expected):
    """Spaces, brackets, full-width digits and prefixes are all the same number."""
    assert expected == phones.parse(typed, country)


@pytest.mark.parametrize(
    ("typed", "country"),
    [
        ("", "CN"),
        ("138****0000", "CN"),
        ("138xxxx0000", "CN"),
        ("1380000", "CN"),
        ("10690001", "CN"),
        ("95588", "CN"),
        ("12345", "US"),
        ("MYSHOP", "US"),
        ("SHOP2024", "CN"),
        ("13900001234转12", "CN"),
        ("13900001234-1234", "CN"),
        ("13900001234", "US"),
        ("13900001234", ""),
        ("1" * 40, "CN"),
        ("-", "CN"),
        ("+", "CN"),
        ("订单 5001", "CN"),
    ],
)
def test_what_is_no_number(typed, country):
    """Masked and virtual numbers, short codes, alphanumeric senders and other lengths are refused."""
    assert phones.parse(typed, country) == ""


@given(st.text(max_size=40), st.sampled_from(["CN", "US", "HK", ""]))
def test_parsing_never_fails(typed, country):
    """Any text gives a number in E.164 or nothing."""
    found = phones.parse(typed, country)
    assert found == "" or phones.is_e164(found)


def test_the_shape_of_e164():
    """A plus and 7 to 15 digits, no leading zero, ASCII only."""
    good = ["+8613900001234", "+14155552671"]
    bad = [
        "8613900001234",
        "+0123456789",
        "+123456",
        "+1234567890123456",
        "729725",
        "MYSHOP",
        "+8613９00001234",
        "+8613900001234\n",
    ]
    assert [True] * len(good) == [phones.is_e164(n) for n in good]
    assert [False] * len(bad) == [phones.is_e164(n) for n in bad]


@pytest.mark.parametrize(
    ("number", "able"),
    [
        ("+8613900001234", True),
        ("+861062345678", False),
        ("+14155552671", True),
        ("+18005550199", False),
        ("+12423221234", True),
        ("nothing", False),
    ],
)
def test_numbers_that_get_no_texts(number, able):
    """A mainland fixed line and a free number get no SMS; in the +1 area the kind of line is unknown."""
    assert able is phones.takes_texts(number)


def test_what_is_said_of_a_number():
    """Country, velocity prefix, and a mask that leaves four digits."""
    assert [phones.country_of(n) for n in ("+8613900001234", "+14155552671", "+85261234567", "junk")] == [
        "CN",
        "US",
        "HK",
        "",
    ]
    assert phones.prefix("+8613900001234") == "+861390000"
    assert [phones.mask("+8613900001234"), phones.mask("123")] == ["…1234", "…"]
