"""Locales: platform tags and what a text tells."""

from __future__ import annotations

import pytest

from bot.locales import detect, negotiate


@pytest.mark.parametrize(
    ("tag", "locale"),
    [
        ("zh-Hans-CN", "zh-CN"), ("zh_CN", "zh-CN"), ("zh", "zh-CN"), ("zh_TW", "zh-TW"), ("zh-Hant", "zh-TW"),
        ("zh-HK", "zh-TW"), ("en-US", "en"), ("EN", "en"), ("fr_FR", ""), ("", ""),
    ],
)  # fmt: skip
def test_platform_tags_become_ours(tag, locale):
    """Tags of all spellings; another language is none of ours."""
    assert negotiate(tag) == locale


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("優惠券", "zh-TW"), ("會員", "zh-TW"), ("訂單", "zh-TW"), ("优惠券", "zh-CN"), ("会员", "zh-CN"),
        ("尺寸", ""), ("寄到哪里", ""), ("衣服", ""), ("领券", "zh-CN"), ("where is my order", "en"), ("member", "en"),
        ("123456", ""), ("", ""), ("M", ""), ("2", ""), ("人工", ""),
    ],
)  # fmt: skip
def test_a_text_tells_its_locale_only_where_it_does(text, locale):
    """Characters that both scripts share say nothing; telling ones do."""
    assert detect(text) == locale
