"""Two buyers become one while messages are on their way, through a running gateway."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from bot import subjects
from bot.codec import dump_entry, load_event, load_record
from bot.events import Absorbed, Event, StaffAsked
from bot.journal import load_turn
from bot.records import Buyer, Link
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.gateway import rfc, running
from tests.shops.events import PAID

PHONE = "+8613900001234"
CHAT, HOME = "address:messenger-main:p1", f"phone:{PHONE}"
NOTES = 40


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as harness:
        yield harness


def order(id: str, **buyer) -> dict:
    return {"order": {**PAID, "id": id, "placed_at": rfc(time.time()), "paid_at": rfc(time.time())}, "buyer": buyer}


async def two_buyers(gw) -> None:
    """An older one, known by a number from an order; a younger one who chats on Messenger."""
    await gw.shop("order.paid", "e1", order("5001", phones=[PHONE]))
    await gw.idle()
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
    await gw.idle()


async def note(gw, n: int) -> None:
    """Staff write to the buyer of the chat."""
    now = gw.gateway.clock.now()
    data = json.dumps(
        {"id": "", "purpose": "service", "text": f"note {n:02d}", "accounts": ["messenger-main"]}
    ).encode()
    event = Event(f"note{n}", CHAT, "", now, now, StaffAsked("message", "clerk", data))
    await gw.gateway.appender.append([dump_entry(event)])


async def test_nothing_is_lost_doubled_or_reordered(gw):
    """40 notes to one chat, the merge in the middle of them, a slow provider: each once, in order, one at a time."""
    await two_buyers(gw)
    gw.graph.delay = 0.03
    for n in range(NOTES):
        await note(gw, n)
        if n == NOTES // 4:
            await gw.shop("order.paid", "e2", order("5002", address="messenger-main:p1", phones=[PHONE]))
        if n % 4 == 0:
            await asyncio.sleep(0.05)
    end = time.monotonic() + 15
    while len(gw.graph.sent) < NOTES + 2 and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await gw.idle()
    found = [text for text in gw.graph.texts("p1") if text.startswith("note")]
    assert found == [f"note {n:02d}" for n in range(NOTES)]
    assert gw.graph.most_at_once == 1
    records = await gw.gateway.store.records({CHAT, HOME})
    assert isinstance(records[CHAT], Link)
    assert isinstance(records[HOME], Buyer)


async def test_a_merge_can_be_undone(gw):
    """The journal keeps both records as they were: the survivor's before it, the loser's snapshot."""
    await two_buyers(gw)
    before = await gw.gateway.store.records({CHAT, HOME})
    await gw.shop("order.paid", "e2", order("5002", address="messenger-main:p1", phones=[PHONE]))
    await gw.idle()
    partition = subjects.partition_of(HOME, gw.gateway.store.partitions)
    rows = await gw.gateway.store.client.xrange(f"journal:{{p{partition:02d}}}")
    turns = [load_turn(fields[b"b"]) for _, fields in rows if fields[b"k"] == b"turn"]
    (turn,) = [one for one in turns if isinstance(load_event(one.event).body, Absorbed)]
    survivor, loser = load_record(turn.before), load_record(load_event(turn.event).body.snapshot)
    after = load_record(turn.record)
    assert (survivor.id, survivor.merged, len(survivor.addresses)) == (before[HOME].id, [], 1)
    assert (loser.id, loser.home) == (before[CHAT].id, CHAT)
    assert {order.id for order in loser.orders} == {"5002"}
    assert loser.merging is None
    assert (after.id, after.merged) == (survivor.id, [loser.id])
    assert len(after.addresses) == 2
