"""`python -m bench.ledger [ROWS]`: how fast journals become the ledger's tables, and in how much memory.

A shop of its own: chats (a turn, its send, its delivery), orders, wallets, at 20,000 buyers in 64 partitions, from a real
Valkey into SQLite, or into `--url postgresql://…`. Says entries and rows a second, CPU, the size on disk and the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import uvloop
from sqlalchemy import func, select

from bot import ids, keys, subjects
from bot.codec import dump_event, dump_message, dump_record
from bot.events import Event, Item, MessageReceived, Money, OrderBrief, TouchAsked
from bot.journal import ConsentRecord, DecisionRecord, NoteRecord, RuleVerdict, SendEntry, TurnEntry, dump
from bot.messages import OutboundMessage, Text
from bot.records import Address, Buyer, Consent, Coupon, Lane, Member, Order, Window
from bot.redis_client import connect
from bot.store import Store
from ledger import tables
from ledger.database import database_url
from ledger.projector import Projector

PARTITIONS, BUYERS, AT_ONCE = 64, 20_000, 2_000
RULES = [RuleVerdict(rule, "allow") for rule in ("address", "opted_out", "window", "hours", "caps", "staff", "quota")]


def entries(count: int, now: int) -> Iterator[tuple[int, str, bytes]]:
    """So many entries: partition, kind, body. Of ten, eight are of chats and two of an order and its buyer."""
    for n in range(count // 5):
        number = n % BUYERS
        subject = subjects.address("messenger-main", f"7{number:015d}")
        partition = subjects.partition_of(subject, PARTITIONS)
        at = now + n
        buyer = _buyer(subject, partition, number, at)
        id = ids.derived("m", partition, f"{n}")
        message = OutboundMessage(
            id, buyer.id, subject, "messenger-main", f"7{number:015d}", "reply", Text("小满您好，会员卡号是 8012 3456 7890，出示它就能积分。"),
            at, key="card.show", source="handler:member_card", locale="zh-CN", not_after=at + 60_000,
        )  # fmt: skip
        event = Event(f"m_{n}", subject, "messenger-main", at, at, MessageReceived("会员"))
        decision = DecisionRecord(
            id, buyer.id, "reply", "send", at, "handler:member_card", "card.show", "messenger-main", rules=RULES
        )
        notes = [NoteRecord("consent", "marketing granted")] if n % 20 == 0 else []
        consents = [ConsentRecord("messenger-main", f"7{number:015d}", "marketing", "granted", at, "ask@zh-CN", "chat")]
        yield partition, "turn", dump(
            TurnEntry(
                at, subject, dump_event(event), "member_card", dump_record(buyer), buyer=buyer.id, decisions=[decision],
                messages=[dump_message(message)], notes=notes, consents=consents if notes else [], release="0.1.0",
            )
        )  # fmt: skip
        yield (
            partition,
            "send",
            dump(SendEntry(id, "sent", at + 90, 1, "messenger-main", buyer.id, "reply", provider_id=f"m_{n}")),
        )
        for state in ("delivered", "read"):
            yield partition, "status", msgspec.msgpack.encode([id, state, str(at + 900), "", ""])
        if n % 2:
            yield from _ordered(n, partition, buyer, at)
        else:
            yield (
                partition,
                "turn",
                dump(TurnEntry(at, subject, dump_event(event), "", dump_record(buyer), buyer=buyer.id)),
            )


def _buyer(subject: str, partition: int, number: int, at: int) -> Buyer:
    address = Address(
        "messenger-main", f"7{number:015d}", consent=Consent(marketing="granted", at=at, wording="ask@zh-CN", source="chat"),
        windows={"message": Window(at + 86_400_000)}, last_in=at, locale="zh-CN",
    )  # fmt: skip
    return Buyer(
        ids.derived("b", partition, subject), subject, at - 1000, name="小满", locale="zh-CN", phones=[f"+861390{number:07d}"],
        tags=["vip"] if number % 10 == 0 else [], addresses=[address], member=Member(ids.member_number(partition, number), joined_at=at),
        coupons=[Coupon(f"WELCOME{number:06d}", "WELCOME", expires_at=at + 10**9, claimed_at=at)],
        orders=[_brief(f"{number}-{k}", at) for k in range(3)], orders_count=3, spent={"CNY": "900.00"}, last_order_at=at,
    )  # fmt: skip


def _brief(id: str, at: int) -> OrderBrief:
    return OrderBrief(
        id,
        "main",
        id,
        "paid",
        "delivered",
        total=Money(Decimal("300.00"), "CNY"),
        title="亚麻衬衫",
        placed_at=at,
        paid_at=at,
    )


def _ordered(n: int, partition: int, buyer: Buyer, at: int) -> Iterator[tuple[int, str, bytes]]:
    subject = subjects.order("main", f"o{n}")
    home = subjects.partition_of(subject, PARTITIONS)
    goods = tuple(Item("亚麻衬衫", 1, f"S-{k}", Money(Decimal("150.00"), "CNY"), product_id=f"P{k}") for k in range(2))
    order = Order(
        f"o{n}",
        "main",
        subject,
        f"{n}",
        Lane("paid", at, 1),
        total=Money(Decimal("300.00"), "CNY"),
        items=goods,
        placed_at=at,
        paid_at=at,
    )
    yield home, "turn", dump(TurnEntry(at, subject, b"", "order_paid", dump_record(order)))
    touch = TouchAsked("order_paid", f"main|order_paid|o{n}|1", brief=_brief(f"o{n}", at), shop="main")
    event = dump_event(Event("", buyer.home, "", at, at, touch))
    yield partition, "turn", dump(TurnEntry(at, buyer.home, event, "order_paid", dump_record(buyer), buyer=buyer.id))


async def fill(store: Store, count: int) -> int:
    """Writes the journals; answers the bytes."""
    pipe, size, now = store.client.pipeline(transaction=False), 0, int(time.time() * 1000)
    for n, (partition, kind, body) in enumerate(entries(count, now)):
        pipe.xadd(keys.journal(partition), {"k": kind, "b": body})
        size += len(body)
        if n % AT_ONCE == AT_ONCE - 1:
            await pipe.execute()
    await pipe.execute()
    return size


async def run(rows: int, url: str, folder: Path) -> None:
    """Fills, projects, tells."""
    from tests.servers import Valkey

    server = Valkey("--appendonly", "no").start()
    store = Store(connect(server.url), PARTITIONS, "bench")
    size = await fill(store, rows)
    target = database_url(url, folder)
    projector = Projector(store, target, "bench", currency="CNY")
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    task = asyncio.create_task(projector.run())
    peak_at_half = 0
    while (done := projector.projected) < rows:
        if not peak_at_half and done > rows / 2:
            peak_at_half = _rss()
        await asyncio.sleep(0.05)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    projector.stop()
    await task
    print(
        f"entries {rows:,} ({size / rows:,.0f} bytes each) in {took:.1f} s: {rows / took:,.0f} a second, CPU {cpu / rows * 1e6:.0f} µs each"
    )
    print(f"memory {peak_at_half} MB at half, {_rss()} MB at the end")
    await _count(target, took)
    await store.client.aclose()
    server.stop()


async def _count(target, took: float) -> None:
    from ledger.database import open_engine

    engine = open_engine(target)
    total = 0
    async with engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            total += await connection.scalar(select(func.count()).select_from(table)) or 0
    await engine.dispose()
    disk = ""
    if target.get_backend_name() == "sqlite":
        disk = (
            subprocess.run(
                ["du", "-m", str(target.database)], capture_output=True, text=True, check=True
            ).stdout.split()[0]
            + " MB on disk"
        )
    print(f"rows {total:,}: {total / took:,.0f} a second {disk}")


def _rss() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=200_000)
    parser.add_argument("--url", default="sqlite:ledger.db")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(run(args.rows, args.url, Path(folder)))


if __name__ == "__main__":
    main()
