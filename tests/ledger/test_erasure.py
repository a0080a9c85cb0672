"""Erasure and the ledger: it waits for the projection, reaches old orders, and a shop may ask for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import select

from bot import ids, keys, subjects
from bot.access import create_token
from bot.clock import SystemClock
from bot.erasure import Erasure
from bot.queries import ERASED
from bot.records import Buyer
from bot.store import Store
from ledger import tables as t
from ledger.projector import Projector
from tests.gateway import rfc, running

PSID, PHONE = "7711000099887766", "+8613911119988"


async def until(look, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def erase(gw, buyer: str) -> None:
    token = await create_token(gw.gateway.store, "eraser", "owner")
    headers = {"Authorization": f"Bearer {token}"}
    async with gw.session.delete(f"{gw.base}/api/v1/buyers/{buyer}", headers=headers) as answer:
        assert answer.status == 202


async def erased(gw) -> bool:
    return not await gw.gateway.store.command("EXISTS", "erasing")


async def journal_names(gw, word: str) -> bool:
    store = gw.gateway.store
    streams = [await store.command("XRANGE", f"journal:{{p{p:02d}}}", "-", "+") for p in range(64)]
    return any(word.encode() in fields[b"b"] for stream in streams for _, fields in stream)


async def names_of(gw, word: str) -> list[str]:
    """Keys whose names hold a word."""
    return [name.decode() async for names in gw.gateway.store.scan("*") for name in names if word.encode() in name]


async def two_days_pass(store) -> None:
    """Settled messages are forgotten, as they are 48 hours after they were planned."""
    for p in range(64):
        for id in await store.command("ZRANGE", keys.messages(p), 0, -1):
            await store.command("UNLINK", keys.message(p, id.decode()))
            await store.command("ZREM", keys.messages(p), id)


async def order(gw, id: str, buyer: dict) -> None:
    facts = {
        "id": id, "number": f"#{id}", "pay_state": "paid", "total": {"amount": "88.00", "currency": "CNY"},
        "placed_at": rfc(time.time()), "paid_at": rfc(time.time()), "items": [{"title": "衬衫", "qty": 1}],
    }  # fmt: skip
    status, text = await gw.shop("order.paid", f"paid-{id}", {"order": facts, "buyer": buyer})
    assert status < 300, text


@pytest.mark.timeout(120)
async def test_it_waits_for_the_projection(valkey, redis_client, tmp_path) -> None:
    """While nothing is projected the journals stay, so that no count loses what they tell; then they go, and nobody is left."""
    async with running(valkey, tmp_path) as gw:
        await order(gw, "1", {"address": f"messenger-main:{PSID}", "name": "阮清和"})
        await gw.say(PSID, "你好，我是阮清和")
        await gw.said(PSID, 1)
        await gw.idle()
        buyer = await gw.gateway.queries.buyer_by_address("messenger-main", PSID)
        await two_days_pass(gw.gateway.store)
        assert [name for name in await names_of(gw, PSID) if name.startswith("unread:")]
        await erase(gw, buyer.id)
        await asyncio.sleep(4)  # some passes
        assert not await erased(gw)
        assert await journal_names(gw, PSID)
        await gw.gateway.store.command("DEL", keys.ERASING)  # another server of a cluster failed over, and forgot

        async def taken_up() -> bool:
            return not await erased(gw)

        await until(taken_up)
        projector = Projector(gw.gateway.store, gw.gateway.history.engine.url, "late", currency="CNY")
        task = asyncio.create_task(projector.run())
        await until(lambda: erased(gw))
        assert not await journal_names(gw, PSID)
        async with gw.gateway.history.connection() as connection:
            bodies = await connection.scalars(select(t.journal.c.body))
            assert not any(PSID.encode() in body or "阮清和".encode() in body for body in bodies)
            [found] = await connection.execute(select(t.orders.c.total, t.orders.c.buyer))
            assert (str(found.total), found.buyer) == ("88", "")
            states = list(await connection.scalars(select(t.messages.c.state)))
            assert states
            assert set(states) == {"sent"}
        assert await gw.gateway.store.command("EXISTS", *(keys.erasures(p) for p in range(64))) == 0
        assert await names_of(gw, PSID) == []
        projector.stop()
        await task


@pytest.mark.timeout(120)
async def test_it_reaches_orders_that_the_record_forgot(valkey, redis_client, tmp_path) -> None:
    """A record remembers twenty orders; the ledger names the others, and none keeps its buyer."""
    async with running(valkey, tmp_path, ledger=True) as gw:
        named = {"ref": "c5", "name": "阮清和"}  # too short to be searched for
        for number in range(24):
            await order(gw, f"o{number}", named)
        await gw.idle(timeout=20)
        found = await gw.gateway.queries.buyer_at("shopper:main:c5")
        assert len(found.orders) == 20
        await gw.projected()
        await erase(gw, found.id)
        await until(lambda: erased(gw))
        records = await gw.gateway.store.records(subjects.order("main", f"o{n}") for n in range(24))
        assert len(records) == 24
        assert all(record.buyer is None for record in records.values())


@pytest.mark.timeout(120)
async def test_a_shop_names_somebody_it_told_of_by_another_way(valkey, redis_client, tmp_path) -> None:
    """Its own reference was never heard of: who is meant is found by the chat address, the number or the e-mail beside it."""
    async with running(valkey, tmp_path, ledger=True) as gw:
        for number, extra in enumerate(({"address": "messenger-main:{}"}, {"phones": [PHONE], "phone": PHONE})):
            psid = f"771200000000{number}"
            facts = {
                "ref": f"never-heard-{number}",
                **{k: v.format(psid) if isinstance(v, str) else v for k, v in extra.items()},
            }
            if "address" in facts:
                await gw.say(psid, "你好")
                await gw.said(psid, 1)
                subject = subjects.address("messenger-main", psid)
            else:
                await order(gw, "9", {"phones": [PHONE], "phone": PHONE})
                subject = subjects.phone(PHONE)
            await gw.idle()
            buyer = await gw.gateway.queries.buyer_at(subject)
            assert (await gw.shop("privacy.redact_customer", f"redact-{number}", {"buyer": facts}))[0] < 300

            async def gone(id=buyer.id) -> bool:
                found = await gw.gateway.queries.buyer(id)
                return found is not None and found.erased and await erased(gw)

            await until(gone)
        # Nobody at all is nobody, not a new buyer.
        assert (await gw.shop("privacy.redact_customer", "redact-x", {"buyer": {"ref": "x", "email": "x@x.test"}}))[
            0
        ] < 300
        await gw.idle()
        assert await gw.gateway.queries.buyer_at("shopper:main:x") is None
        assert await gw.gateway.queries.buyer_at("email:x@x.test") is None


@pytest.mark.timeout(120)
async def test_at_no_moment_is_the_id_unknown(valkey, redis_client, tmp_path, monkeypatch) -> None:
    """Who asks while the records go, or looked for one just before, hears that the buyer is erased; never that there is none."""
    async with running(valkey, tmp_path) as gw:
        await gw.say(PSID, "你好")
        await gw.said(PSID, 1)
        await gw.idle()
        queries, store = gw.gateway.queries, gw.gateway.store
        buyer = await queries.buyer_by_address("messenger-main", PSID)
        drop, seen = Erasure._drop, []

        async def watched(self, name: str, body: bytes) -> None:
            seen.append(await queries.buyer(buyer.id))
            await drop(self, name, body)
            seen.append(await queries.buyer(buyer.id))

        async def just_gone(_: str) -> None:
            await store.command(
                "HSET", keys.index(ids.partition_in(buyer.id)), f"b:{buyer.id}", ERASED + buyer.id.encode()
            )

        monkeypatch.setattr(Erasure, "_drop", watched)
        with monkeypatch.context() as patched:
            patched.setattr(store, "resolve", just_gone)
            assert (await queries.buyer(buyer.id)).erased
        await store.command("HSET", keys.index(ids.partition_in(buyer.id)), f"b:{buyer.id}", buyer.home)
        await erase(gw, buyer.id)
        await until(lambda: asyncio.sleep(0, seen))
        assert all(found is not None and found.erased for found in seen), seen


class Nowhere:
    """A ledger with nothing in it."""

    async def covers(self, _: object) -> bool:
        return True

    async def orders(self, _: object) -> list:
        return []

    async def forget(self, _: object) -> None:
        return

    compact = None


async def test_nobody_waits_for_an_eraser_that_is_gone(redis_client) -> None:
    """Its lock is another's at once where its lease is over; not while it lives."""
    store, clock = Store(redis_client, 64, "second"), SystemClock()
    eraser = Erasure(store, clock, Nowhere())
    await eraser.begin(Buyer(id="b_1", home="address:a:1", created_at=0))
    first = Store(redis_client, 64, "first")
    await first.beat(60_000)
    for held, takes in (("first aaaa", False), ("gone bbbb", True), ("first cccc", False)):
        await store.command("SET", keys.ERASING_LOCK, held, "PX", 60_000)
        before = await store.command("HGET", keys.ERASING, "b_1")
        await eraser.advance()
        assert (await store.command("HGET", keys.ERASING, "b_1") != before) is takes
        assert await store.command("GET", keys.ERASING_LOCK) == (None if takes else held.encode())
    await first.beat(1)
    await asyncio.sleep(0.01)
    clock.real = lambda: 2**50  # whoever is being erased is looked at again
    await eraser.advance()
    assert await store.command("GET", keys.ERASING_LOCK) is None
