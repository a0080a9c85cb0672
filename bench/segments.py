"""`python -m bench.segments`: realistic segments over an invented shop of a million buyers, on SQLite and PostgreSQL.

Count and sample of each, the best of some rounds: wall time, and CPU time of all that took part; then a preview of a broadcast to
everybody and the freezing of its audience, with the memory that took. `--keep FOLDER` keeps the SQLite file for the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from bench.shops import NOW, Shop, into_postgres, into_sqlite
from bot.broadcasts import Broadcast, Variant
from bot.ports import Capabilities, WindowRule
from ledger import schema
from ledger.audiences import LedgerAudiences
from ledger.database import database_url, open_engine, reading
from ledger.scores import Scores
from ledger.segments import Moment, parse, where_of
from ledger.segments.preview import find
from tests.postgresql import Postgresql

MOMENT = Moment(NOW, ZoneInfo("Asia/Shanghai"), "CNY")


def test(field: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value, **more}


def days(n: int) -> dict[str, int]:
    return {"days": n}


MARKETABLE = test("consent.can_market", "=", True)
SEGMENTS: dict[str, list[Any]] = {
    "everybody": [],
    "members who may be written to": [test("member.is", "=", True), MARKETABLE],
    "loyal: three orders, 500 spent": [test("orders.count", ">=", 3), test("orders.spent", ">=", "500")],
    "birthday within a week, consent": [test("buyer.birthday_in", "<=", 7), test("consent.marketing", "=", "granted")],
    "asleep, by SMS": [test("lifecycle", "=", "asleep"), test("consent.can_market", "=", True, account="sms-cn")],
    "new women of 18 to 35": [
        test("lifecycle", "=", "new"),
        test("buyer.gender", "=", "female"),
        test("buyer.age_band", "in", ["18-24", "25-35"]),
    ],
    "bought X in a year, not in two weeks": [
        test("items.product", "in", ["p0000", "p0001"], since=days(365)),
        test("items.product", "not_in", ["p0000", "p0001"], since=days(14)),
    ],
    "two cities, two style tags": [
        test("orders.city", "in", ["上海", "杭州"]),
        test("buyer.tags", "in", ["casual", "street"]),
    ],
    "unpaid this week": [test("orders.pay", "=", "unpaid", since=days(7))],
    "a coupon ends in three days": [test("coupons.expires_in", "<=", 3)],
    "got the last broadcast, did not buy": [
        test("messages.broadcast", "=", "c_00past000000000001"),
        test("orders.count", "=", 0, since=days(14)),
    ],
    "a chat window open, or SMS agreed": [
        {
            "any": [
                test("channels.window_open", "=", True, account="wechat-main"),
                test("consent.marketing", "=", "granted", account="sms-cn"),
            ]
        }
    ],
    "not written to in a week, R up to 3": [
        test("messages.last_marketing", "not_within", days(7)),
        test("rfm.r", "between", [1, 3]),
        MARKETABLE,
    ],
    "300 spent in 90 days, size M": [
        test("orders.spent", ">=", "300", since=days(90)),
        test("buyer.size", "=", "M"),
    ],
    "member day without the ready exclusions": [
        test("member.is", "=", True),
        MARKETABLE,
        {
            "none": [
                test("orders.count", ">=", 1, since=days(14)),
                test("orders.last", "before", days(365)),
                test("messages.last_marketing", "within", days(3)),
            ]
        },
    ],
    "bought a down jacket, not in 90 days": [
        test("items.title", "contains", "羽绒服"),
        test("orders.last", "before", days(90)),
    ],
    "no style tag, reachable nowhere": [
        test("buyer.tags", "not_in", ["casual", "trendy", "street"]),
        test("channels.reachable", "=", False),
    ],
}
ACCOUNTS = {
    "wechat-main": Capabilities(frozenset(), 0, windows={"message": WindowRule(48 * 3_600_000)}),
    "sms-cn": Capabilities(frozenset(), 0, address_is_phone=True, sms=True),
}


async def fill(url: Any, shop: Shop) -> None:
    """A ledger full of the shop's buyers, scored and analysed."""
    engine = open_engine(url, writer=True)
    await schema.migrate(engine)
    if url.get_backend_name() == "sqlite":
        into_sqlite(str(url.database), shop)
    else:
        connection = await asyncpg.connect(url.render_as_string(False).replace("+asyncpg", ""))
        await into_postgres(connection, shop)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
    await engine.dispose()


def cpu_of(server: Postgresql | None) -> float:
    """CPU seconds of this process, and of a server's: its sessions that live, and all that have ended."""
    if server is None or server.process is None:
        return time.process_time()
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        own = int(stat.parent.name) == server.process.pid
        if own or int(parts[1]) == server.process.pid:
            ticks += sum(map(int, parts[11 : 15 if own else 13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


async def timed(
    what: Callable[[], Awaitable[Any]], rounds: int, server: Postgresql | None = None
) -> tuple[Any, float, float]:
    """The answer, and the best wall and CPU time in seconds."""
    wall = cpu = float("inf")
    found = None
    for _ in range(rounds):
        t, c = time.perf_counter(), cpu_of(server)
        found = await what()
        wall, cpu = min(wall, time.perf_counter() - t), min(cpu, cpu_of(server) - c)
    return found, wall, cpu


async def measure(url: Any, rounds: int, server: Postgresql | None) -> dict[str, tuple[int, float, float]]:
    """By segment: how many, wall and CPU seconds."""
    engine = open_engine(url)
    results = {}
    for name, tests in SEGMENTS.items():

        async def ask(name: str = name, tests: Any = tests) -> Any:
            async with reading(engine) as connection:
                return await find(connection, where_of(parse({"all": tests}), MOMENT), name)

        found, wall, cpu = await timed(ask, rounds, server)
        assert len(found.sample) == min(10, found.count), name
        results[name] = (found.count, wall, cpu)
    await engine.dispose()
    return results


def own_kb() -> int:
    """Memory of this process alone: what SQLite maps of its file is the system's, and goes when somebody needs it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


async def watched(highest: list[int]) -> None:
    while True:
        highest[0] = max(highest[0], own_kb())
        await asyncio.sleep(0.05)


async def broadcast(url: Any) -> list[str]:
    """A preview of everything that a broadcast to everybody needs, and its audience."""

    async def views(_: Any) -> dict[str, Any]:
        return {}

    audiences = LedgerAudiences(url, moment=lambda: MOMENT, accounts=ACCOUNTS, views=views)
    everybody = Broadcast(
        "c_bench", "x", "marketing", ("wechat-main", "sms-cn"), {}, 0, "bench",
        where=json.dumps({"all": []}), exclude=("bought_in_2_weeks", "last_order_over_1_year", "written_to_in_3_days"),
        variants=(Variant("a"), Variant("b")),
    )  # fmt: skip
    preview, seen, asked = await timed(lambda: audiences.preview(everybody), 2)
    everybody.exclude = ()
    await audiences.forget("c_bench")
    before, highest = own_kb(), [0]
    watch = asyncio.create_task(watched(highest))
    size, froze, cpu = await timed(lambda: audiences.freeze(everybody, {}), 1)
    watch.cancel()
    page, paged, _ = await timed(lambda: audiences.page("c_bench", 7, "", 500), 3)
    await audiences.forget("c_bench")
    await audiences.close()
    return [
        f"preview of a broadcast with three exclusions and two variants: {seen:.2f} s, {asked:.2f} s CPU here ({preview.count:,} of {preview.matched:,})",
        f"freezing {size:,}: {froze:.1f} s ({cpu:.1f} s CPU here), own memory {before // 1024} → {highest[0] // 1024} MB at most",
        f"a page of {len(page)}: {paged * 1000:.1f} ms",
    ]


async def score(url: Any) -> float:
    """Seconds of drawing bounds and scoring everybody."""
    engine = open_engine(url, writer=True)
    work, start = Scores(engine, 64), time.perf_counter()
    while await work.step(int(time.time() * 1000)):
        pass
    await engine.dispose()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--buyers", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="bench-segments"))
    folder.mkdir(parents=True, exist_ok=True)
    for kind in [args.only] if args.only else ["sqlite", "postgresql"]:
        server = None
        if kind == "sqlite":
            url = database_url("sqlite:ledger.db", folder)
            fresh = not (folder / "ledger.db").exists()
        else:
            server = Postgresql(shared_buffers="1GB", max_wal_size="8GB").start()
            url, fresh = database_url(server.database(), folder), True
        try:
            if fresh:
                start = time.perf_counter()
                asyncio.run(fill(url, Shop(args.buyers)))
                print(f"{kind}: {args.buyers:,} buyers made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            print(f"{kind}: everybody scored in {asyncio.run(score(url)):.1f} s")
            results = asyncio.run(measure(url, args.rounds, server))
            print(f"\n| segment | buyers | {kind} s | CPU s |\n|---|---|---|---|")
            for name, (count, wall, cpu) in results.items():
                print(f"| {name} | {count:,} | {wall:.2f} | {cpu:.2f} |")
            print("", *asyncio.run(broadcast(url)), sep="\n")
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    main()
