"""Intake's own rules: how much may wait, what a late store means, what cannot be read, and times behind a moved clock."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time

import pytest

from bot import keys, subjects
from bot.codec import dump_entry
from bot.errors import StoreError
from bot.events import Event, MessageReceived, OrderFacts, ShopEvent
from bot.intake import MOST_WAITING, Appender, shift
from bot.store import Store
from tests.e2e.test_doors import OTHERS
from tests.gateway import APP_SECRET, SHOP_KEY, running

SUBJECT = "address:chat:p1"
NOW = 1_790_000_000_000


def entry(number: int) -> tuple[str, bytes, bytes]:
    return dump_entry(Event(f"e{number}", SUBJECT, "chat", NOW, NOW, MessageReceived("hi")))


async def test_so_many_may_wait_and_no_more(redis_client):
    """Beyond that the answer is at once that nothing is taken in; those before it are stored, in their order."""
    store = Store(redis_client, 4, "one")
    appender = Appender(store)
    waiting = [appender.append([entry(n)]) for n in range(MOST_WAITING)]
    with pytest.raises(StoreError, match="too many"):
        await appender.append([entry(MOST_WAITING)])
    await asyncio.gather(*waiting, return_exceptions=True)
    inbox = keys.inbox(store.partition(SUBJECT))
    bodies = [fields[b"b"] for _, fields in await redis_client.xrange(inbox)]
    assert bodies == [entry(n)[2] for n in range(MOST_WAITING)]
    await appender.append([entry(0)])  # and there is room again


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, extra=OTHERS) as harness:
        yield harness


async def post(gw, path: str, body: bytes, **headers: str) -> int:
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with gw.session.post(gw.base + path, data=body, headers=headers) as answer:
        return answer.status


async def test_what_is_signed_and_cannot_be_read(gw):
    """A provider gets its 2xx and staff the body; a shop, and who signs nothing, hear that it is wrong: 400, and nothing is kept."""
    dead = keys.dead(gw.gateway.store.partition(subjects.account("messenger-main")))
    body = b'{"object": "page", '
    signed = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert await post(gw, "/channels/messenger-main/webhook", body, X_Hub_Signature_256=f"sha256={signed}") == 200
    [(_, letter)] = await gw.gateway.store.command("XRANGE", dead, "-", "+")
    assert (letter[b"a"], letter[b"b"]) == (b"messenger-main", body)

    stamp = str(int(time.time()))
    proof = hmac.new(base64.b64decode(SHOP_KEY), f"w1.{stamp}.".encode() + body, hashlib.sha256).digest()
    marks = {
        "webhook_id": "w1",
        "webhook_timestamp": stamp,
        "webhook_signature": "v1," + base64.b64encode(proof).decode(),
    }
    assert await post(gw, "/shops/main/webhook", body, **marks) == 400
    assert await post(gw, "/channels/sms-cn/status?key=0123456789abcdef0123456789abcdef", body) == 400
    letters = [await gw.gateway.store.command("XLEN", keys.dead(p)) for p in range(gw.gateway.store.partitions)]
    assert sum(letters) == 1


def test_every_time_of_an_event_moves_with_the_clock():
    """The event's own, and those of what it tells, however deep; what is no time, and a time that is not there, stay."""
    event = Event("e1", SUBJECT, "chat", NOW, NOW + 5, MessageReceived("at 9"))
    moved = shift(event, 1000)
    assert (moved.at, moved.received, moved.body, moved.id) == (NOW + 1000, NOW + 1005, event.body, "e1")
    facts = OrderFacts("5001", pay_state="paid", placed_at=NOW, paid_at=NOW + 1)
    told = shift(Event("e2", "order:main:5001", "main", NOW, NOW, ShopEvent("order.paid", "main", order=facts)), 1000)
    assert isinstance(told.body, ShopEvent)
    order = told.body.order
    assert order is not None
    assert (order.placed_at, order.paid_at, order.pay_expires_at) == (NOW + 1000, NOW + 1001, 0)
    assert (order.id, order.pay_state) == ("5001", "paid")
