"""The code dialog through the front door: a number typed in Messenger, its code by text, and every way to get it wrong."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from bot import keys
from tests.e2e.texting import Sms, texting

PSID = "p1"


@pytest.fixture
async def sms(valkey, redis_client, tmp_path):
    async with texting(valkey, tmp_path) as found:
        yield found


class Joining:
    """A buyer on Messenger who is asked for a number."""

    def __init__(self, sms: Sms) -> None:
        self.sms, self.harness, self.told = sms, sms.harness, 0

    async def say(self, text: str) -> str:
        """What the shop answers to it."""
        await self.harness.say(PSID, text)
        self.told += 1
        return (await self.harness.said(PSID, self.told))[self.told - 1]

    async def asks(self, number: str = "13900005678") -> str:
        await self.say("会员")
        return await self.say(number)

    async def code(self, n: int = 1) -> str:
        """The n-th code that was texted."""
        return re.findall(r"\d{6}", (await self.sms.said(n))[n - 1])[0]


def other(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_the_right_code_opens_the_card(sms, redis_client):
    """The text goes to the typed number with its deadline; the code is no part of what staff see."""
    joining = Joining(sms)
    assert "5678" in await joining.asks()
    code = await joining.code()
    form = sms.twilio.forms[0]
    assert form["To"] == "+8613900005678"
    assert 590 <= int(form["ValidityPeriod"]) <= 600
    assert (await sms.message())["text"] == ""
    await sms.harness.say(PSID, code)
    assert any("会员" in text for text in (await sms.harness.said(PSID, joining.told + 1))[joining.told :])
    await sms.harness.idle()
    assert await redis_client.hexists(keys.CODE_COUNTS, "k:CN")  # it counts as come back


async def test_five_wrong_tries_end_it(sms):
    """The fifth wrong code closes the dialog: even the right one is only a text then."""
    joining = Joining(sms)
    await joining.asks()
    code = await joining.code()
    for _ in range(4):
        assert "数字不对" in await joining.say(other(code))
    assert "次数多了" in await joining.say(other(code))
    await joining.say(code)
    found = await sms.harness.gateway.queries.buyer_by_address("messenger-main", PSID)
    assert found.member is None


async def test_a_resent_code_ends_the_one_before(sms):
    """The old code is wrong from the moment a new one is asked for."""
    joining = Joining(sms)
    await joining.asks()
    first = await joining.code()
    await joining.say("重发")
    second = await joining.code(2)
    if first != second:
        assert "数字不对" in await joining.say(first)
    await sms.harness.say(PSID, second)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = await sms.harness.gateway.queries.buyer_by_address("messenger-main", PSID)
        if found.member is not None:
            break
        await asyncio.sleep(0.05)
    assert found.phones == ["+8613900005678"]


async def test_an_expired_code_is_not_taken(sms):
    """After ten minutes the right digits bring a new code instead of a card."""
    joining = Joining(sms)
    await joining.asks()
    code = await joining.code()
    await sms.harness.advance(601)
    assert "验证码已发到" in await joining.say(code)
    assert len(sms.twilio.forms) == 2
    found = await sms.harness.gateway.queries.buyer_by_address("messenger-main", PSID)
    assert found.member is None


async def test_a_fourth_code_waits(sms):
    """Three codes in ten minutes; the fourth request is told until when."""
    joining = Joining(sms)
    await joining.asks()
    for _ in range(2):
        await joining.say("重发")
    assert "发得有点多" in await joining.say("重发")
    assert len(sms.twilio.forms) == 3


async def test_a_landline_is_asked_for_another_number(sms):
    """No code is sent to a number that takes no texts, nor counted for it."""
    joining = Joining(sms)
    assert "号码看着不对" in await joining.asks("010-62345678")
    assert sms.twilio.forms == []
    assert "5678" in await joining.say("13900005678")


async def test_another_country_is_refused_by_name(sms):
    """A number of a country that is not listed gets no code, and the buyer is told to use another."""
    joining = Joining(sms)
    assert "地区" in await joining.asks("+1 415 555 2671")
    assert sms.twilio.forms == []


async def test_a_code_takes_the_line_that_reaches_its_country(valkey, redis_client, tmp_path):
    """With a template for codes the mainland's numbers go by Alibaba Cloud, digits as its one variable; others by Twilio."""
    more = """[notices.phone_code.sms-cn]
template_id = "SMS_9"
fields = { code = "{{ otp }}" }
[codes]
countries = ["US"]
"""
    async with texting(valkey, tmp_path, more=more) as sms:
        joining = Joining(sms)
        await joining.asks()
        end = time.monotonic() + 5
        while not sms.alibaba.calls and time.monotonic() < end:
            await asyncio.sleep(0.02)
        params = sms.alibaba.calls[0][1]
        assert (params["PhoneNumbers"], params["TemplateCode"]) == ("13900005678", "SMS_9")
        assert re.fullmatch(r'\{"code":"\d{6}"\}', params["TemplateParam"])
        await joining.say("返回")
        await joining.say("+1 415 555 2671")
        await sms.said(1)
        assert sms.twilio.forms[0]["To"] == "+14155552671"
