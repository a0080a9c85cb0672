"""Locales: zh-CN, zh-TW and en; which one a buyer gets. Pure."""

from __future__ import annotations

import re

_ENGLISH = re.compile(r"^\s*[A-Za-z]{3,}\s*$|[A-Za-z]{2,}\s+\S*[A-Za-z]")
LOCALES = ("zh-CN", "zh-TW", "en")

# Characters that only traditional or only simplified text uses, of words that buyers type: enough to follow a buyer.
_TRADITIONAL = frozenset(
    "會員優領訂單幫請問個這還沒貨謝開發買賣價錢嗎為麼時間號碼電話換裝誰來說訊門後樣點應該給讓從過幾買車簡碼"
)
_SIMPLIFIED = frozenset(
    "会员优领订单帮请问个这还没货谢开发买卖价钱吗为么时间号码电话换装谁来说讯门后样点应该给让从过几车简"
)

_ONLY_TRADITIONAL = _TRADITIONAL - _SIMPLIFIED
_ONLY_SIMPLIFIED = _SIMPLIFIED - _TRADITIONAL


def negotiate(tag: str) -> str:
    """One of ours for a platform's language tag (`zh_Hant_TW`, `en-US` …), "" where it names another language."""
    parts = tag.replace("_", "-").lower().split("-")
    if parts[0] == "en":
        return "en"
    if parts[0] != "zh":
        return ""
    if any(part in ("hant", "tw", "hk", "mo") for part in parts[1:]):
        return "zh-TW"
    return "zh-CN"


def detect(text: str) -> str:
    """The locale that a text is written in, or "" where it does not tell (digits, emoji, one ambiguous word)."""
    if text.isascii():
        # One Latin word may be a name, a code or a carrier's STOP: two words, or one of nothing but letters, are a language.
        return "en" if _ENGLISH.search(text) else ""
    seen = set(text)
    traditional, simplified = len(seen & _ONLY_TRADITIONAL), len(seen & _ONLY_SIMPLIFIED)
    if traditional > simplified:
        return "zh-TW"
    return "zh-CN" if simplified > traditional else ""


def chain(locale: str, default: str) -> tuple[str, ...]:
    """The locales to look for words in, best first; `default` is the shop's."""
    order = {"zh-TW": ("zh-TW", "zh-CN"), "zh-CN": ("zh-CN",), "en": ("en",)}.get(locale, ())
    return tuple(dict.fromkeys((*order, default, "en", "zh-CN")))
