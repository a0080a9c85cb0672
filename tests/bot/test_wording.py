"""Wordings: loaded, checked, filled in, and short enough for a text message."""

from __future__ import annotations

import re
import shutil
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jinja2 import TemplateError, UndefinedError

from bot import bootstrap, configured, sms
from bot.errors import ConfigError, GatewayError
from bot.events import Money
from bot.locales import _ONLY_SIMPLIFIED
from bot.wording import WAY_OUT, Joined, NoVariantError, Wordings, clock, day, filled, money, short, with_way_out

ZONE = ZoneInfo("Asia/Shanghai")
AT = 1_790_000_000_000  # 2026-09-21 22:13 in Shanghai
ALL = Wordings.load(Path("templates"))
BASE = {"brand": "小满衣橱", "tz": ZONE, "name": "", "card": ""}
SHIPPED = {"carrier": "顺丰", "eta_at": AT}


def test_amounts_are_written_as_the_locale_writes_them():
    """元 after the figure in Chinese and never ¥; the code or the sign before it in English."""
    assert money("zh-CN", Money(Decimal("188.00"), "CNY")) == "188元"
    assert money("zh-CN", Money(Decimal("188.50"), "CNY")) == "188.50元"
    assert money("zh-TW", Money(Decimal(5), "USD")) == "5 USD"
    assert money("en", Money(Decimal(188), "CNY")) == "CNY 188"
    assert money("en", Money(Decimal("5.5"), "USD")) == "$5.50"
    assert money("zh-CN", Money(Decimal(100000), "CNY")) == "100000元"


def test_days_and_clocks_are_the_shops():
    """A time is shown in the shop's zone."""
    assert day("zh-CN", AT, ZONE) == "9月21日"
    assert day("en", AT, ZONE) == "Sep 21"
    assert clock(AT, ZONE) == "22:13"


@pytest.mark.parametrize(
    ("locale", "title", "others", "shown"),
    [
        ("zh-CN", "亚麻衬衫", 0, "亚麻衬衫"),
        ("zh-CN", "春夏新款亚麻混纺衬衫", 0, "春夏新款亚麻"),
        ("zh-CN", "亚麻衬衫", 2, "亚麻衬衫等3件"),
        ("en", "A very long linen shirt with pockets", 0, "A very long linen shirt"),
        ("en", "Shirt", 1, "Shirt and 1 more"),
    ],
)
def test_items_are_cut_to_a_short_name(locale, title, others, shown):
    """Six characters in Chinese, 24 at a word in English."""
    assert short(locale, title, others) == shown


def test_a_text_names_its_sender_once():
    """The brand stands before a chat wording by SMS, and is not doubled where the variant has it."""
    assert ALL.render("dialog_left", "zh-CN", BASE, "sms").text.startswith("【小满衣橱】好的")
    assert ALL.render("dialog_left", "en", BASE, "sms").text.startswith("小满衣橱: All")
    assert ALL.render("welcome", "zh-CN", BASE, "sms").text.count("小满衣橱") == 1
    with pytest.raises(NoVariantError):
        ALL.render("join_ask_phone", "zh-CN", {**BASE, "privacy": ""}, "sms")


def test_an_unknown_locale_falls_back_to_the_brands():
    """A buyer of another language reads the brand's; an unknown key is an error."""
    assert ALL.render("dialog_left", "fr", BASE).text == ALL.render("dialog_left", "zh-CN", BASE).text
    english = Wordings.load(Path("templates"), default="en")
    assert english.render("dialog_left", "", BASE).text == ALL.render("dialog_left", "en", BASE).text
    with pytest.raises(GatewayError, match="nosuch"):
        ALL.render("nosuch", "en", BASE)


def test_evidence_changes_with_the_text(tmp_path):
    """What a consent record keeps names locale and version, and another text is another version."""
    folder = tmp_path / "templates"
    shutil.copytree("templates", folder)
    path = folder / "en" / "consent.toml"
    path.write_text(path.read_text().replace("Would you like", "Do you want"))
    other = Wordings.load(folder)
    assert ALL.evidence("ask_marketing", "en").startswith("ask_marketing/en@")
    assert ALL.evidence("ask_marketing", "en") != other.evidence("ask_marketing", "en")
    assert ALL.evidence("ask_marketing", "zh-CN") == other.evidence("ask_marketing", "zh-CN")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("[dialog_left]", "[dialog_gone]"), "dialog_left"),
        (("All right", "All {{ right }}"), "right"),
        (("All right", "All {% if %}"), "dialog_left"),
        (('["orders", "Orders"]', '["order", "Orders"]'), "different choices"),
        (("[dialog_left]", "[dialog_left]\nsmss = 'x'"), "smss"),
    ],
)
def test_a_damaged_template_stops_the_start_by_name(tmp_path, change, fault):
    """The fault names the file or key, and what is wrong."""
    folder = tmp_path / "templates"
    shutil.copytree("templates", folder)
    path = folder / "en" / "chat.toml"
    source = path.read_text()
    assert change[0] in source
    path.write_text(source.replace(*change, 1))
    with pytest.raises(ConfigError) as caught:
        Wordings.load(folder)
    assert fault in str(caught.value)


LONG = {
    "brand": "小满衣橱", "name": "欧阳小满", "card": "1234 5678 9015", "tz": ZONE, "privacy": "https://s.cn/r/AbCd12",
    "hours": "09:00-21:00", "phone": "400-000-0000", "minutes": 15, "answer_at": AT, "retry_at": AT, "tail": "1234",
    "otp": "123456", "title": "五月会员日券", "value": Money(Decimal(100), "CNY"), "percent": "10",
    "minimum": Money(Decimal(1000), "CNY"), "code": "ABCDEFGH2345", "until_at": AT, "starts_at": AT,
    "campaign": "RACE5000",
}  # fmt: skip
ONE_PART = (
    "welcome", "menu", "help", "join_by_sms", "phone_code", "card_issued", "coupon_won", "coupon_again",
    "coupon_expiring",
    "opt_out_done", "fallback", "dialog_left", "consent_yes", "consent_no", "coupon_sold_out", "coupon_sold_out_waits",
    "coupon_next", "coupon_next_noted", "coupon_next_no", "coupon_limit", "coupon_not_started", "coupon_ended",
    "coupon_unknown", "opt_in_done",
)  # fmt: skip


@pytest.mark.parametrize("key", ONE_PART)
@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_a_text_fits_one_part_with_long_values(key, locale):
    """70 units in Chinese, one GSM-7 part in English, and neither ¥ nor an emoji."""
    brand = {"brand": "Xiaoman"} if locale == "en" else {}
    text = ALL.render(key, locale, {**LONG, **brand}, "sms").text
    counted = sms.count(text)
    assert counted.parts == 1, (sms.units16(text), text)
    assert "¥" not in text
    assert "!" not in text.replace("！", "!")
    if locale == "en":
        assert text.isascii()


FACTS: dict[str, object] = {
    "item": "亚麻衬衫长裙", "others": 0, "link": "https://s.cn/r/AbCd12", "total": Money(Decimal(12880), "CNY"), "amount":
    Money(Decimal(12880), "CNY"), "ship_at": AT, "eta_at": AT, "cut_at": AT, "carrier": "圆通速递", "city": "呼和浩特",
    "tracking": "YT123456789012", "exchange_at": AT,
}  # fmt: skip
LATIN = {
    "brand": "Xiaoman", "name": "", "item": "Linen shirt long", "carrier": "YTO Express", "city": "Hohhot",
    "title": "May coupon",
}  # fmt: skip
LISTS = {"wallet", "orders_list", "my_data"}  # as long as what they list
EVERY = sorted({key for _, key in ALL._table} - LISTS)


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_every_text_fits_one_part_with_long_values(locale):
    """All wordings that can go by SMS, lists aside: names, links, amounts and parcel numbers as long as they get."""
    long: dict[str, str] = {}
    for key in EVERY:
        wording = ALL._table[locale, key]
        names = dict.fromkeys(wording.required | wording.optional, "")
        values = {**names, **LONG, **FACTS, **(LATIN if locale == "en" else {})}
        try:
            text = ALL.render(key, locale, values, "sms").text
        except NoVariantError:
            continue
        if sms.count(text).parts > 1:
            long[key] = text
        assert "¥" not in text
        assert not re.search(r"https://[!-~]+[^\x00-\x7f]", text), text  # a link ends at a space
    assert long == {}


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_back_in_stock_fits_one_part(locale):
    """With as many sizes as are named, a price and a link."""
    values = {**LONG, **FACTS, **(LATIN if locale == "en" else {}), "sizes": ["S", "M", "L", "XL"], "several": True}
    text = ALL.render("stock_back", locale, {**values, "price": Money(Decimal(899), "CNY")}, "sms").text
    assert sms.count(text).parts == 1, (sms.units16(text), text)


MARKETING = ("cart_1", "cart_2", "cart_3", "coupon_expiring", "coupon_next", "stock_back")


@pytest.mark.parametrize("key", MARKETING)
@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_marketing_by_text_ends_with_the_way_out(key, locale):
    """The last words; a text of the API's gets them too, once."""
    names = dict.fromkeys(ALL._table[locale, key].required | ALL._table[locale, key].optional, "")
    assert ALL.render(key, locale, {**names, **LONG, **FACTS}, "sms").text.endswith(WAY_OUT[locale])
    assert with_way_out("会员日", locale) == f"会员日 {WAY_OUT[locale]}"
    assert with_way_out(with_way_out("x", locale), locale) == with_way_out("x", locale)


def test_taiwan_reads_its_own_words():
    """Not a conversion of characters: no simplified character, and none of the mainland's words."""
    for path in Path("templates/zh-TW").glob("*.toml"):
        text = path.read_text("utf-8")
        assert not set(text) & _ONLY_SIMPLIFIED, path
        for word in ("短信", "信息", "消息", "優惠券", "回復", "快遞", "尺碼", "結賬", "默認", "鏈接", "視頻", "客戶"):
            assert word not in text, (path, word)


def test_no_wording_says_dear_or_pushes():
    """Neither 亲, 红包, 好评 nor an exclamation mark in any wording."""
    for path in Path("templates").glob("*/*.toml"):
        for word in ("亲，", "红包", "紅包", "好评", "好評", "！", "最后机会", "仅剩"):
            assert word not in path.read_text(), (path, word)


def test_fields_of_provider_templates_take_what_their_wording_takes():
    """Variables and filters of the wording, in the default locale; anything else is refused by name."""
    assert filled(ALL.field("order_shipped", "{{ carrier }} {{ eta_at|day(tz) }}"), BASE | SHIPPED) == "顺丰 9月21日"
    assert ALL.field("order_shipped", "no variable") == "no variable"
    with pytest.raises(ValueError, match="order"):
        ALL.field("order_shipped", "{{ order.number }}")


def test_faults_in_provider_templates_stop_the_start_together(tmp_path):
    """Unknown wordings, unknown variables and bad syntax are named by table and field, all in one go."""
    path = tmp_path / "config.toml"
    table = (
        "[notices.order_shipped.sms-cn]\ntemplate_id = 'SMS_1'\nfields = { a = '{{ order.number }}', b = '{% if %}' }\n"
    )
    lost = "[notices.nosuch.sms-cn]\ntemplate_id = 'SMS_2'\n"
    path.write_text(Path("config.toml").read_text() + "\n" + table + lost)
    with pytest.raises(ConfigError) as caught:
        configured.notice_templates(bootstrap.read_settings(path), ALL)
    told = str(caught.value)
    for where in (
        "notices.order_shipped.sms-cn.fields.a",
        "notices.order_shipped.sms-cn.fields.b",
        "notices.nosuch.sms-cn",
    ):
        assert where in told


@given(
    st.lists(
        st.sampled_from(
            [
                "{{ a }}",
                "{{b}}",
                "{{ c -}}",
                " ",
                "\n",
                "甲",
                "a{",
                "}",
                "{# x #}",
                "{{ a|upper }}",
                "{% if a %}!{% endif %}",
            ]
        )
    ),
    st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.text()),
)
def test_plain_templates_fill_in_as_jinja_does(pieces, values):
    """What is joined from pieces is what the template engine would have made of it, a missing variable included."""
    from bot.wording import _environment, _template

    def outcome(fill):
        try:
            return fill()
        except UndefinedError:
            return "undefined"

    environment, source = _environment("en"), "".join(pieces)
    try:
        whole = environment.from_string(source)
    except TemplateError:
        assume(False)
    template = _template(environment, source, frozenset("abc"))
    if isinstance(template, str):
        assert template == source  # kept as it stands
        return
    assert outcome(lambda: filled(template, values)) == outcome(lambda: whole.render(values))
    if "{%" not in source and "|" not in source:
        assert isinstance(template, Joined)


def test_an_optional_variable_may_be_left_out() -> None:
    """A caller that knows neither hours nor phone still gets the whole help."""
    text = ALL.render("help", "en", BASE).text
    assert text.startswith("Reply 1 card")
    assert "Tel" not in text


def test_what_a_wording_lacks_is_said_beforehand() -> None:
    """A missing variable, an unknown one, and values that are no texts, each by name; nothing for what fits."""
    assert ALL.fault("help", {}) == ""
    assert ALL.fault("help", {"hours": "9-21"}) == ""
    assert "takes no colour" in ALL.fault("help", {"colour": "red"})
    assert "needs otp" in ALL.fault("phone_code", {})
    assert "cannot be filled in" in ALL.fault("order_shipped", {"eta_at": "soon"})
    assert (
        ALL.fault("order_shipped", {"item": "衬衫", "others": "2"}) == ALL.fault("order_shipped", {"item": "x"}) == ""
    )
