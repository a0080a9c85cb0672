"""What happens in the gateway stands in the ledger: real turns, a real Valkey, a real database."""

from __future__ import annotations

import json
import time

import pytest
from sqlalchemy import select

from bot.codec import dump_entry
from bot.events import Event, StaffAsked
from ledger import tables as t
from tests.gateway import rfc, running


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, ledger=True) as harness:
        yield harness


async def rows(gw, table, **where):
    """A table's rows that have these values."""
    wanted = [table.c[name] == value for name, value in where.items()]
    async with gw.gateway.history.connection() as connection:
        found = await connection.execute(select(table).where(*wanted))
        return [dict(row) for row in found.mappings()]


async def settled(gw):
    await gw.idle()
    await gw.projected()


async def join(gw, psid):
    await gw.say(psid, "会员")
    await gw.said(psid, 1)
    await gw.idle()


async def test_a_chat_stands_in_the_ledger(gw):
    await gw.say("7001000000000001", "优惠券")
    await gw.said("7001000000000001", 1)
    await settled(gw)

    (buyer,) = await rows(gw, t.buyers)
    (address,) = await rows(gw, t.addresses)
    assert address["buyer"] == buyer["id"]
    assert (address["account"], address["address"]) == ("messenger-main", "7001000000000001")
    messages = await rows(gw, t.messages)
    assert {m["state"] for m in messages} == {"sent"}
    assert messages[0]["buyer"] == buyer["id"]
    assert messages[0]["text"] == gw.graph.texts("7001000000000001")[0]
    history = await rows(gw, t.history, message=messages[0]["id"])
    assert [h["state"] for h in history] == ["queued", "sent"]
    lines = await rows(gw, t.timeline, buyer=buyer["id"])
    assert [line["kind"] for line in sorted(lines, key=lambda x: (x["ms"], x["seq"], x["line"]))][:1] == [
        "message.received"
    ]
    assert await rows(gw, t.decisions, outcome="send", buyer=buyer["id"])


async def test_a_stop_leaves_its_evidence(gw):
    await gw.say("7001000000000001", "退订")
    await gw.say("7001000000000001", "恢复")
    await settled(gw)

    found = await rows(gw, t.consents)
    assert [(c["topic"], c["verdict"]) for c in sorted(found, key=lambda c: (c["ms"], c["seq"], c["line"]))] == [
        ("marketing", "refused"),
        ("coupons", "refused"),
        ("marketing", "granted"),
    ]
    assert all(c["address"] == "7001000000000001" for c in found)
    assert found[-1]["wording"]


async def test_an_order_its_goods_and_whose_it_is(gw):
    placed = time.time() - 60
    data = {
        "order": {
            "id": "o1", "number": "1001", "total": {"amount": "300.00", "currency": "CNY"}, "placed_at": rfc(placed),
            "paid_at": rfc(placed), "items": [{"title": "亚麻衬衫", "qty": 2, "sku": "S-1", "price": {"amount": "150.00", "currency": "CNY"}}],
        },
        "buyer": {"ref": "c1", "name": "小满", "phones": ["+8613800138000"]},
    }  # fmt: skip
    status, text = await gw.shop("order.paid", "e1", data)
    assert status == 200, text
    await settled(gw)

    (order,) = await rows(gw, t.orders)
    assert (order["subject"], order["pay"], str(order["total"])) == ("order:main:o1", "paid", "300")
    (item,) = await rows(gw, t.items)
    assert (item["sku"], item["qty"], str(item["price"])) == ("S-1", 2, "150")
    (owner,) = await rows(gw, t.owners)
    (buyer,) = [b for b in await rows(gw, t.buyers) if not b["merged_into"]]
    assert (owner["subject"], owner["buyer"]) == ("order:main:o1", buyer["id"])
    assert buyer["orders_count"] == 1
    assert await rows(gw, t.phones) == [{"phone": "+8613800138000", "buyer": buyer["id"]}]


async def test_each_answer_about_consent_leaves_its_own_evidence(gw):
    """By staff, by a stop word, by the shop; what was not asked leaves none, though the record's time of answer is shared."""
    now = gw.gateway.clock.now()
    home = "address:messenger-main:7001000000000001"
    await gw.say("7001000000000001", "你好")
    await gw.said("7001000000000001", 1)
    answers = [("marketing", "granted", "form"), ("calls", "granted", "by phone"), ("marketing", "granted", "again")]
    for number, (topic, verdict, evidence) in enumerate(answers):
        data = {
            "account": "messenger-main",
            "id": "7001000000000001",
            "topic": topic,
            "verdict": verdict,
            "evidence": evidence,
        }
        event = Event(f"c{number}", home, "", now, now, StaffAsked("consent", "clerk", json.dumps(data).encode()))
        await gw.gateway.appender.append([dump_entry(event)])
        await gw.idle()
    await settled(gw)

    found = sorted(await rows(gw, t.consents), key=lambda c: (c["ms"], c["seq"], c["line"]))
    assert [(c["topic"], c["verdict"], c["wording"], c["source"]) for c in found] == [
        (topic, verdict, evidence, "clerk") for topic, verdict, evidence in answers
    ]
    assert len({c["buyer"] for c in found}) == 1
