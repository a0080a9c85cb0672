"""The club through a running gateway: consent, coupons, and what waits for its hour."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo

import pytest

from bot import hours
from bot.access import create_token
from bot.coupons import Campaign
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.console.test_api import Api
from tests.e2e.test_chat import ask, buyer, chat, join
from tests.e2e.texting import BUYER, Sms
from tests.gateway import running

__all__ = ["chat"]  # the fixture
DAY = 86_400_000


async def texts(chat, text: str, count: int = 1) -> list[str]:
    """What is texted back to one text."""
    before = len(chat.twilio.forms)
    await chat.say(text)
    await chat.said(before + count)
    await chat.harness.idle()
    return [form["Body"] for form in chat.twilio.forms[before:]]


async def phone_buyer(chat):
    """The record at the phone number."""
    await chat.harness.idle()
    return (await chat.harness.gateway.store.records({f"phone:{BUYER}"}))[f"phone:{BUYER}"]


def campaign(key: str = "MAY", stock: int = 5, **fields) -> Campaign:
    return Campaign(key, "五月券", "amount_off", stock, "20.00", "CNY", "99.00", **{"valid_days": 30, **fields})


async def rows(chat) -> list[dict[bytes, bytes]]:
    client = chat.harness.gateway.store.client
    return [await client.hgetall(key) async for key in client.scan_iter("msg:*")]


async def test_a_consent_question_that_was_held_back_is_asked_later(chat):
    """The chat is shut when the question is due: it does not count as asked, and comes with the next look at the card."""
    await join(chat, "p1")
    await chat.harness.advance(25 * 3600)
    found = await buyer(chat, "p1")
    assert "consent_asked" not in found.tallies
    assert not any("会员日和上新" in text for text in chat.harness.graph.texts("p1"))
    told = await ask(chat, "p1", "会员")
    assert "会员卡号" in told[0]
    assert "会员日和上新" in told[-1]
    assert "一周最多两条" in (await ask(chat, "p1", "1"))[0]
    found = await buyer(chat, "p1")
    assert found.addresses[0].consent.marketing == "granted"
    assert found.addresses[0].consent.wording.startswith("ask_marketing/zh-CN@")
    assert len(await ask(chat, "p1", "会员")) == 2  # the card and its picture, no question again


async def test_the_question_waits_while_staff_write_and_while_another_is_open(chat):
    """Ten minutes of silence pass under staff: asked after them; and not into the question whether to leave."""
    await join(chat, "p1")
    echo = {
        "sender": {"id": "1234567890"},
        "recipient": {"id": "p1"},
        "timestamp": int(time.time() * 1000),
        "message": {"mid": "m_staff9", "is_echo": True, "text": "在的", "app_id": 263902037430900},
    }
    await chat.harness.post_messenger(echo)
    await chat.harness.advance(11 * 60)
    assert "consent_asked" not in (await buyer(chat, "p1")).tallies
    await chat.harness.advance(5 * 60)
    await ask(chat, "p1", "注销会员")
    await chat.harness.advance(9 * 60 + 50)
    assert (await buyer(chat, "p1")).address("messenger-main", "p1").dialog.state == "leave.confirm"
    await ask(chat, "p1", "2")
    await chat.harness.advance(30 * 60)
    assert "consent_asked" in (await buyer(chat, "p1")).tallies


async def test_a_stop_is_the_answer_to_the_question(chat):
    """R to the marketing question refuses; a 1 typed afterwards grants nothing."""
    await join(chat, "p1")
    for _ in range(4):
        await ask(chat, "p1", "跳过", ".skip")
    assert (await buyer(chat, "p1")).addresses[0].dialog.state == "consent.marketing"
    assert "已停发" in (await ask(chat, "p1", "R"))[0]
    await ask(chat, "p1", "1")
    found = await buyer(chat, "p1")
    assert all(address.opted_out and address.consent.marketing == "refused" for address in found.addresses)


async def test_leaving_an_interrupting_dialog_goes_back_to_the_first(chat):
    """0 in the middle of leaving the club: the name is asked again, and 0 once more ends it all."""
    await join(chat, "p1")
    await ask(chat, "p1", "注销会员")
    assert "怎么称呼" in (await ask(chat, "p1", "0"))[0]
    assert "先到这里" in (await ask(chat, "p1", "取消"))[0]
    found = await buyer(chat, "p1")
    assert found.member is not None
    assert found.addresses[0].dialog.state == ""


async def test_an_opt_out_holds_for_addresses_that_come_later(chat):
    """Stopped in Messenger; then the phone is proved, and a shop says yes for it: still nothing by SMS."""
    await ask(chat, "p1", "退订")
    await join(chat, "p1")
    found = await buyer(chat, "p1")
    assert {address.account for address in found.addresses} == {"messenger-main", "sms-main"}
    assert all(address.opted_out for address in found.addresses)


@pytest.fixture
async def closed(valkey, redis_client, tmp_path):
    """Marketing hours that begin in an hour, for an hour."""
    minute = hours.minute_of(int(time.time() * 1000), ZoneInfo("Asia/Shanghai"))
    start, end = (minute + 60) % 1440, (minute + 120) % 1440
    span = str(hours.Hours(start, end))
    twilio = TwilioPeer()
    async with (
        provider(twilio) as (base, _),
        running(valkey, tmp_path, extra=account(base), marketing_hours=span) as harness,
    ):
        yield Sms(harness, twilio, None)


async def test_a_coupon_note_that_waits_for_its_hour_comes_then(closed):
    """Three days before the end, outside marketing hours: held, and sent when they begin."""
    await closed.harness.gateway.campaigns.create(campaign())
    await texts(closed, "START")
    await texts(closed, "领 MAY")
    await closed.harness.advance(27 * 86400 + 5)
    assert [row[b"s"] for row in await rows(closed)].count(b"queued") == 1
    await closed.harness.advance(3600)
    await closed.said(3)
    await closed.harness.idle()
    assert "快到期" in closed.twilio.forms[-1]["Body"]
    assert b"queued" not in [row[b"s"] for row in await rows(closed)]


async def test_a_held_note_whose_reason_is_gone_ends_as_skipped(closed):
    """The coupon is used before the hour comes: the note is skipped, not forgotten as waiting."""
    await closed.harness.gateway.campaigns.create(campaign())
    await texts(closed, "START")
    await texts(closed, "领 MAY")
    await closed.harness.advance(27 * 86400 + 5)
    api = Api(closed.harness, await create_token(closed.harness.gateway.store, "till", "owner"))
    code = (await phone_buyer(closed)).coupons[0].code
    assert (await api("POST", f"/coupons/{code}/redeem", {"order": "5001"}))[0] == 200
    await closed.harness.advance(3600)
    ended = [row for row in await rows(closed) if row[b"pu"] == b"marketing"]
    assert [(row[b"s"], row[b"r"]) for row in ended] == [(b"skipped", b"reason_gone")]


# --- the next coupons -------------------------------------------------------------------------------------------------


async def announce(chat) -> None:
    """What the slow loop does every half minute."""
    await chat.harness.gateway.campaigns.refresh()
    await chat.harness.gateway.openings.tell(chat.harness.gateway.clock.now())
    await chat.harness.idle()


async def test_who_asked_is_told_of_the_next_coupons_once(chat):
    """Sold out, 1: noted with its evidence; the next campaign is told once, the one after that not."""
    make = chat.harness.gateway.campaigns.create
    await make(campaign("FIRST", stock=0))
    told = await ask(chat, "p1", "领 FIRST")
    assert "刚刚领完了" in told[0]
    assert "1 要  2 不用" in told[0]
    assert "记下了" in (await ask(chat, "p1", "1"))[0]
    consent = (await buyer(chat, "p1")).addresses[0].consent
    assert (consent.coupons, consent.marketing) == ("granted", "unknown")
    assert consent.coupons_wording.startswith("coupon_sold_out/zh-CN@")
    assert consent.coupons_at > 0
    again = await ask(chat, "p1", "领 FIRST")
    assert "会告诉您" in again[0]
    assert "1 要" not in again[0]

    await announce(chat)
    said = len(chat.harness.graph.texts("p1"))
    now = chat.harness.gateway.clock.now()
    await make(campaign("LATER", starts_at=now + 3_600_000))
    await announce(chat)
    assert len(chat.harness.graph.texts("p1")) == said
    await chat.harness.advance(3601)
    await announce(chat)
    await announce(chat)
    texts_ = chat.harness.graph.texts("p1")[said:]
    assert len(texts_) == 1
    assert "领 LATER" in texts_[0]
    await make(campaign("THIRD"))
    await announce(chat)
    assert len(chat.harness.graph.texts("p1")) == said + 1
    assert (await buyer(chat, "p1")).addresses[0].consent.coupons == "unknown"
    assert "领到了" in (await ask(chat, "p1", "领 LATER"))[0]


async def test_a_campaign_that_is_stocked_up_counts_as_the_next(chat):
    """More of the same: who asked is told; by SMS with the way out."""
    make = chat.harness.gateway.campaigns
    first = campaign("FIRST", stock=0)
    await make.create(first)
    await texts(chat, "领 FIRST")
    await texts(chat, "1")
    await make.change(first.key, lambda found: setattr(found, "stock", 3))
    before = len(chat.twilio.forms)
    await announce(chat)
    await chat.said(before + 1)
    told = chat.twilio.forms[-1]["Body"]
    assert "领 FIRST" in told
    assert told.endswith("拒收请回复R")


@pytest.mark.parametrize("last", ["2", "退订"])
async def test_who_says_no_or_stops_is_not_told(chat, last):
    """2 is no; an opt-out ends the wish too."""
    make = chat.harness.gateway.campaigns.create
    await make(campaign("FIRST", stock=0))
    await ask(chat, "p1", "领 FIRST")
    if last != "2":
        await ask(chat, "p1", "1")
    await ask(chat, "p1", last)
    said = len(chat.harness.graph.texts("p1"))
    await make(campaign("NEXT"))
    await announce(chat)
    assert len(chat.harness.graph.texts("p1")) == said
    assert not any(state == "granted" for state in [a.consent.coupons for a in (await buyer(chat, "p1")).addresses])


async def test_who_cannot_be_told_waits_on(chat):
    """The chat is shut when the next opens: skipped with its reason, and told of the one after."""
    make = chat.harness.gateway.campaigns.create
    await make(campaign("FIRST", stock=0))
    await ask(chat, "p1", "领 FIRST")
    await ask(chat, "p1", "1")
    await chat.harness.advance(25 * 3600)
    await make(campaign("SECOND"))
    await announce(chat)
    assert [row[b"r"] for row in await rows(chat) if row[b"pu"] == b"marketing"] == [b"window_closed"]
    await ask(chat, "p1", "你好")
    said = len(chat.harness.graph.texts("p1"))
    await make(campaign("THIRD"))
    await announce(chat)
    assert "领 THIRD" in chat.harness.graph.texts("p1")[said]


async def test_a_wish_survives_a_merge(chat):
    """Asked in Messenger by who turns out to be an older buyer: told once, in Messenger."""
    make = chat.harness.gateway.campaigns.create
    await make(campaign("FIRST", stock=0))
    await texts(chat, "你好")
    await ask(chat, "p1", "领 FIRST")
    await ask(chat, "p1", "1")
    await join(chat, "p1")
    said = len(chat.harness.graph.texts("p1"))
    await make(campaign("NEXT"))
    await announce(chat)
    assert len([text for text in chat.harness.graph.texts("p1")[said:] if "领 NEXT" in text]) == 1


# --- coupons in words -------------------------------------------------------------------------------------------------


async def test_each_way_a_claim_ends_has_its_words(chat):
    """Not started with its hour, ended, unknown, used: never the words of a coupon that works."""
    make = chat.harness.gateway.campaigns
    now = chat.harness.gateway.clock.now()
    await make.create(campaign("SOON", starts_at=now + DAY))
    await make.create(campaign("OVER", ends_at=now - 1))
    await make.create(campaign("MAY"))
    for words, told in (
        ("领 SOON", "还没开始领"),
        ("领 OVER", "已经结束"),
        ("领 NOSUCH", "没有找到"),
        ("领 may", "领到了"),
        ("领 MAY。", "您已经有了"),
    ):
        assert told in (await ask(chat, "p1", words))[0], words
    code = (await buyer(chat, "p1")).coupons[0].code
    await make.redeem(code, "5001", now)
    said = (await ask(chat, "p1", "领 MAY"))[0]
    assert "用掉或过期" in said
    assert code not in said


async def test_a_coupon_given_by_api_is_reminded_of(chat):
    """Put into the account by the shop: in the wallet, and told of three days before its end to who agreed."""
    await chat.harness.gateway.campaigns.create(campaign("GIFT"))
    await texts(chat, "START")
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    _, found = await api("GET", f"/buyers?phone=%2B{BUYER[1:]}")
    status, coupon = await api("POST", "/campaigns/GIFT/claims", {"buyer": found["items"][0]["id"]})
    assert status == 201
    assert coupon["code"] in (await texts(chat, "优惠券"))[0]
    await chat.harness.advance(27 * 86400 + 5)
    await chat.said(3)
    assert coupon["code"] in chat.twilio.forms[-1]["Body"]


async def test_a_pool_with_a_code_of_another_campaign_is_refused(chat):
    """A code names one coupon: 409 with the code."""
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    body = {"key": "ONE", "title": "券", "kind": "gift", "stock": 1, "codes": ["SHQPCQDE2345"]}
    assert (await api("POST", "/campaigns", body))[0] == 201
    status, problem = await api("POST", "/campaigns", {**body, "key": "TWO"})
    assert (status, problem["errors"][0]["field"]) == (409, "codes")
    assert "SHQPCQDE2345" in problem["detail"]
