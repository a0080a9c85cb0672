"""Messenger through the running gateway: batches of two pages, lost answers, numbers handed over, links, other apps, blocks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time

import pytest

from tests.e2e.texting import texting
from tests.gateway import APP_SECRET, rfc, running

SECOND = f"""
[channels.messenger-two]
type = "messenger"
page_id = "222"
app_id = "777"
app_secret = "{APP_SECRET}"
verify_token = "verify-me"
page_access_token = "page-token-2"
api_base = "http://127.0.0.1:9"
"""


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, extra=SECOND) as harness:
        yield harness


async def post(gw, *entries: dict) -> int:
    body = json.dumps({"object": "page", "entry": list(entries)}).encode()
    signature = "sha256=" + hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
    async with gw.session.post(f"{gw.base}/channels/messenger-main/webhook", data=body, headers=headers) as answer:
        return answer.status


def item(page: str, psid: str, **kind) -> dict:
    return {"sender": {"id": psid}, "recipient": {"id": page}, "timestamp": int(time.time() * 1000), **kind}


def entry(page: str, *items: dict, place: str = "messaging") -> dict:
    return {"id": page, "time": int(time.time() * 1000), place: list(items)}


async def buyer(gw, account: str, psid: str):
    await gw.idle()
    return await gw.gateway.queries.buyer_by_address(account, psid)


async def states(gw) -> list[str]:
    client = gw.gateway.store.client
    found = [await client.hget(key, "s") async for key in client.scan_iter("msg:*")]
    return sorted(value.decode() for value in found)


async def until(gw, expected: list[str], timeout: float = 6.0) -> None:
    end = time.monotonic() + timeout
    while (found := await states(gw)) != expected and time.monotonic() < end:
        await asyncio.sleep(0.05)
    assert found == expected


async def test_one_post_of_two_pages_and_a_strange_one(gw):
    """Each entry goes to the account that has its page; what nobody has is counted; all of it is answered 200."""
    hello = {"message": {"mid": "m_1", "text": "你好"}}
    status = await post(
        gw,
        entry("1234567890", item("1234567890", "p1", **hello), item("1234567890", "p2", **hello)),
        entry("222", item("222", "p1", **hello)),
        entry("333", item("333", "p1", **hello)),
        {"id": "222", "time": 1, "changes": [{"field": "feed", "value": {"item": "comment"}}]},
    )
    assert status == 200
    await gw.said("p1", 1)
    await gw.said("p2", 1)
    find = gw.gateway.queries.buyer_by_address
    end = time.monotonic() + 5
    while await find("messenger-two", "p1") is None and time.monotonic() < end:
        await asyncio.sleep(0.02)
    first, second = await find("messenger-main", "p1"), await find("messenger-two", "p1")
    assert first.id != second.id
    assert await find("messenger-main", "333") is None


async def test_the_echo_settles_a_lost_answer(gw):
    """The answer to the send is lost; the echo with our id says sent, delivery and read follow, nothing goes out twice."""
    gw.graph.script = ["drop"]
    await gw.say("p1", "你好")
    await until(gw, ["in_doubt"])
    ref = gw.graph.sent[0]["message"]["metadata"]
    echo = {
        "sender": {"id": "1234567890"}, "recipient": {"id": "p1"}, "timestamp": int(time.time() * 1000),
        "message": {"mid": "m_out", "is_echo": True, "app_id": 777, "metadata": ref, "text": "…"},
    }  # fmt: skip
    assert await post(gw, entry("1234567890", echo)) == 200
    await until(gw, ["sent"])
    await post(gw, entry("1234567890", item("1234567890", "p1", delivery={"mids": ["m_out"], "watermark": 1})))
    await until(gw, ["delivered"])
    seen = int(time.time() * 1000) + 5000
    await post(gw, entry("1234567890", item("1234567890", "p1", read={"watermark": seen})))
    await until(gw, ["read"])
    await asyncio.sleep(5.2)
    assert len(gw.graph.sent) == 1


async def test_a_number_handed_over_still_needs_its_code(valkey, redis_client, tmp_path):
    """The quick reply offers the buyer's own number; what comes back is edited easily, so a code goes to it."""
    async with texting(valkey, tmp_path) as sms:
        gw = sms.harness
        await gw.say("p1", "会员")
        await gw.said("p1", 1)
        offered = gw.graph.sent[0]["message"]["quick_replies"]
        assert {"content_type": "user_phone_number"} in offered
        await gw.say("p1", "+86 139 0000 5678", payload="+86 139 0000 5678")
        await sms.said(1)
        assert sms.twilio.forms[0]["To"] == "+8613900005678"
        assert (await buyer(gw, "messenger-main", "p1")).phones == []


async def test_links_and_get_started_open_the_chat(gw):
    """Get Started with a link's ref greets; an m.me link into a known chat opens the window again, at the gateway too."""
    started = {
        "postback": {"mid": "m_g", "title": "Get started", "payload": "GET_STARTED", "referral": {"ref": "card-A12"}}
    }
    assert await post(gw, entry("1234567890", item("1234567890", "p1", **started))) == 200
    await gw.said("p1", 1)
    before = (await buyer(gw, "messenger-main", "p1")).address("messenger-main", "p1").windows["message"].closes_at
    await asyncio.sleep(0.01)
    link = {"referral": {"ref": "cart_77", "source": "SHORTLINK", "type": "OPEN_THREAD"}}
    assert await post(gw, entry("1234567890", item("1234567890", "p1", **link))) == 200
    after = (await buyer(gw, "messenger-main", "p1")).address("messenger-main", "p1").windows["message"].closes_at
    assert after > before


async def test_while_another_app_owns_the_chat_the_bot_listens(gw):
    """A text in standby opens the window and is not answered; a stop word holds all the same."""
    text = item("1234567890", "p1", message={"mid": "m_s1", "text": "会员"})
    assert await post(gw, entry("1234567890", text, place="standby")) == 200
    found = (await buyer(gw, "messenger-main", "p1")).address("messenger-main", "p1")
    assert found.windows["message"].closes_at > time.time() * 1000 + 80_000_000
    stop = item("1234567890", "p1", message={"mid": "m_s2", "text": "退订"})
    assert await post(gw, entry("1234567890", stop, place="standby")) == 200
    found = (await buyer(gw, "messenger-main", "p1")).address("messenger-main", "p1")
    assert found.opted_out
    await gw.idle()
    assert len(gw.graph.texts("p1")) <= 1  # the confirmation of the stop, if anything


async def test_a_notice_waits_for_the_other_app(gw):
    """2018300: a clerk holds the chat in Meta's inbox; the order's notice is tried again instead of being lost."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    gw.graph.script = ["held"]
    now = time.time()
    order = {
        "id": "5001", "number": "#5001", "pay_state": "paid", "total": {"amount": "188.00", "currency": "CNY"},
        "items": [{"title": "亚麻衬衫", "qty": 1}], "placed_at": rfc(now), "paid_at": rfc(now),
    }  # fmt: skip
    data = {"order": order, "buyer": {"address": "messenger-main:p1", "phones": []}}
    status, _ = await gw.shop("order.paid", "e1", data)
    assert status < 300
    assert "已收到付款" in (await gw.said("p1", 2, timeout=8))[1]


async def test_a_blocked_page_sends_nothing_until_it_is_unblocked(gw):
    """policy_enforcement block: messages wait; unblock: they go."""
    block = {"recipient": {"id": "1234567890"}, "timestamp": int(time.time() * 1000)}
    assert (
        await post(gw, entry("1234567890", {**block, "policy_enforcement": {"action": "block", "reason": "x"}})) == 200
    )
    while not gw.gateway.lines["messenger-main"].wait_s():
        await asyncio.sleep(0.02)
    await gw.say("p1", "你好")
    await gw.waiting("messenger-main")
    await asyncio.sleep(1.0)  # and goes on waiting
    assert gw.graph.texts("p1") == []
    lift = {**block, "timestamp": block["timestamp"] + 1, "policy_enforcement": {"action": "unblock"}}
    assert await post(gw, entry("1234567890", lift)) == 200
    await gw.said("p1", 1, timeout=8)


async def test_a_page_rests_when_metas_allowance_is_nearly_used(valkey, redis_client, tmp_path):
    """At 95 % the next answer waits; at 85 % the line goes on at half its rate."""
    async with running(valkey, tmp_path) as harness:
        line = harness.gateway.lines["messenger-main"]
        harness.graph.headers = {"X-App-Usage": '{"call_count":85,"total_cputime":1,"total_time":2}'}
        await harness.say("7001", "帮助")
        await harness.said("7001", 1)
        await harness.idle()
        assert line.per_second == 1000
        assert line.wait_s() == 0
        harness.graph.headers = {"X-App-Usage": '{"call_count":95,"total_cputime":1,"total_time":2}'}
        await harness.say("7001", "帮助")
        await harness.said("7001", 2)
        await harness.idle()
        assert 50 < line.wait_s() <= 60
        await harness.say("7001", "帮助")
        await asyncio.sleep(0.5)
        assert len(harness.graph.texts("7001")) == 2


async def test_a_reaction_opens_the_window_and_is_not_answered(valkey, redis_client, tmp_path):
    """As Meta says; taking it back does not."""
    async with running(valkey, tmp_path) as harness:
        await harness.say("7001", "帮助")
        await harness.said("7001", 1)
        await harness.idle()
        await harness.advance(3 * 86_400)

        async def closes_at() -> int:
            await harness.idle()
            found = await harness.gateway.queries.buyer_by_address("messenger-main", "7001")
            return max(window.closes_at for window in found.addresses[0].windows.values())

        now = harness.gateway.clock.now()
        assert await closes_at() < now
        for action, opened in (("unreact", False), ("react", True)):
            body = {"reaction": {"reaction": "love", "emoji": "❤️", "action": action, "mid": "m_1"}}
            item = harness.item("7001", **body)
            item["timestamp"] = now
            await harness.post_messenger(item)
            assert (await closes_at() > now) is opened
        assert len(harness.graph.sent) == 1
