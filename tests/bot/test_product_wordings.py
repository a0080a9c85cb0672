"""What buyers read of products: whole sentences with any facts, one SMS where they are few, no promise and no pressure."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot import sms
from bot.events import Money
from bot.wording import Wordings

ALL = Wordings.load(Path("templates"))
LOCALES = ("zh-CN", "zh-TW", "en")
ALWAYS = {"tz": ZoneInfo("Asia/Shanghai"), "name": "", "card": ""}
KEYS = sorted(key for key in ALL.keys if key.startswith(("item_", "stock_", "price_", "size_")))
FULL = {
    "item": "双面大衣", "asked": "M", "sizes": ["S", "M"], "gone": ["L"], "price": Money(Decimal("899.00"), "CNY"), "several": True,
    "link": "https://s.cn/r/AbCd12", "runs": "small", "usual": "L", "size": "M", "closer": "S", "height": "165", "weight": "52",
    "bust": "84", "waist": "66", "hips": "90", "foot": "24", "there": True, "bought": "S",
}  # fmt: skip
NEEDED = {"price_is": ("price",), "stock_no_size": ("asked",)}  # said only where these are there
OPTIONAL = (
    "asked",
    "price",
    "several",
    "link",
    "runs",
    "usual",
    "closer",
    "height",
    "weight",
    "bust",
    "there",
    "bought",
)


def render(key: str, locale: str, values: dict, medium: str = "chat") -> str:
    brand = "Xiaoman" if locale == "en" else "小满衣橱"
    return ALL.render(key, locale, {**ALWAYS, "brand": brand, **values}, medium).text


def test_the_keys_are_these():
    assert len(KEYS) == 19


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("key", KEYS)
def test_any_facts_may_be_missing(key, locale):
    """With each pair of facts taken away: no empty brackets, double stops or leftover spaces; never a shout or a last one."""
    for gone in [(), *itertools.combinations(OPTIONAL, 2), OPTIONAL]:
        values = {**FULL, **dict.fromkeys(gone, ""), **{name: FULL[name] for name in NEEDED.get(key, ())}}
        for lists in ({}, {"sizes": [], "gone": []}):
            found = render(key, locale, {**values, **lists})
            assert not re.search(
                r"None|\{|\}|\[|\]|，，|。。|，。|：。|、、|\.\.| ,| \.(?!\w)|  (?!\d|不)|True|False", found
            ), found
            assert not re.search(r"[!！¥]|仅剩|僅剩|最后|最後|only \d|last one|亲|親", found), found


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("key", KEYS)
def test_few_facts_are_one_sms(key, locale):
    """The short form of each fits one part: 70 units of Chinese; English with an English name one of 160."""
    few = {**dict.fromkeys(FULL, ""), "sizes": ["S", "M"], "gone": [], "item": "Linen shirt long" if locale == "en" else "亚麻衬衫长袖",
           "asked": "", "price": FULL["price"], "size": "M", "height": "165", "weight": "52"}  # fmt: skip
    found = render(key, locale, few, "sms")
    limit = 2 if key in ("size_ask", "size_is", "size_no_chart", "size_skipped") else 1
    assert sms.count(found).parts <= limit, (sms.units16(found), found)


@pytest.mark.parametrize("locale", LOCALES)
def test_digits_in_a_text_are_those_of_its_choices(locale):
    """`1 … 2 …` in the words are as many as there are choices, so that no digit leads nowhere."""
    for key in KEYS:
        rendered = ALL.render(key, locale, {**ALWAYS, "brand": "B", **FULL})
        if rendered.numbered:
            said = {
                int(n)
                for n in re.findall(r"(?:^|[ 。，复覆y])([12])(?=[ 。，,.]|$)", re.sub(r"165 52", "", rendered.text))
            }
            assert max(said, default=0) == len(rendered.choices), (key, rendered.text)
