"""The gateway as its users meet it: webhook in, provider call out."""

from __future__ import annotations

import asyncio

import pytest

from bot import sender
from tests.gateway import running


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path) as harness:
        yield harness


async def test_a_greeting_is_answered_with_the_menu(gw):
    """A first hello gets one answer, which says that it is automatic."""
    await gw.say("p1", "你好")
    assert "自动助手" in (await gw.said("p1", 1))[0]
    await gw.idle()
    assert len(gw.graph.texts("p1")) == 1


async def test_a_repeated_webhook_is_answered_once(gw):
    """The same message delivered three times has one effect."""
    for _ in range(3):
        await gw.say("p1", "你好", mid="m_same")
    await gw.idle()
    assert len(gw.graph.texts("p1")) == 1


async def test_a_bad_signature_is_refused(gw):
    """A webhook signed with another secret gets 401 and leaves nothing behind."""
    status, _ = await gw.post_messenger(gw.item("p1", text="你好"), secret="other")
    assert status == 401
    await gw.idle()
    assert gw.graph.sent == []


@pytest.mark.parametrize(
    ("also", "status"),
    [
        (("webhook-signature", "v1,x"), 400),
        (("webhook-id", "e1"), 400),
        (("webhook-timestamp", "1"), 400),
        (("svix-signature", "v1,x"), 200),
    ],
)
async def test_a_header_that_stands_twice_is_a_bad_request(gw, also, status):
    """The shop's door names the repeated header; nothing is taken in."""
    answered, body = await gw.shop("order.updated", "e1", {"order": {"id": "5001"}}, also=[also])
    assert answered == status
    assert status == 200 or also[0] in body


ORDER = {
    "id": "5001",
    "number": "#5001",
    "pay_state": "unpaid",
    "total": {"amount": "188.00", "currency": "CNY"},
    "pay_url": "https://shop.example/pay/5001",
    "items": [{"title": "亚麻衬衫", "qty": 1}],
}


def order(**changes):
    import time

    from tests.gateway import rfc

    return {
        "order": {**ORDER, "placed_at": rfc(time.time()), "paid_at": rfc(time.time()), **changes},
        "buyer": {"address": "messenger-main:p1", "name": "林小满"},
    }


async def test_an_unpaid_order_is_reminded_and_a_paid_one_thanked(gw):
    """Placed, two hours later reminded, paid, thanked."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    assert (await gw.shop("order.created", "e1", order()))[0] == 200
    await gw.idle()
    await gw.advance(2 * 3600 + 5)
    texts = await gw.said("p1", 2)
    assert "待付款" in texts[1]
    assert (await gw.shop("order.paid", "e2", order(pay_state="paid")))[0] == 200
    texts = await gw.said("p1", 3)
    assert "谢谢您第一次选择我们" in texts[2]


async def test_no_reminder_after_payment(gw):
    """Paid before the reminder's time: no reminder, whatever the clock."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.shop("order.paid", "e2", order(pay_state="paid"))
    await gw.shop("order.created", "e1", order())
    await gw.idle()
    await gw.advance(3 * 3600)
    await gw.advance(3 * 3600)
    texts = gw.graph.texts("p1")
    assert sum("待付款" in t for t in texts) == 0
    assert sum("已收到付款" in t for t in texts) == 1


async def test_a_notice_waits_while_the_account_is_refused(gw, monkeypatch):
    """An expired page token fails no order notice: it goes out once staff have mended the account. A reply is let go."""
    monkeypatch.setattr(sender, "ACCOUNT_PAUSE_S", 0.3)
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    gw.graph.script += ["token", "token"]
    await gw.shop("order.paid", "e1", order(pay_state="paid"))
    assert "谢谢您第一次选择我们" in (await gw.said("p1", 2, timeout=20))[1]

    gw.graph.script += ["token"]
    await gw.say("p1", "帮助")
    while gw.graph.script:  # the refusal is for this reply, not for the next buyer's
        await asyncio.sleep(0.01)
    await gw.say("p2", "你好")
    await gw.said("p2", 1, timeout=10)
    await gw.idle()
    assert len(gw.graph.texts("p1")) == 2


async def test_a_messages_history_keeps_the_gateways_time(gw):
    """With the sandbox clock ahead, each step of a message is told in that clock's time, none before the one before it."""
    await gw.advance(3 * 86_400)
    gw.graph.script += ["temporary"]
    before = gw.gateway.clock.now()
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.idle()
    [message] = await gw.gateway.queries.messages(lambda _: True)
    assert [state for state, _, _ in message.history] == ["queued", "sending", "queued", "sending", "sent"]
    times = [at for _, at, _ in message.history]
    assert times == sorted(times)
    assert before - 1000 <= times[0] <= times[-1] <= gw.gateway.clock.now()
