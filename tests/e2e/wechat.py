"""Buyers on a WeChat account of a running gateway: signed and encrypted pushes in, calls of WeChat's API out."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from urllib.parse import urlencode

from bot import subjects
from bot.codec import load_message
from bot.records import Buyer, Link
from channels.wechat.config import decode_key
from channels.wechat.crypto import Crypto, signature
from tests.channels.wechat.peer import APP, KEY, TOKEN
from tests.gateway import rfc

NONCE = "839201744"


class WeChat:
    """The gateway, its WeChat and, for codes and notices, its Twilio."""

    def __init__(self, harness, peer, twilio) -> None:
        self.harness, self.peer, self.twilio = harness, peer, twilio
        self.serial = itertools.count(24_000_000_000_000_001)

    # --- in -------------------------------------------------------------------------------------------------------

    def body(self, openid: str, inner: str, created: int = 0) -> str:
        return (
            f"<xml><ToUserName><![CDATA[gh_x]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>"
            f"<CreateTime>{created or int(time.time())}</CreateTime>{inner}</xml>"
        )

    async def post(self, query: dict[str, str], body: str, account: str = "wechat-main") -> tuple[int, str]:
        url = f"{self.harness.base}/channels/{account}/webhook?{urlencode(query)}"
        async with self.harness.session.post(url, data=body.encode(), headers={"Content-Type": "text/xml"}) as answer:
            return answer.status, await answer.text()

    def sealed(self, plain: str, stamp: str = "", app: str = APP) -> tuple[dict[str, str], str]:
        """A push in safe mode: its query and its body."""
        encrypted = Crypto([decode_key(KEY)], app).encrypt(plain.encode(), b"R4nd0mSixteenBy!")
        stamp = stamp or str(int(time.time()))
        query = {"signature": signature(TOKEN, stamp, NONCE), "timestamp": stamp, "nonce": NONCE, "encrypt_type": "aes"}
        query["msg_signature"] = signature(TOKEN, stamp, NONCE, encrypted)
        return query, f"<xml><ToUserName><![CDATA[gh_x]]></ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"

    async def push(self, openid: str, inner: str, created: int = 0) -> None:
        assert await self.post(*self.sealed(self.body(openid, inner, created))) == (200, "success")

    async def say(self, openid: str, text: str, *, id: int = 0, option: str = "", created: int = 0) -> None:
        """A text, or with `option` a tapped menu option."""
        tapped = f"<bizmsgmenuid><![CDATA[{option}]]></bizmsgmenuid>" if option else ""
        inner = f"<MsgType>text</MsgType><Content><![CDATA[{text}]]></Content>{tapped}"
        await self.push(openid, f"{inner}<MsgId>{id or next(self.serial)}</MsgId>", created)

    async def event(self, openid: str, name: str, key: str = "", *, created: int = 0, inner: str = "") -> None:
        head = f"<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{name}]]></Event>"
        await self.push(openid, f"{head}<EventKey><![CDATA[{key}]]></EventKey>{inner}", created)

    # --- out ------------------------------------------------------------------------------------------------------

    async def told(self, openid: str, count: int, timeout: float = 5.0) -> list[str]:
        """What the buyer has been sent, once there are `count` and nothing more is under way."""
        end = time.monotonic() + timeout
        while len(self.peer.texts(openid)) < count and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await self.quiet()
        assert len(self.peer.texts(openid)) >= count, self.peer.texts(openid)
        return self.peer.texts(openid)

    async def quiet(self) -> None:
        """Until nothing is under way: lanes empty and every planned message ended (or waits for longer than this)."""
        client, end = self.harness.gateway.store.client, time.monotonic() + 1.5
        while True:
            await self.harness.idle()
            await asyncio.sleep(0.1)
            states = {await client.hget(key, "s") async for key in client.scan_iter("msg:*")}
            if not states & {b"queued", b"sending"} or time.monotonic() > end:
                break
        await self.harness.idle()

    async def ask(self, openid: str, text: str, *, option: str = "") -> list[str]:
        """What is said in answer to one message."""
        before = len(self.peer.texts(openid))
        await self.say(openid, text, option=option)
        return (await self.told(openid, before + 1))[before:]

    async def code(self) -> str:
        """The digits of the newest code text."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for form in reversed(self.twilio.forms):
                if found := re.search(r"\d{6}", form["Body"]):
                    return found[0]
            await asyncio.sleep(0.02)
        raise AssertionError("no code was sent")

    async def join(self, openid: str, phone: str = "13900001234") -> list[str]:
        """From 会员 to the card."""
        await self.ask(openid, "会员")
        await self.ask(openid, phone)
        return await self.ask(openid, await self.code())

    # --- what is kept ---------------------------------------------------------------------------------------------

    async def buyer(self, openid: str) -> Buyer:
        """The record where the conversation lives, through its link."""
        await self.harness.idle()
        subject = subjects.address("wechat-main", openid)
        for _ in range(4):
            record = (await self.harness.gateway.store.records({subject}))[subject]
            if not isinstance(record, Link):
                break
            subject = record.home
        assert isinstance(record, Buyer)
        return record

    async def address(self, openid: str):
        found = (await self.buyer(openid)).address("wechat-main", openid)
        assert found is not None
        return found

    async def alerts(self) -> list[str]:
        """What staff are told of the account, once there is something."""
        subject = subjects.account("wechat-main")
        end = time.monotonic() + 5
        while not (record := (await self.harness.gateway.store.records({subject})).get(subject)):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        return record.alerts

    async def rows(self, key: str) -> list[tuple[str, str, str]]:
        """Account, state and reason of the messages of a wording (or of its forms), in the order in which they were planned."""
        client = self.harness.gateway.store.client
        found = []
        async for name in client.scan_iter("msg:*"):
            body, state, reason = await client.hmget(name, "b", "s", "r")
            message = load_message(body)
            if message.key.startswith(key):
                found.append((message.created_at, message.account, state.decode(), (reason or b"").decode()))
        return [row[1:] for row in sorted(found)]

    async def ended(self, key: str, *expected: tuple[str, str, str]) -> None:
        """Once these are exactly the messages of a wording: (account, state, reason) each, in any order."""
        end = time.monotonic() + 5
        while sorted(found := await self.rows(key)) != sorted(expected) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert sorted(found) == sorted(expected)

    # --- the shop -------------------------------------------------------------------------------------------------

    async def order(self, kind: str, number: str, openid: str, *, phone: str = "", **more) -> None:
        """A shop event of an order whose buyer the shop knows by chat address."""
        now = time.time() + self.harness.gateway.clock.offset() / 1000
        order = {
            "id": number,
            "number": f"#{number}",
            "pay_state": "unpaid" if kind == "order.created" else "paid",
            "total": {"amount": "188.00", "currency": "CNY"},
            "items": [{"title": "亚麻衬衫", "qty": 1}],
            "placed_at": rfc(now),
            **({"paid_at": rfc(now)} if kind != "order.created" else {"pay_url": "https://shop.example/pay/1"}),
        }
        buyer = {"address": f"wechat-main:{openid}", "name": "林小满"}
        if phone:
            buyer |= {"phones": [phone], "phone": phone}
        data = {"order": order, "buyer": buyer, **more}
        status, text = await self.harness.shop(kind, f"e-{kind}-{number}", data, at=now)
        assert status < 300, text
        await self.quiet()

    async def shipped(self, number: str, openid: str, *, phone: str = "") -> None:
        shipment = {"id": f"s{number}", "carrier": "sf", "tracking_no": f"SF{number}", "state": "in_transit"}
        await self.order("shipment.created", number, openid, phone=phone, shipment=shipment)
