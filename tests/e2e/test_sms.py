"""Texts through a running gateway: Twilio and Alibaba Cloud stand-ins that check signatures as the real ones do."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

import pytest
from yarl import URL

import channels
import shops
import trackers
from bot.access import create_token
from bot.errors import ConfigError
from bot.messages import Notice
from bot.settings import load
from bot.sms import count
from channels.twilio.signature import FORM_TYPE, sign, string_to_sign
from tests.channels.alibaba.peer import refusal as limited
from tests.channels.twilio.peer import TOKEN, refusal
from tests.e2e.texting import BUYER, PUBLIC, post_alibaba, ship, texting


@pytest.fixture
async def sms(valkey, redis_client, tmp_path):
    async with texting(valkey, tmp_path) as found:
        yield found


async def test_a_text_is_answered_and_its_delivery_known(sms):
    """A text in, one text out to the sender with the shop's name, and the callback's status on the message."""
    await sms.say("帮助")
    await sms.said(1)
    assert sms.twilio.forms[0]["To"] == BUYER
    await sms.settled(["sent"])
    await sms.status("delivered", sms.twilio.forms[0])
    await sms.settled(["delivered"])
    await sms.status("sent", sms.twilio.forms[0])
    await sms.settled(["delivered"])


async def test_a_text_finds_its_number_without_a_detour(sms):
    """One turn per text: no link, no mail between records; the API finds the buyer by address as by number."""
    await sms.say("帮助")
    await sms.said(1)
    await sms.harness.idle()
    gateway = sms.harness.gateway
    kept = [key.decode() for key in await gateway.store.client.keys("rec:*")]
    assert [key.partition("}:")[2] for key in kept] == [f"phone:{BUYER}"]
    assert await gateway.store.client.keys("mailn:*") == []
    found = await gateway.queries.buyer_by_address("sms-main", BUYER)
    assert found is not None
    assert found.home == f"phone:{BUYER}"


async def test_a_forged_text_is_refused(sms):
    """Another token, or another path than was signed: 401 and nothing happens."""
    fields = {"MessageSid": "SM1", "From": BUYER, "Body": "帮助"}
    assert await sms.post("/channels/sms-main/webhook", fields, "another") == 401
    assert await sms.post("/channels/sms-cn/webhook", fields) == 401
    await sms.harness.idle()
    assert sms.twilio.forms == []


async def test_what_twilio_confirmed_is_not_confirmed_again(sms):
    """STOP with OptOutType: the gateway says nothing, and later words of the shop's do not go out."""
    await sms.say("STOP", OptOutType="STOP")
    address = await sms.address("sms-main")
    assert address.opted_out
    assert address.blocked
    await sms.harness.idle()
    assert sms.twilio.forms == []


async def test_a_plain_stop_is_confirmed_once_and_blocks(sms):
    """Without OptOutType the gateway confirms; after that the number is blocked until START."""
    await sms.say("STOP")
    await sms.said(1)
    assert (await sms.address("sms-main")).blocked
    await sms.say("帮助")
    await sms.harness.idle()
    assert len(sms.twilio.forms) == 1
    await sms.say("START")
    address = await sms.address("sms-main")
    assert not address.blocked
    assert not address.opted_out


async def test_a_lost_answer_is_settled_by_the_callback(sms):
    """The send is in doubt; Twilio's callback proves it, and it is not sent twice."""
    sms.twilio.answers = ["drop"]
    await sms.say("帮助")
    await sms.settled(["in_doubt"])
    client = sms.harness.gateway.store.client
    keys = [key async for key in client.scan_iter("msg:*")]
    ref = keys[0].decode().rpartition(":")[2]
    await sms.status("sent", {"StatusCallback": f"{PUBLIC}/channels/sms-main/status?ref={ref}"})
    await sms.settled(["sent"])
    await asyncio.sleep(5.5)
    assert len(sms.twilio.targets) == 1


async def test_a_number_that_stopped_at_twilio_is_blocked_here(sms):
    """21610 becomes an opt-out: the next words to that number are not even tried."""
    sms.twilio.answers = [refusal(400, 21610)]
    await sms.say("帮助")
    await sms.settled(["failed"])
    await sms.harness.idle()
    assert (await sms.address("sms-main")).blocked
    calls = len(sms.twilio.targets)
    await sms.say("帮助")
    await sms.harness.idle()
    assert len(sms.twilio.targets) == calls


async def test_a_notice_goes_out_by_template(sms):
    """The shipped order's notice is Alibaba Cloud's template; the receipt and an R are taken, a forged post is not."""
    await ship(sms)
    end = time.monotonic() + 5
    while not sms.alibaba.calls and time.monotonic() < end:
        await asyncio.sleep(0.02)
    action, params = sms.alibaba.calls[0]
    assert action == "SendSms"
    assert params["TemplateCode"] == "SMS_1"
    assert params["PhoneNumbers"] == "13900001234"
    assert params["TemplateParam"] == '{"brand":"小满衣橱"}'
    report = {"phone_number": "13900001234", "success": True, "biz_id": "x", "out_id": params["OutId"], "sms_size": "1"}
    assert await post_alibaba(sms, report, key="0" * 32) != (200, '{"code":0,"msg":"接收成功"}')
    assert await post_alibaba(sms, report) == (200, '{"code":0,"msg":"接收成功"}')
    end = time.monotonic() + 5
    while "delivered" not in await sms.states() and time.monotonic() < end:
        await asyncio.sleep(0.02)
    assert "delivered" in await sms.states()
    reply = {"phone_number": "13900001234", "content": "R", "sequence_id": "1"}
    assert (await post_alibaba(sms, reply))[0] == 200
    assert (await sms.address("sms-cn")).opted_out


async def test_a_cost_is_planned_and_corrected_by_the_providers_count(sms):
    """Parts times the country's price as soon as it is planned; Alibaba Cloud's receipt says how many it billed."""
    await ship(sms)
    end = time.monotonic() + 5
    while not sms.alibaba.calls and time.monotonic() < end:
        await asyncio.sleep(0.02)
    id = sms.alibaba.calls[0][1]["OutId"]
    planned = await sms.look_up(id)
    assert planned["parts"] == 1
    assert planned["cost"] == {"amount": "0.045", "currency": "CNY"}
    report = {"phone_number": "13900001234", "success": True, "biz_id": "x", "out_id": id, "sms_size": "2"}
    assert (await post_alibaba(sms, report))[0] == 200
    await sms.harness.idle()
    billed = await sms.look_up(id)
    assert (billed["parts"], billed["cost"]) == (2, {"amount": "0.090", "currency": "CNY"})


async def test_twilios_count_of_parts_wins(sms):
    """The answer to the send names the parts; a text abroad, without a price, reads unknown."""
    await sms.say("帮助")
    await sms.said(1)
    await sms.settled(["sent"])
    found = await sms.message()
    assert (found["parts"], found["cost"]) == (2, {"amount": "0.0718", "currency": "USD"})
    await sms.say("HELP", From="+14155552671")
    await sms.said(2)
    await sms.settled(["sent", "sent"])
    assert (await sms.message(1))["cost"] == "unknown"


async def test_a_mainland_line_counts_as_the_mainland_does(sms):
    """Every character counts one at Alibaba Cloud: 71 letters are two parts there and one at Twilio."""
    speaker = sms.harness.gateway.worker._turns._speaker
    text = Notice("SMS_1", {}, text="a" * 71)
    assert speaker._billed("sms-cn", BUYER, text)[0] == 2
    assert speaker._billed("sms-main", BUYER, text)[0] == 1


async def test_a_number_that_never_wrote_is_marked_unreachable(sms):
    """30005 by callback, to a number known from an order only: the buyer's address is marked, another account is used."""
    await ship(sms)
    end = time.monotonic() + 5
    while not sms.alibaba.calls and time.monotonic() < end:
        await asyncio.sleep(0.02)
    token = await create_token(sms.harness.gateway.store, "tests", "owner")
    body = {"phone": BUYER, "purpose": "service", "text": "到店了", "accounts": ["sms-main"]}
    headers = {"Authorization": f"Bearer {token}"}
    async with sms.harness.session.post(f"{sms.harness.base}/api/v1/messages", json=body, headers=headers) as answer:
        assert answer.status == 202
    await sms.said(1)
    await sms.harness.idle()
    await sms.status("undelivered", sms.twilio.forms[0], ErrorCode="30005")
    end = time.monotonic() + 20
    while (told := await sms.message())["state"] == "sent" and time.monotonic() < end:
        await asyncio.sleep(0.02)
    assert (told["state"], told["reason"]) == ("failed", "unreachable:30005")
    assert not (await sms.address("sms-main")).reachable
    assert (await sms.address("sms-cn")).reachable


async def test_a_carriers_block_stops_marketing_only(sms):
    """30004: the number is opted out of marketing, and is still answered."""
    sms.twilio.answers = [refusal(400, 30004)]
    await sms.say("帮助")
    await sms.settled(["failed"])
    address = await sms.address("sms-main")
    assert address.opted_out
    assert not address.blocked
    await sms.say("帮助")
    await sms.said(1)


async def test_one_senders_pause_is_not_the_lines(sms):
    """A limit of one number at Alibaba Cloud: that notice waits for the minute's end, another number's goes at once."""
    sms.alibaba.answers = [limited("isv.BUSINESS_LIMIT_CONTROL", message="触发分钟级流控Permits:1")]
    await ship(sms)
    end = time.monotonic() + 5
    while not sms.alibaba.targets and time.monotonic() < end:
        await asyncio.sleep(0.02)
    await ship(sms, order="5002", phone="13900005678")
    while not sms.alibaba.calls and time.monotonic() < end:
        await asyncio.sleep(0.02)
    assert [params["PhoneNumbers"] for _, params in sms.alibaba.calls] == ["13900005678"]
    assert "queued" in await sms.states()


async def test_a_rate_counts_parts(valkey, redis_client, tmp_path):
    """At 5 parts a second, six texts of several parts take as long as their parts, not as their number."""
    async with texting(valkey, tmp_path, twilio_more="rate_per_second = 5") as sms:
        token = await create_token(sms.harness.gateway.store, "tests", "owner")
        for n in range(4):
            body = {"phone": f"+861390000100{n}", "purpose": "service", "text": "字" * 150, "accounts": ["sms-main"]}
            async with sms.harness.session.post(
                f"{sms.harness.base}/api/v1/messages", json=body, headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                assert answer.status == 202, await answer.text()
        await sms.said(4, timeout=15)
        parts = [m.message.parts for m in await sms.harness.gateway.queries.messages(lambda _: True)]
        assert parts == [3] * 4
        assert sms.twilio.times[-1] - sms.twilio.times[0] >= (3 * 3 - 1) / 5


async def test_a_signed_url_is_the_public_one_whatever_the_proxy_says(sms):
    """Twilio signs server.public_url with or without its port; Host and X-Forwarded headers change nothing."""
    fields = {"MessageSid": "SM" + "1" * 32, "From": BUYER, "To": "+15005550001", "Body": "帮助", "FromCity": ""}
    target = "/channels/sms-main/webhook?shop=%37&x=a+b"
    signature = sign(TOKEN, string_to_sign(PUBLIC + target, tuple(fields.items())))
    headers = {
        "Content-Type": FORM_TYPE, "X-Twilio-Signature": signature, "Host": "inner.example:9000",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "I-Twilio-Idempotency-Token": "t-1",
    }  # fmt: skip
    url = URL(sms.harness.base + target, encoded=True)
    for _ in range(2):
        async with sms.harness.session.post(url, data=urlencode(fields).encode(), headers=headers) as answer:
            assert answer.status == 200
    await sms.said(1)
    await sms.harness.idle()
    assert len(sms.twilio.forms) == 1


async def test_the_shop_has_a_name_of_its_own_in_english(valkey, redis_client, tmp_path):
    """An English text with a Chinese name would be UCS-2 and cost two parts; with `brand.names` it is one."""
    async with texting(valkey, tmp_path, more='[brand.names]\nen = "Xiaoman"\n') as sms:
        await sms.say("help")
        await sms.said(1)
        await sms.say("帮助")
        await sms.said(2)
        english, chinese = (form["Body"] for form in sms.twilio.forms)
        assert english.startswith("Xiaoman: ")
        assert count(english).parts == 1
        assert chinese.startswith("【小满衣橱】")


def test_a_name_in_an_unknown_language_is_named(tmp_path):
    """The fault names the key and what would be right."""
    path = tmp_path / "config.toml"
    path.write_text('[brand]\nname = "A"\nnames = { fr = "B" }\n')
    with pytest.raises(ConfigError, match=r"brand\.names\.fr.*zh-CN"):
        load(path, channels.ALL, shops.ALL, trackers.ALL, env={})
