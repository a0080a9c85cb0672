"""The cart ladder through a running gateway, by SMS: with consent only, within the week's cap, and none after the order."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.gateway import rfc, running
from tests.shops.events import PAID

BUYER = "+8613900001234"


@pytest.fixture
async def shop(valkey, redis_client, tmp_path):
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as harness:
        yield harness, twilio


def cart(answer: str) -> dict:
    now = rfc(time.time())
    return {
        "checkout": {
            "token": "t1",
            "items": [{"title": "亚麻衬衫"}],
            "total": {"amount": "188.00", "currency": "CNY"},
            "recover_url": "https://s.example/c/t1",
            "updated_at": now,
        },
        "buyer": {"phones": [BUYER], "consent": {"sms": answer, "updated_at": now}},
    }


async def texts(harness, twilio, count: int) -> list[str]:
    await harness.idle()
    end = time.monotonic() + 3
    while len(twilio.forms) < count and time.monotonic() < end:
        await asyncio.sleep(0.02)
    return [form["Body"] for form in twilio.forms]


async def test_notes_until_the_weeks_cap(shop):
    """After 45 minutes and a day one note each with the way out; the third is over the default cap of two a week."""
    harness, twilio = shop
    assert (await harness.shop("checkout.updated", "c1", cart("yes")))[0] == 200
    await harness.advance(40 * 60)
    assert await texts(harness, twilio, 0) == []
    for seconds, count in ((6 * 60, 1), (24 * 3600, 2), (48 * 3600, 2), (96 * 3600, 2)):
        await harness.advance(seconds)
        assert len(await texts(harness, twilio, count)) == count
    assert all("亚麻衬衫" in text and text.endswith("拒收请回复R") for text in await texts(harness, twilio, 2))
    decisions = await harness.gateway.queries.decisions(lambda one: one.key == "cart_3", after=0, limit=10)
    assert [one.reason for one in decisions] == ["cap_reached"]


async def test_three_notes_where_the_shop_allows_them(valkey, redis_client, tmp_path):
    """With three a week: 45 minutes, a day, three days after the last change, and then none."""
    twilio = TwilioPeer()
    async with (
        provider(twilio) as (base, _),
        running(valkey, tmp_path, extra=account(base), policy="marketing_per_week = 3") as harness,
    ):
        assert (await harness.shop("checkout.updated", "c1", cart("yes")))[0] == 200
        for seconds, count in ((46 * 60, 1), (24 * 3600, 2), (48 * 3600, 3), (200 * 3600, 3)):
            await harness.advance(seconds)
            assert len(await texts(harness, twilio, count)) == count
        assert "最后一次" in (await texts(harness, twilio, 3))[2]


@pytest.mark.parametrize("answer", ["no", "unknown"])
async def test_no_note_without_consent(shop, answer):
    """A buyer who has not agreed gets none."""
    harness, twilio = shop
    await harness.shop("checkout.updated", "c1", cart(answer))
    await harness.advance(46 * 60)
    assert await texts(harness, twilio, 0) == []


async def test_no_note_after_the_order(shop):
    """The order of that checkout ends the ladder."""
    harness, twilio = shop
    await harness.shop("checkout.updated", "c1", cart("yes"))
    order = {**PAID, "placed_at": rfc(time.time())}
    await harness.shop("order.created", "e1", {**cart("yes"), "order": order})
    await texts(harness, twilio, 1)
    await harness.advance(46 * 60)
    await harness.advance(24 * 3600)
    assert not [text for text in await texts(harness, twilio, 1) if "购物车" in text]
