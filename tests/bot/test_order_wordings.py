"""Notices of orders and carts: one SMS with long values, whole sentences with none."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot import sms
from bot.events import Money
from bot.wording import NoVariantError, Wordings
from handlers import notices

ZONE = ZoneInfo("Asia/Shanghai")
AT = 1_790_000_000_000
ALL = Wordings.load(Path("templates"))
CHINESE = {
    "brand": "小满衣橱", "name": "欧阳小满", "item": "亚麻衬衫长袖", "others": 0, "city": "乌鲁木齐", "carrier": "顺丰",
    "tracking": "SF123456789012", "link": "https://s.cn/r/AbCd12", "total": Money(Decimal("188.50"), "CNY"),
    "amount": Money(Decimal("188.50"), "CNY"), "number": "#5001", "left": "1", "place": "菜鸟驿站", "pickup": "12-3-4567",
    "cut_at": AT, "ship_at": AT, "until_at": AT, "eta_at": AT, "exchange_at": AT, "answer_at": AT, "exchange": "",
    "points": "123456", "balance": "1234567", "level": "黑金卡会员", "tz": ZONE, "card": "",
}  # fmt: skip
ENGLISH = {**CHINESE, "brand": "Xiaoman", "name": "", "item": "Linen shirt long", "city": "Urumqi", "carrier": "SF",
           "place": "the locker", "level": "Platinum"}  # fmt: skip
EMPTY = {**{name: "" for name in CHINESE}, "others": 0, "tz": ZONE}
KEYS = sorted({*notices.VARS, "order_completed", "order_paid_first", "payment_reminder_returning"})
LOCALES = ("zh-CN", "zh-TW", "en")


def text(key: str, locale: str, values: dict[str, object]) -> str:
    return ALL.render(key, locale, values, "sms").text


@pytest.mark.parametrize("key", [key for key in KEYS if key != "review_invite"])
@pytest.mark.parametrize("locale", LOCALES)
def test_a_notice_is_one_sms(key, locale):
    """With long values: 70 units in Chinese, one GSM-7 part in English; neither ¥ nor an exclamation mark."""
    found = text(key, locale, ENGLISH if locale == "en" else CHINESE)
    assert sms.count(found).parts == 1, (sms.units16(found), found)
    assert not set("¥!！") & set(found)


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("medium", ["chat", "sms"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("locale", LOCALES)
def test_missing_facts_leave_whole_sentences(key, locale, medium, filled):
    """No double stops, empty brackets, leftover names or spaces, with all facts and with none."""
    full = ENGLISH if locale == "en" else CHINESE
    try:
        found = ALL.render(key, locale, full if filled else {**EMPTY, "brand": full["brand"]}, medium).text
    except NoVariantError:
        assert key == "review_invite"
        return
    assert not re.search(r"None|\{|\}|（）|\(\)|，，|。。|，。|：。|\.\.| ,| \.|  ", found), found


@pytest.mark.parametrize("locale", LOCALES)
def test_each_cart_note_by_sms_names_the_way_out(locale):
    """Marketing texts end with the stop word, in each locale."""
    ending = {"zh-CN": "拒收请回复R", "zh-TW": "拒收請回覆R", "en": "STOP to opt out"}[locale]
    for key in ("cart_1", "cart_2", "cart_3"):
        for values in (CHINESE, {**EMPTY, "brand": "B"}):
            assert text(key, locale, values).endswith(ending)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_levels_gift_is_one_sms_with_the_way_out(locale):
    """With a code of twelve; the notice of the level itself says nothing of a gift."""
    given = ENGLISH if locale == "en" else CHINESE
    found = text("level_gift", locale, {**given, "code": "K7QF2M9PXWT4", "title": "银卡礼 20 元券"})
    assert sms.count(found).parts == 1, found
    assert found.endswith({"zh-CN": "拒收请回复R", "zh-TW": "拒收請回覆R", "en": "STOP to opt out"}[locale])
    assert not re.search("礼|禮|券|gift|coupon", text("order_completed", locale, given))


def test_a_review_is_invited_by_chat_only():
    """No SMS asks for a review."""
    for locale in LOCALES:
        with pytest.raises(NoVariantError):
            text("review_invite", locale, CHINESE)


@pytest.mark.parametrize("locale", LOCALES)
def test_an_exchange_is_no_refund(locale):
    """Acknowledged by its name: neither an amount nor money that comes back is spoken of."""
    for medium in ("chat", "sms"):
        found = ALL.render("refund_received", locale, {**CHINESE, "exchange": "1"}, medium).text
        assert not any(word in found for word in ("退款", "原路", "refund", "money", "188"))
        assert any(word in found for word in ("换货", "換貨", "exchange"))
