"""Counting and cutting of texts, against known answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import sms

GSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCXYZÄÖÑÜ§¿abcxyzäöñüà"
ESCAPED = "\f^{}\\[~]|€"
PIECES = [
    "a",
    "ß",
    "€",
    "[",
    " ",
    "\n",
    "\r\n",
    "，",
    "。",
    "短",
    "é",
    "e\u0301",
    "😀",
    "👍🏽",
    "👨‍👩‍👧",
    "🇨🇳",
    "1️⃣",
    "❤️",
    "각",
    "한",
    "ม้",
    "\u1100\u1161\u11a8",
    "🏴\U000e0067\U000e0062\U000e007f",
    "नि",
]
mixed = st.lists(st.sampled_from(PIECES), max_size=120).map("".join)


@pytest.mark.parametrize(
    ("text", "encoding", "sizes"),
    [
        ("", "gsm7", [0]),
        ("a" * 160, "gsm7", [160]),
        ("a" * 161, "gsm7", [153, 8]),
        ("a" * 306, "gsm7", [153, 153]),
        ("a" * 307, "gsm7", [153, 153, 1]),
        ("[" * 80, "gsm7", [160]),
        ("[" * 81, "gsm7", [152, 10]),
        ("a" * 152 + "€" * 10, "gsm7", [152, 20]),
        ("短" * 70, "ucs2", [70]),
        ("短" * 71, "ucs2", [67, 4]),
        ("短" * 134, "ucs2", [67, 67]),
        ("短" * 66 + "😀" + "短" * 10, "ucs2", [66, 12]),
        ("😀" * 35, "ucs2", [70]),
        ("😀" * 36, "ucs2", [66, 6]),
        ("a" * 159 + "’", "ucs2", [67, 67, 26]),
    ],
)
def test_the_known_answers(text, encoding, sizes):
    """Encoding, units and parts of the reference vectors."""
    assert (encoding, sizes) == sms.segments(text)
    assert sms.Parts(encoding, sum(sizes), len(sizes)) == sms.count(text)


@pytest.mark.parametrize("character", GSM)
def test_a_basic_character_is_one_septet(character):
    """Every character of the basic table counts one."""
    assert sms.Parts("gsm7", 1, 1) == sms.count(character)


@pytest.mark.parametrize("character", ESCAPED)
def test_an_extension_character_is_two_septets(character):
    """Every character behind an escape counts two."""
    assert sms.Parts("gsm7", 2, 1) == sms.count(character)


@pytest.mark.parametrize("character", ["`", "ç", "\t", "’", "“", "—", "…", "\u00a0", "ğ", "\x1b"])
def test_what_looks_like_gsm_but_is_not(character):
    """Characters that turn the whole text to UCS-2, the bare escape and the Turkish shift table among them."""
    assert sms.Parts("ucs2", 1, 1) == sms.count(character)


def test_mainland_counts_every_character_once():
    """ASCII is no cheaper in mainland China: 70 characters in a part, then 67 each."""
    assert [sms.count_mainland("a" * n).parts for n in (70, 71, 134, 135)] == [1, 2, 2, 3]
    assert sms.count_mainland("【某某商城】您的订单").units == 10


@given(mixed)
def test_no_part_is_over_its_room(text):
    """Parts hold what the standard allows, and lose nothing."""
    encoding, sizes = sms.segments(text)
    alone, each = (160, 153) if encoding == "gsm7" else (70, 67)
    assert all(size <= (alone if len(sizes) == 1 else each) for size in sizes)
    if encoding == "ucs2":
        assert len(text.encode("utf-16-le")) // 2 == sum(sizes)
    else:
        assert len(text) + sum(c in ESCAPED for c in text) == sum(sizes)


@given(st.text(max_size=60))
def test_clusters_lose_nothing(text):
    """The clusters of any text make up that text."""
    assert text == "".join(sms.graphemes(text))


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_clusters_are_what_a_reader_sees(pieces):
    """Marks, joined emoji, flags, keycaps and Hangul syllables stay whole, and nothing else sticks together."""
    assert sms.graphemes("".join(pieces)) == pieces


@given(mixed, st.integers(12, 60))
def test_pieces_fit_and_cut_no_grapheme(text, limit):
    """Pieces keep to the limit, together hold all but blanks, and begin and end at cluster borders."""
    pieces = sms.split(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join(text.split()) == "".join("".join(pieces).split())
    assert [c for c in sms.graphemes(text) if c.strip()] == [
        c for piece in pieces for c in sms.graphemes(piece) if c.strip()
    ]


@given(mixed, st.integers(12, 60))
def test_pieces_fit_by_any_measure(text, limit):
    """The limit may be meant in UTF-16 units."""
    assert all(sms.units16(piece) <= limit for piece in sms.split(text, limit, size=sms.units16))


def test_a_cut_prefers_lines_then_sentences_then_words():
    """A line break of the second half beats a sentence's end, that beats a blank."""
    assert sms.split("one two three\nfour. five", 18) == ["one two three", "four. five"]
    assert sms.split("您的订单已发货。预计，明天到达", 12) == ["您的订单已发货。", "预计，明天到达"]
    assert sms.split("hello big world", 12) == ["hello big", "world"]
    assert sms.split("a" * 12, 10) == ["aaaaaaaaaa", "aa"]


def test_a_cluster_over_the_limit_is_cut_apart():
    """A pile of marks cannot make a piece that the provider refuses."""
    pieces = sms.split("a" + "\u0301" * 50, 10)
    assert all(len(piece) <= 10 for piece in pieces)
    assert sum(map(len, pieces)) == 51
