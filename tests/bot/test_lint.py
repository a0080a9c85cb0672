"""Words that do not fit a lane are found before anybody gets them; words that pass do fit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import channels
from bot import sms
from bot.broadcasts import Broadcast, Template, Variant
from bot.costs import Tariff
from bot.lint import RULES, WARNINGS, Approved, Lane, Shop, cases, field_fault, length, lint, spoken
from bot.phrases import VARIABLES, PhraseError, fill, parse

ABLE = {one.name: one.capabilities for one in channels.ALL}
MEMBER_DAY = "${day}会员日：${item}会员价${price}元，当天24点止。拒收请回复R"
WECHAT, MESSENGER = Lane("wechat-main", ABLE["wechat"]), Lane("messenger-main", ABLE["messenger"])
SMS = Lane("sms-main", ABLE["twilio"], tariff=Tariff("USD", {"CN": Decimal("0.0359")}))
MAINLAND = Lane(
    "sms-cn",
    ABLE["alibaba"],
    {"SMS_48001": Approved(MEMBER_DAY), "SMS_48002": Approved("您的包裹${no}到了", longest=20)},
    signature="小满衣橱",
)
SHOP = Shop("小满衣橱", "zh-CN", {"en": "Xiaoman"}, frozenset({"shop.example"}))
GOOD = {
    "zh-CN": "本周三会员日，针织衫会员价，当天24点止。https://shop.example/day",
    "zh-TW": "週三會員日，針織衫會員價，當天24點止。",
    "en": "Member day on Wednesday, knitwear at member prices.",
}


def broadcast(text: str | dict[str, str] = "", **more: object) -> Broadcast:
    texts = {"zh-CN": text, "zh-TW": text, "en": text} if isinstance(text, str) else text
    known = {
        "id": "bc_1",
        "title": "会员日",
        "purpose": "marketing",
        "accounts": ("sms-main",),
        "created_at": 0,
        "created_by": "x",
    }
    return Broadcast(**{**known, "text": texts, **more})


def rules(found: list, level: str = "") -> set[str]:
    return {one.rule for one in found if not level or one.level == level}


def said(text: str, *lanes: Lane, **more: object) -> set[str]:
    return rules(lint(broadcast({"zh-CN": text}, **more), lanes or (SMS,), SHOP))


def test_the_longest_level_counts() -> None:
    """The dearest text is one to a buyer of the level with the longest name."""
    shop = Shop("小满衣橱", levels={"gold": {"zh-CN": "尊享黑金卡贵宾会员", "en": "Gold"}})
    (case,) = cases(broadcast({"zh-CN": "您是{{ level }}"}), (SMS,), shop)
    assert "尊享黑金卡贵宾会员" in case.text


def test_a_good_text_has_no_fault() -> None:
    found = lint(broadcast(GOOD), (WECHAT, MESSENGER, SMS), SHOP)
    assert rules(found, "fault") == set()
    assert rules(found) == {"window"}
    assert {one.account for one in found} == {"wechat-main", "messenger-main"}


def test_a_coupon_is_no_notice() -> None:
    """By calling it service an offer would reach who never agreed to marketing."""
    assert "offer" in rules(lint(broadcast(GOOD, purpose="service", coupon="RACE50"), (SMS,), SHOP), "fault")
    for fields in ({"purpose": "service"}, {"coupon": "RACE50"}):
        assert "offer" not in rules(lint(broadcast(GOOD, **fields), (SMS,), SHOP))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("您好 {{ nmae }}", "syntax"),
        ("您好 {{ card }}", "fallback"),
        ("看 {{ item }}", "no_item"),
        ("券码 {{ coupon }}", "no_coupon"),
        ("针织衫最后两天", "words"),
        ("仅剩三件，马上涨价", "words"),
        ("销量第一", "words"),
        ("史上最低", "words"),
        ("快来看看！", "tone"),
        ("亲，会员日到了", "tone"),
        ("五星好评返5元红包", "review_reward"),
        ("写好评送券", "review_reward"),
        ("会员价¥99", "currency"),
        ("会员日🎉", "emoji"),
        ("【大促】会员日", "signature"),
        ("会员日，退订回T", "way_out"),
        ("看 https://other.example/x", "link"),
        ("看https://shop.example/x，明天止", "link_end"),
        ("会员日" * 30, "parts"),
        ("会员日" * 600, "too_long"),
    ],
)
def test_what_each_rule_finds(text: str, rule: str) -> None:
    assert rule in said(text)
    assert rule not in said(GOOD["zh-CN"])


@pytest.mark.parametrize(
    "text", ["最近上新的针织衫", "第一次来的会员", "写真实感受，送积分", "您好{{ name | default('') }}"]
)
def test_what_no_rule_minds(text: str) -> None:
    assert said(text) <= {"missing_locale"}


def test_a_text_over_the_limit_names_length_and_limit() -> None:
    """2,000 bytes of WeChat are 666 Chinese characters; Messenger counts characters."""
    for lane, most, unit in ((WECHAT, 666, "bytes"), (MESSENGER, MESSENGER.able.text_limit, "characters")):
        assert "too_long" not in said("会" * most, lane)
        found = [f for f in lint(broadcast("会" * (most + 1)), (lane,), SHOP) if f.rule == "too_long"]
        assert found[0].level == "fault"
        assert found[0].field == "text.zh-CN" or found[0].field == "text.en"
        for part in (unit, str(lane.able.text_limit), str(length("会" * (most + 1), lane.able)), lane.account):
            assert part in found[0].detail


def test_languages_that_are_missing_are_named() -> None:
    found = [f for f in lint(broadcast({"en": "Hi"}), (SMS,), SHOP) if f.rule == "missing_locale"]
    assert {f.field for f in found} == {"text.zh-CN", "text.zh-TW"}
    assert all("get the text of en" in f.detail for f in found)
    assert rules(lint(broadcast({"zh-CN": " "}), (SMS,), SHOP), "fault") == {"no_text"}


def test_templates() -> None:
    """Known by id, every variable given and no other, no link, sign or long value in a variable, the way out at the end."""
    fields = {"day": "{{ day }}", "item": "{{ item }}", "price": "{{ price }}"}
    good = broadcast({}, items=("p1",), templates={"sms-cn": Template("SMS_48001", fields)})

    def found(template: Template, **more: object) -> set[str]:
        return rules(lint(replace(good, templates={"sms-cn": template}, **more), (MAINLAND,), SHOP), "fault")

    assert rules(lint(good, (MAINLAND,), SHOP)) == set()
    assert rules(lint(replace(good, templates={}), (MAINLAND,), SHOP)) == {"template_missing"}
    assert found(Template("SMS_1", fields)) == {"template_unknown"}
    assert found(Template("SMS_48001", {**fields, "x": "1"})) == {"template_fields"}
    assert found(Template("SMS_48001", {"day": "1", "item": "2"})) == {"template_fields"}
    assert found(Template("SMS_48002", {"no": "1"})) == {"template_way_out"}
    assert found(Template("SMS_48001", fields), purpose="service") == {"template_marketing"}
    for value, rule in (
        ("¥99", "field_sign"), ("￥99", "field_sign"), ("$9", "field_sign"), ("【新】", "field_sign"),
        ("https://a.example/b", "field_link"), ("a.example", "field_link"), ("长" * 36, "field_long"),
        ("{% if name %}{% endif %}", "field_empty"), ("{{ x }}", "syntax"), ("{{ coupon }}", "no_coupon"),
    ):  # fmt: skip
        assert found(Template("SMS_48001", {**fields, "price": value})) == {rule}, value
    assert (
        rules(lint(broadcast("您好", templates=good.templates), (replace_account(SMS, "sms-cn"),), SHOP), "fault")
        == set()
    )


def replace_account(lane: Lane, account: str) -> Lane:
    return Lane(account, lane.able)


def test_the_dearest_case_is_named() -> None:
    """With long values, in the language and variant that takes most parts; brand and way out counted."""
    texts = {
        "zh-CN": "{{ name | default('您') }}，" + "会" * 44,
        "en": "Hi {{ name | default('there') }}, " + "x" * 100,
    }
    asked = broadcast(texts, accounts=("sms-main", "sms-cn"), variants=(Variant("long", text={"zh-CN": "会" * 130}),))
    [case] = cases(asked, (SMS,), SHOP)
    assert (case.account, case.locale, case.variant, case.parts, case.encoding) == (
        "sms-main",
        "zh-CN",
        "long",
        3,
        "ucs2",
    )
    assert case.text == "【小满衣橱】" + "会" * 130 + " 拒收请回复R"
    [case] = cases(replace(asked, variants=()), (SMS,), SHOP)
    assert (case.locale, case.units, case.parts) == (
        "en",
        sms.count(case.text).units,
        2,
    )  # a Chinese name makes it UCS-2
    [case] = cases(replace(asked, variants=()), (SMS,), SHOP, {"name": "Lin"})
    assert case.parts == 1


def test_every_rule_has_words_and_a_place() -> None:
    assert set(RULES) > WARNINGS


# --- any text at all --------------------------------------------------------------------------------------------------

anything = st.text(max_size=120) | st.text("会员 {}%|name default()\"'【】¥!https://a.example最", max_size=60)
lanes = st.lists(st.sampled_from((WECHAT, MESSENGER, SMS, MAINLAND)), max_size=4, unique_by=lambda lane: lane.account)


@given(
    st.dictionaries(st.sampled_from(("zh-CN", "zh-TW", "en")), anything),
    lanes,
    st.dictionaries(st.text(max_size=4), anything),
)
def test_any_words_are_judged_in_words(texts: dict[str, str], used: list[Lane], fields: dict[str, str]) -> None:
    asked = broadcast(texts, templates={"sms-cn": Template("SMS_48001", fields)}, variants=(Variant("b", text=texts),))
    for finding in lint(asked, used, SHOP):
        assert finding.detail
        assert finding.level == ("warning" if finding.rule in WARNINGS else "fault")
    for case in cases(asked, used, SHOP):
        assert case.parts > 0 or not next(lane for lane in used if lane.account == case.account).able.sms


@given(st.text("会员日 abc{{ name }}", max_size=900), lanes, st.sampled_from(("marketing", "service")))
def test_what_passes_fits(text: str, used: list[Lane], purpose: str) -> None:
    """A text without a fault, filled with values no longer than was reckoned with, is within the limit of each lane."""
    asked = broadcast(text * 3, purpose=purpose)
    faults = lint(asked, used, SHOP)
    try:
        parse(text * 3)
    except PhraseError:
        assert not used or "syntax" in rules(faults)
        return
    values = {**dict.fromkeys(VARIABLES, "x"), "name": "小满"}
    for lane in used:
        if not lane.able.free_text or any(f.level == "fault" and f.account in ("", lane.account) for f in faults):
            continue
        for locale in asked.text:
            whole = spoken(fill(text * 3, values), lane, SHOP, locale, purpose)
            assert length(whole, lane.able) <= lane.able.text_limit


@given(st.text(max_size=50))
def test_a_buyers_own_value_is_judged_too(value: str) -> None:
    """What a name brings into an approved template is known only at the send: the same rules say whether it fits."""
    template = Template("SMS_48001", {"day": value or " ", "item": "x", "price": "9"})
    found = lint(broadcast({}, templates={"sms-cn": template}), (MAINLAND,), SHOP)
    try:
        parse(value)
    except PhraseError:
        return
    faults = {f.rule for f in found if f.rule.startswith("field_")}
    assert field_fault(fill(value, dict.fromkeys(VARIABLES, "x"))) == bool(faults) or "{" in value
