"""What changes between the plan and the call: paid, opted out; and what becomes of every message when the provider fails."""

from __future__ import annotations

import asyncio
import collections
import random
import time

import pytest

from bot import accounts, ids, keys, sender
from bot.change import Change, QueuedMessage
from bot.codec import dump_message, dump_record
from bot.messages import OutboundMessage, Text
from bot.store import Store
from tests.gateway import rfc, running


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as harness:
        yield harness


def order(number: str, **changes) -> dict:
    stamp = rfc(time.time())
    return {
        "order": {
            "id": number,
            "number": f"#{number}",
            "pay_state": "unpaid",
            "placed_at": stamp,
            "paid_at": stamp,
            "pay_url": f"https://shop.example/pay/{number}",
            "total": {"amount": "188.00", "currency": "CNY"},
            "items": [{"title": "亚麻衬衫", "qty": 1}],
            **changes,
        },
        "buyer": {"address": "messenger-main:p1", "name": "林小满"},
    }


async def rows(gw) -> list[dict[str, bytes]]:
    """Every message there is: state, purpose, reason, id."""
    found = []
    for p in range(64):
        for id in await gw.gateway.store.command("ZRANGE", keys.messages(p), 0, -1):
            state, purpose, reason = await gw.gateway.store.command(
                "HMGET", keys.message(p, id.decode()), "s", "pu", "r"
            )
            found.append({"id": id, "state": state, "purpose": purpose, "reason": reason})
    return found


async def waiting(gw, purpose: bytes) -> None:
    """Until a message of this purpose waits behind the one that is on its way."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if any(row["purpose"] == purpose and row["state"] == b"queued" for row in await rows(gw)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await rows(gw))


async def occupy(gw) -> None:
    """One message to the buyer is on its way for two seconds: what is planned meanwhile waits."""
    gw.graph.delay = 2.0
    await gw.say("p1", "帮助")
    end = time.monotonic() + 5
    while not any(row["state"] == b"sending" for row in await rows(gw)):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("paid", [True, False])
async def test_a_reminder_that_waits_is_not_sent_after_the_payment(gw, paid):
    """Due, planned, and paid while it waits for its turn to be called: not sent. The control: unpaid, it is."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.shop("order.created", "e1", order("5001"))
    await gw.idle()
    await occupy(gw)
    clock = gw.gateway.clock
    clock.set_offset(clock.offset() + (2 * 3600 + 5) * 1000)
    await waiting(gw, b"service")
    if paid:
        assert (await gw.shop("order.paid", "e2", order("5001", pay_state="paid")))[0] == 200
    gw.graph.delay = 0.0
    await gw.idle(10)
    texts = gw.graph.texts("p1")
    assert sum("待付款" in text for text in texts) == (0 if paid else 1)
    assert sum("谢谢您第一次选择我们" in text for text in texts) == (1 if paid else 0), (texts, await rows(gw))
    if paid:
        assert [row["reason"] for row in await rows(gw) if row["state"] == b"skipped"] == [b"reason_gone"]


@pytest.mark.parametrize("leaves", [True, False])
async def test_marketing_that_waits_is_not_sent_after_the_opt_out(gw, leaves):
    """Planned with consent, and opted out before the call: not sent. The control: without the opt-out it is."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.idle()
    store: Store = gw.gateway.store
    home = "address:messenger-main:p1"
    p, now = store.partition(home), gw.gateway.clock.now()
    buyer = await store.record(home)
    buyer.addresses[0].consent.marketing = "granted"
    await occupy(gw)
    out = OutboundMessage(
        id=ids.new("m", p), buyer=buyer.id, home=home, account="messenger-main", to="p1", purpose="marketing",
        content=Text("上新"), created_at=now,
    )  # fmt: skip
    row = QueuedMessage(out.id, out.account, "p1", "lo", "queued", "", now, "marketing", dump_message(out))
    await store.commit([Change(p, home, record=dump_record(buyer), messages=[row])], now=now)
    if leaves:
        await gw.say("p1", "退订")
    gw.graph.delay = 0.0
    await gw.idle(10)
    assert ("上新" in gw.graph.texts("p1")) is not leaves
    [state] = [row["state"] for row in await rows(gw) if row["purpose"] == b"marketing"]
    assert state == (b"skipped" if leaves else b"sent")


@pytest.mark.timeout(90)
async def test_every_message_ends_in_one_state_that_the_ledger_bears_out(gw, monkeypatch):
    """A provider that fails in every way: sent means taken, failed means never taken, and the counts add up."""
    monkeypatch.setattr(sender, "REPLY_DOUBT_MS", 200)
    monkeypatch.setattr(sender, "SERVICE_DOUBT_MS", 300)
    monkeypatch.setattr(accounts, "HALF_OPEN_S", 0.2)
    chance = random.Random(7)
    gw.graph.script = chance.choices(["", "drop", "500", "429", "temporary", "window"], (50, 15, 8, 5, 12, 10), k=400)
    for number in range(30):
        await gw.say(f"p{number}", "你好")
        body = order(f"6{number}", pay_state="paid")
        body["buyer"]["address"] = f"messenger-main:p{number}"
        assert (await gw.shop("order.paid", f"e{number}", body))[0] == 200
    end = time.monotonic() + 60
    calm = 0
    while calm < 8 and time.monotonic() < end:
        await gw.idle(40)
        later = sum([await gw.gateway.store.command("ZCARD", keys.later(p)) for p in range(64)])
        calm = 0 if later else calm + 1
        await asyncio.sleep(0.1)
    found = await rows(gw)
    states = collections.Counter(row["state"] for row in found)
    assert set(states) <= {b"sent", b"failed", b"in_doubt", b"skipped"}
    assert sum(states.values()) == len(found) >= 60
    assert states[b"sent"] > 20
    copies = collections.Counter(body["message"]["metadata"].encode() for body in gw.graph.sent)
    for row in found:
        taken = copies[row["id"]]
        assert taken <= 2, row
        if row["state"] == b"sent":
            assert taken >= 1, row
        if row["state"] in (b"failed", b"skipped"):
            assert taken == 0, row


async def test_a_refusal_after_a_doubt_leaves_the_doubt(gw, monkeypatch):
    """The first call was taken and its answer lost, the second is refused: it did not fail, it is in doubt."""
    monkeypatch.setattr(sender, "REPLY_DOUBT_MS", 200)
    gw.graph.script = ["drop", "window"]
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    end = time.monotonic() + 5
    while gw.graph.script and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await gw.idle()
    assert [(row["state"], row["reason"].partition(b":")[0]) for row in await rows(gw)] == [
        (b"in_doubt", b"window_closed")
    ]
