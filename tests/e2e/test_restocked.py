"""Sold out, "tell me", and the one message when it is back, through a running gateway."""

from __future__ import annotations

import itertools
import json
import time
from zoneinfo import ZoneInfo

import pytest

from bot import hours, keys, process
from bot.access import create_token
from bot.codec import dump_entry
from bot.events import Event, StaffAsked
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.console.test_api import Api
from tests.e2e.test_chat import ask, buyer, join
from tests.e2e.test_club import phone_buyer, rows, texts
from tests.e2e.texting import Sms
from tests.gateway import running

NEVER_S = 36_000.0
COAT = {"id": "31", "title": "羊毛双面大衣 秋冬新款", "short_title": "双面大衣", "url": "https://shop.example/p/31", "variants": [
    {"sku": "WC-S", "options": {"size": "S"}, "price": {"amount": "899.00", "currency": "CNY"}, "stock": 0},
    {"sku": "WC-M", "options": {"size": "M"}, "price": {"amount": "799.00", "currency": "CNY"}, "stock": 3}]}  # fmt: skip
_count = itertools.count()


async def stock(chat, sku: str, pieces: int) -> None:
    """The shop tells a stock, each newer than the one before."""
    n = next(_count)
    told = {"product": {"id": "31", "variants": [{"sku": sku, "stock": pieces}]}}
    assert (await chat.harness.shop("stock.changed", f"stock{n}", told, at=time.time() - 500 + n))[0] == 200
    await chat.harness.idle()


async def announce(chat) -> int:
    """What the slow loop does every half minute."""
    told = await chat.harness.gateway.restocks.tell(chat.harness.gateway.clock.now())
    await chat.harness.idle()
    return told


@pytest.fixture
async def chat(valkey, redis_client, tmp_path, monkeypatch):
    """A coat of which S is sold out; the slow loop is run by hand."""
    monkeypatch.setattr(process, "COUPONS_S", NEVER_S)
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as harness:
        await harness.shop("product.upserted", "coat", {"product": COAT}, at=time.time() - 1000)
        await harness.idle()
        yield Sms(harness, twilio, None)


async def marks(chat) -> int:
    store = chat.harness.gateway.store
    return sum(await store.together([("HLEN", keys.restocked(p)) for p in range(store.partitions)]))


async def test_who_waits_is_told_once(chat):
    """Back: one message, with size, price and link; more stock, and the next time it comes back: none."""
    assert "1 要" in (await ask(chat, "p1", "双面大衣S码有吗"))[0]
    await ask(chat, "p1", "1")
    said = len(chat.harness.graph.texts("p1"))
    await stock(chat, "WC-M", 9)
    assert await announce(chat) == 0
    await stock(chat, "WC-S", 2)
    assert await announce(chat) == 1
    told = (await chat.harness.said("p1", said + 1))[said:]
    assert told == ["您等的双面大衣到货了：S，899元。https://shop.example/p/31"]
    found = await buyer(chat, "p1")
    assert found.awaits == []
    assert found.addresses[0].consent.marketing == "unknown"
    assert await marks(chat) == 0
    for pieces in (5, 0, 4):
        await stock(chat, "WC-S", pieces)
        assert await announce(chat) == 0
    assert len(chat.harness.graph.texts("p1")) == said + 1


async def test_an_event_that_comes_twice_tells_once(chat):
    """As after a crash between the events and the end of the mark: the record knows that it waits no longer."""
    await ask(chat, "p1", "双面大衣S码有吗")
    await ask(chat, "p1", "1")
    said = len(chat.harness.graph.texts("p1"))
    await stock(chat, "WC-S", 2)
    store, now = chat.harness.gateway.store, chat.harness.gateway.clock.now()
    asked = json.dumps({"product": "product:main:31", "skus": ["WC-S"]}).encode()
    home = (await buyer(chat, "p1")).home
    twice = [Event(f"back{n}", home, "", now, now, StaffAsked("stock_back", "engine", asked)) for n in range(2)]
    await store.append([dump_entry(event) for event in twice], lane="b")
    await chat.harness.said("p1", said + 1)
    await announce(chat)
    assert len(chat.harness.graph.texts("p1")) == said + 1


async def test_sold_out_again_the_wish_stays(chat):
    """Gone before the buyer's turn: nothing is promised; the next restock is told."""
    await ask(chat, "p1", "双面大衣S码有吗")
    await ask(chat, "p1", "1")
    said = len(chat.harness.graph.texts("p1"))
    await stock(chat, "WC-S", 1)
    await stock(chat, "WC-S", 0)
    assert await announce(chat) == 1
    assert len((await buyer(chat, "p1")).awaits) == 1
    assert len(chat.harness.graph.texts("p1")) == said
    await stock(chat, "WC-S", 1)
    assert await announce(chat) == 1
    assert len(await chat.harness.said("p1", said + 1)) == said + 1


async def test_back_between_the_question_and_the_yes(chat):
    """The wish is noted when it is there already: told at once."""
    await ask(chat, "p1", "双面大衣S码有吗")
    await stock(chat, "WC-S", 1)
    await announce(chat)
    await ask(chat, "p1", "1")
    said = len(chat.harness.graph.texts("p1"))
    assert await announce(chat) == 1
    assert "到货了" in (await chat.harness.said("p1", said + 1))[-1]


async def test_a_wish_follows_a_merge(chat):
    """Asked in a chat that becomes one with the buyer of a number: told once, in that chat."""
    await texts(chat, "你好")
    await ask(chat, "p1", "双面大衣S码有吗")
    await ask(chat, "p1", "1")
    asked = (await buyer(chat, "p1")).id
    await join(chat, "p1")
    found = await buyer(chat, "p1")
    assert len(found.addresses) == 2
    assert asked in (found.id, *found.merged)
    assert len(found.awaits) == 1
    forms = len(chat.twilio.forms)
    await stock(chat, "WC-S", 2)
    await announce(chat)
    await chat.harness.idle()
    assert [text for text in chat.harness.graph.texts("p1") if "到货了" in text] != []
    await announce(chat)
    assert len([text for text in chat.harness.graph.texts("p1") if "到货了" in text]) == 1
    assert len(chat.twilio.forms) == forms
    assert (await buyer(chat, "p1")).awaits == []


async def test_a_whole_product_by_put(chat):
    """Asked without a size; a PUT brings it back, with the sizes that are there; by text with the way out."""
    await stock(chat, "WC-M", 0)
    assert "暂时没货" in (await texts(chat, "双面大衣有货吗"))[0]
    await texts(chat, "1")
    before = len(chat.twilio.forms)
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    body = {name: COAT[name] for name in ("title", "short_title", "url", "variants")}
    assert (await api("PUT", "/products/31", body))[0] == 200
    await chat.harness.idle()
    assert await announce(chat) == 1
    told = (await chat.said(before + 1))[-1]
    assert told == "【小满衣橱】您等的双面大衣到货了：M，799元，https://shop.example/p/31 拒收请回复R"


async def test_the_slow_loop_does_it(valkey, redis_client, tmp_path, monkeypatch):
    """Nobody runs it by hand."""
    monkeypatch.setattr(process, "COUPONS_S", 0.05)
    async with running(valkey, tmp_path) as harness:
        chat = Sms(harness, None, None)
        await harness.shop("product.upserted", "coat", {"product": COAT}, at=time.time() - 1000)
        await harness.idle()
        await ask(chat, "p1", "双面大衣S码有吗")
        await ask(chat, "p1", "1")
        said = len(harness.graph.texts("p1"))
        await stock(chat, "WC-S", 2)
        assert "到货了" in (await harness.said("p1", said + 1))[-1]


async def test_an_opt_out_before_the_hour_is_the_reason(valkey, redis_client, tmp_path, monkeypatch):
    """Outside marketing hours it waits; who stops meanwhile is not told, and staff see why."""
    monkeypatch.setattr(process, "COUPONS_S", NEVER_S)
    minute = hours.minute_of(int(time.time() * 1000), ZoneInfo("Asia/Shanghai"))
    span = str(hours.Hours((minute + 60) % 1440, (minute + 120) % 1440))
    twilio = TwilioPeer()
    async with (
        provider(twilio) as (base, _),
        running(valkey, tmp_path, extra=account(base), marketing_hours=span) as harness,
    ):
        chat = Sms(harness, twilio, None)
        await harness.shop("product.upserted", "coat", {"product": COAT}, at=time.time() - 1000)
        await harness.idle()
        await texts(chat, "双面大衣S码有吗")
        await texts(chat, "1")
        await stock(chat, "WC-S", 2)
        await announce(chat)
        assert len((await phone_buyer(chat)).awaits) == 1
        assert [row[b"s"] for row in await rows(chat) if row[b"pu"] == b"marketing"] == [b"queued"]
        await texts(chat, "R")
        before = len(twilio.forms)
        await harness.advance(3700)
        await harness.idle()
        ended = [(row[b"s"], row[b"r"]) for row in await rows(chat) if row[b"pu"] == b"marketing"]
        assert ended == [(b"skipped", b"opted_out")]
        assert len(twilio.forms) == before
