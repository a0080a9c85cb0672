"""A running gateway with stand-ins of Twilio and Alibaba Cloud that check signatures as the real ones do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from bot.access import create_token
from channels.twilio.signature import FORM_TYPE, sign, string_to_sign
from tests.channels.alibaba.peer import KEY_ID, SECRET, AlibabaPeer
from tests.channels.lend import provider
from tests.channels.twilio.peer import SID, TOKEN, TwilioPeer, account
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
        return await self.api(f"messages/{id}")

    async def listed(self) -> list[dict]:
        return (await self.api("messages"))["items"]

    async def decisions(self, message: str) -> list[dict]:
        return (await self.api(f"decisions?message={message}"))["items"]

    async def api(self, path: str) -> dict:
        token = await create_token(self.harness.gateway.store, "tests", "owner")
        headers = {"Authorization": f"Bearer {token}"}
        async with self.harness.session.get(f"{self.harness.base}/api/v1/{path}", headers=headers) as answer:
            assert answer.status == 200
            return await answer.json()

    async def metrics(self, sample: str, timeout: float = 4.0) -> float:
        """A sample of /metrics, once it is there."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            async with self.harness.session.get(f"{self.harness.base}/metrics") as answer:
                for line in (await answer.text()).splitlines():
                    if line.startswith(sample):
                        return float(line.rpartition(" ")[2])
            await asyncio.sleep(0.1)
        raise AssertionError(f"no {sample}")

    async def settled(self, expected: list[str], timeout: float = 5.0) -> None:
        end = time.monotonic() + timeout
        while (found := await self.states()) != expected and time.monotonic() < end:
            await asyncio.sleep(0.02)
        assert found == expected


@asynccontextmanager
async def texting(
    valkey, tmp_path, *, twilio_more: str = "", alibaba_more: str = "", more: str = ""
) -> AsyncIterator[Sms]:
    """Accounts sms-main (Twilio) and sms-cn (Alibaba Cloud), with prices; `…_more` goes into their tables."""
    twilio, alibaba = TwilioPeer(), AlibabaPeer()
    async with provider(twilio) as (twilio_base, _), provider(alibaba) as (alibaba_base, _):
        extra = f"""{account(twilio_base)}{twilio_more}
[channels.sms-cn]
type = "alibaba"
access_key_id = "{KEY_ID}"
access_key_secret = "{SECRET}"
sign_name = "小满衣橱"
callback_key = "{KEY}"
api_base = "{alibaba_base}"
{alibaba_more}
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
{more}
"""
        async with running(valkey, tmp_path, extra=extra, ledger=True) as harness:
            yield Sms(harness, twilio, alibaba)


async def post_alibaba(sms, *items: dict, key: str = KEY) -> tuple[int, str]:
    url = f"{sms.harness.base}/channels/sms-cn/webhook?key={key}"
    body = json.dumps(items).encode()
    async with sms.harness.session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        return answer.status, await answer.text()


async def ship(sms: Sms, order: str = "5001", phone: str = "13900001234") -> None:
    """A paid order of a buyer with a phone is shipped."""
    now = time.time()
    facts = {
        "id": order,
        "number": f"#{order}",
        "pay_state": "paid",
        "total": {"amount": "188.00", "currency": "CNY"},
        "items": [{"title": "亚麻衬衫", "qty": 1}],
        "placed_at": rfc(now),
        "paid_at": rfc(now),
    }
    buyer = {"phones": [phone], "phone": phone, "name": "林小满"}
    shipment = {"id": f"s{order}", "carrier": "sf", "tracking_no": f"SF{order}", "state": "in_transit"}
    for kind, data in (
        ("order.paid", {"order": facts, "buyer": buyer}),
        ("shipment.created", {"order": {"id": order}, "buyer": buyer, "shipment": shipment}),
    ):
        status, text = await sms.harness.shop(kind, f"e-{kind}-{order}", data)
        assert status < 300, text
