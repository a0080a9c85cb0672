"""A shop's day through a running gateway, as its journals tell it: chats, orders, coupons, a stop word, tasks and two merges."""

from __future__ import annotations

import asyncio
import json
import time

import msgspec
from sqlalchemy import select

from bot import keys
from bot.codec import dump_entry
from bot.coupons import Campaign
from bot.events import Event, StaffAsked
from bot.journal import UnplannedEntry, dump
from bot.records import Task
from ledger import batch, tables
from ledger.database import database_url, open_engine
from ledger.feed import Feed
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.gateway import rfc, running
from tests.shops.events import PAID

PHONE, OTHER = "+8613900001234", "+8613900005678"
DERIVED = [table for table in tables.metadata.sorted_tables if table not in tables.KEPT]
Journals = dict[int, list[tuple[int, int, str, bytes]]]


def order(id: str, **buyer) -> dict:
    return {"order": {**PAID, "id": id, "placed_at": rfc(time.time()), "paid_at": rfc(time.time())}, "buyer": buyer}


async def live(gw) -> None:
    """What happens that day."""
    await gw.gateway.campaigns.create(
        Campaign("MAY", "五月券", "amount_off", 50, "20.00", "CNY", "99.00", valid_days=30, created_at=1)
    )
    await gw.gateway.campaigns.refresh()
    await gw.shop("order.paid", "e1", order("5001", phones=[PHONE]))
    await gw.shop("order.paid", "e2", order("5002", phones=[OTHER]))
    await gw.idle()
    for psid in ("p1", "p2"):
        await gw.say(psid, "你好")
        await gw.said(psid, 1)
        await gw.say(psid, "领 MAY")
        await gw.said(psid, 2)
    await gw.say("p2", "退订")
    await gw.say("p1", "人工")
    await gw.say("p2", "恢复")
    await gw.idle()
    await gw.shop("order.paid", "e3", order("5003", address="messenger-main:p1", phones=[PHONE]))
    await gw.idle()
    await redeem(gw, "p1")
    await gw.shop("order.paid", "e4", order("5004", address="messenger-main:p2", phones=[OTHER]))
    await gw.idle()
    now = gw.gateway.clock.now()
    asked = StaffAsked("merge", "owner", json.dumps({"into": f"phone:{PHONE}"}).encode())
    await gw.gateway.appender.append([dump_entry(Event("m1", f"phone:{OTHER}", "", now, now, asked))])
    await asyncio.sleep(0.4)
    await gw.idle()
    await complete_tasks(gw)
    await gw.shop("order.paid", "e5", order("5002", phones=[OTHER]))
    await gw.say("p2", "会员")
    await gw.idle()


async def redeem(gw, psid: str) -> None:
    buyer = await gw.gateway.queries.buyer_by_address("messenger-main", psid)
    data = json.dumps({"code": buyer.coupons[0].code, "order": "5003"}).encode()
    now = gw.gateway.clock.now()
    event = Event("r1", buyer.home, "", now, now, StaffAsked("redeem", "till", data))
    await gw.gateway.appender.append([dump_entry(event)])
    await gw.idle()


async def complete_tasks(gw) -> None:
    store = gw.gateway.store
    stored = await store.together([("HVALS", keys.tasks(p)) for p in range(store.partitions)])
    for task in [msgspec.msgpack.decode(body, type=Task) for bodies in stored for body in bodies]:
        data = json.dumps({"id": task.id, "outcome": "answered", "note": "well"}).encode()
        now = gw.gateway.clock.now()
        event = Event(f"c{task.id}", task.home, "", now, now, StaffAsked("complete_task", "clerk", data))
        await gw.gateway.appender.append([dump_entry(event)])
    await gw.idle()


async def cancelled(gw) -> None:
    """A broadcast that staff cancelled before it came to them: an entry of its own kind tells of the rest."""
    found = [await gw.gateway.queries.buyer_by_address("messenger-main", psid) for psid in ("p1", "p2")]
    store, buyers = gw.gateway.store, {one.id for one in found}
    for id in sorted(buyers):
        told = dump(UnplannedEntry(gw.gateway.clock.now(), "bc_1", "marketing", [id, f"{id}x"]))
        await store.command("XADD", keys.journal(store.partition(found[0].home)), "*", "k", "unplanned", "b", told)


async def recorded(valkey, tmp_path) -> Journals:
    """The journals of that day."""
    twilio = TwilioPeer()
    async with provider(twilio) as (base, _), running(valkey, tmp_path, extra=account(base)) as gw:
        await live(gw)
        await cancelled(gw)
        feed = Feed(gw.gateway.store, "reader")
        _, pages = await feed.pages(dict.fromkeys(range(gw.gateway.store.partitions), ""), 10_000)
        await gw.gateway.store.client.delete(*map(keys.journal, pages))
    return {partition: list(page) for partition, page in pages.items()}


class Book:
    """A ledger of its own that a test projects journals into."""

    def __init__(self, folder, name: str = "book.db") -> None:
        self.engine = open_engine(database_url(f"sqlite:{name}", folder), writer=True)
        self.positions: dict[int, str] = {}
        self.unreadable = 0

    async def open(self, partitions: int = 64) -> Book:
        async with self.engine.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        self.positions, self.tops = await batch.prepare(self.engine, partitions)
        return self

    async def project(self, pages: Journals) -> None:
        done = await batch.project(
            self.engine, pages, epoch="", positions=self.positions, tops=self.tops, currency="CNY"
        )
        self.positions |= done.positions
        self.unreadable += done.unreadable

    async def dump(self) -> dict[str, list[tuple]]:
        """Every derived table, in the order of its key; scores follow from the whole shop and the day (`ledger.scores`).

        Of `ways` those that a buyer goes: the others stand there until somebody has time to let them go.
        """
        found = {}
        async with self.engine.connect() as connection:
            for table in (*DERIVED, tables.journal):
                columns = [c for c in table.columns if c.name not in ("r", "f", "m")]
                rows = await connection.execute(select(*columns).order_by(*table.primary_key.columns))
                found[table.name] = [tuple(row) for row in rows]
            gone = set(await connection.scalars(select(tables.buyers.c.way)))
        found["ways"] = [row for row in found["ways"] if row[0] in gone]
        return found

    async def close(self) -> None:
        await self.engine.dispose()
