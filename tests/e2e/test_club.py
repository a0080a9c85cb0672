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
from tests.e2e.test_sms import BUYER, Sms
from tests.gateway import running

__all__ = ["chat"]  # the fixture
DAY = 86_400_000


async def texts(chat, text: str, count: int = 1) -> list[str]:
    """What is texted back to one text."""
    before = len(chat.twilio.forms)
    await chat.say(text)
    await chat.said(before + count)
    await chat.harness.quiet()
    return [form["Body"] for form in chat.twilio.forms[before:]]


async def phone_buyer(chat):
    """The record at the phone number."""
    await chat.harness.quiet()
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
    await closed.harness.quiet()
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
