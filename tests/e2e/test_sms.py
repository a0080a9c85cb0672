"""Texts through a running gateway: Twilio and Alibaba Cloud stand-ins that check signatures as the real ones do."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import urlencode

import pytest

from bot.access import create_token
from bot.messages import Notice
from channels.twilio.signature import FORM_TYPE, sign, string_to_sign
from tests.channels.alibaba.peer import KEY_ID, SECRET, AlibabaPeer
from tests.channels.lend import provider
from tests.channels.twilio.peer import SID, TOKEN, TwilioPeer, account, refusal
from tests.gateway import rfc, running

BUYER = "+8613900001234"
KEY = "0f8b1c2d3e4a59687786a5b4c3d2e1f0"
PUBLIC = "http://127.0.0.1:1"  # what the gateway of these tests believes to be called


class Sms:
    """The gateway, its Twilio, its Alibaba Cloud."""

    def __init__(self, harness, twilio: TwilioPeer, alibaba: AlibabaPeer) -> None:
        self.harness, self.twilio, self.alibaba = harness, twilio, alibaba
        self.serial = 0

    async def post(self, target: str, fields: dict[str, str], token: str = TOKEN) -> int:
        """A form as Twilio signs it."""
        signature = sign(token, string_to_sign(PUBLIC + target, tuple(fields.items())))
        headers = {"Content-Type": FORM_TYPE, "X-Twilio-Signature": signature}
        async with self.harness.session.post(
            self.harness.base + target, data=urlencode(fields).encode(), headers=headers
        ) as answer:
            if answer.status == 200:
                assert await answer.text() == '<?xml version="1.0" encoding="UTF-8"?><Response />'
                assert answer.content_type == "text/xml"
            return answer.status

    async def say(self, text: str, **more: str) -> None:
        self.serial += 1
        fields = {
            "MessageSid": f"SM{self.serial:032x}",
            "AccountSid": SID,
            "From": BUYER,
            "To": "+15005550001",
            "Body": text,
            "SmsStatus": "received",
            "FromCity": "",
            **more,
        }
        assert await self.post("/channels/sms-main/webhook", fields) == 200

    async def said(self, count: int, timeout: float = 5.0) -> list[str]:
        """Bodies of the texts that Twilio took, once there are `count`."""
        end = time.monotonic() + timeout
        while len(self.twilio.forms) < count and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert len(self.twilio.forms) >= count
        return [form["Body"] for form in self.twilio.forms]

    async def status(self, state: str, form: dict[str, str], **more: str) -> None:
        """Twilio's callback to the URL that the send named."""
        target = form["StatusCallback"].removeprefix(PUBLIC)
        fields = {
            "MessageSid": f"SM{1:032x}",
            "MessageStatus": state,
            "SmsStatus": state,
            "To": BUYER,
            "From": "+1",
            **more,
        }
        assert await self.post(target, fields) == 200

    async def states(self) -> list[str]:
        """State of every message, by its id."""
        client = self.harness.gateway.store.client
        found = {key: await client.hget(key, "s") async for key in client.scan_iter("msg:*")}
        return sorted(value.decode() for value in found.values())

    async def address(self, account: str):
        """What the buyer's record says of its address on an account."""
        await self.harness.idle()
        records = await self.harness.gateway.store.records({f"phone:{BUYER}"})
        return records[f"phone:{BUYER}"].address(account, BUYER)

    async def message(self, n: int = 0) -> dict:
        """The REST API's view of the n-th message that Twilio was handed."""
        ref = self.twilio.forms[n]["StatusCallback"].rpartition("ref=")[2]
        return await self.look_up(ref)

    async def look_up(self, id: str) -> dict:
        token = await create_token(self.harness.gateway.store, "tests", "owner")
        headers = {"Authorization": f"Bearer {token}"}
        async with self.harness.session.get(f"{self.harness.base}/api/v1/messages/{id}", headers=headers) as answer:
            assert answer.status == 200
            return await answer.json()

    async def settled(self, expected: list[str], timeout: float = 5.0) -> None:
        end = time.monotonic() + timeout
        while (found := await self.states()) != expected and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert found == expected


@pytest.fixture
async def sms(valkey, redis_client, tmp_path):
    twilio, alibaba = TwilioPeer(), AlibabaPeer()
    async with provider(twilio) as (twilio_base, _), provider(alibaba) as (alibaba_base, _):
        extra = f"""{account(twilio_base)}
[channels.sms-cn]
type = "alibaba"
access_key_id = "{KEY_ID}"
access_key_secret = "{SECRET}"
sign_name = "小满衣橱"
callback_key = "{KEY}"
api_base = "{alibaba_base}"
[channels.sms-main.prices]
currency = "USD"
per_part = {{ CN = "0.0359" }}
as_of = 2026-11-01
[channels.sms-cn.prices]
currency = "CNY"
per_part = {{ CN = "0.045" }}
[policy.order_of_channels]
service = ["sms-cn", "sms-main"]
[notices.order_shipped.sms-cn]
template_id = "SMS_1"
fields = {{ brand = "{{{{ brand }}}}" }}
"""
        async with running(valkey, tmp_path, extra=extra) as harness:
            yield Sms(harness, twilio, alibaba)


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
    await asyncio.sleep(0.1)
    assert sms.twilio.forms == []


async def test_a_plain_stop_is_confirmed_once_and_blocks(sms):
    """Without OptOutType the gateway confirms; after that the number is blocked until START."""
    await sms.say("STOP")
    await sms.said(1)
    assert (await sms.address("sms-main")).blocked
    await sms.say("帮助")
    await sms.harness.idle()
    await asyncio.sleep(0.2)
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
    await asyncio.sleep(0.2)
    assert len(sms.twilio.targets) == calls


async def post_alibaba(sms, *items: dict, key: str = KEY) -> tuple[int, str]:
    url = f"{sms.harness.base}/channels/sms-cn/webhook?key={key}"
    body = json.dumps(items).encode()
    async with sms.harness.session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        return answer.status, await answer.text()


async def ship(sms) -> None:
    """A paid order of a buyer with a phone is shipped."""
    now = time.time()
    order = {
        "id": "5001",
        "number": "#5001",
        "pay_state": "paid",
        "total": {"amount": "188.00", "currency": "CNY"},
        "items": [{"title": "亚麻衬衫", "qty": 1}],
        "placed_at": rfc(now),
        "paid_at": rfc(now),
    }
    buyer = {"phones": ["13900001234"], "phone": "13900001234", "name": "林小满"}
    shipment = {"id": "s1", "carrier": "sf", "tracking_no": "SF0001", "state": "in_transit"}
    for kind, data in (
        ("order.paid", {"order": order, "buyer": buyer}),
        ("shipment.created", {"order": {"id": "5001"}, "buyer": buyer, "shipment": shipment}),
    ):
        status, text = await sms.harness.shop(kind, f"e-{kind}", data)
        assert status < 300, text


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
