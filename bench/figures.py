"""Further figures, each bounded in time: growth with the number of buyers, more processes, cold start."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import redis
import uvloop

from bench import stages
from bench.contestants import PORTS, Contestant
from bench.machine import ROOT, WORK, redis_info, start_valkey, stop
from bench.rounds import measure

PARTITIONS = 64
BATCH = 2000


def run(args: argparse.Namespace, one: Contestant) -> None:
    """Growth and processes, as asked for: a table each."""
    os.sched_setaffinity(0, {int(core) for core in args.aux_cpu.split(",")})
    valkey = start_valkey(args.aux_cpu)
    try:
        if args.growth:
            growth([int(n) for n in args.growth.split(",")], one, args, valkey)
        if args.stages:
            stages.run(args, one, valkey)
        if args.processes:
            processes([int(n) for n in args.processes.split(",")], one, args, valkey)
    finally:
        stop(valkey)


# --- growth -----------------------------------------------------------------------------------------------------------


def resting_buyer(number: int, now: int) -> dict[str, bytes]:
    """What Redis holds of a buyer at rest: record with card, three coupons and a closed order; the order; the indexes."""
    from bot import ids, keys, subjects
    from bot.codec import dump_record
    from bot.events import Item, Money, OrderBrief
    from bot.records import Address, Buyer, Consent, Coupon, Lane, Member, Order, Window

    home = subjects.address("messenger-main", str(9_000_000_000 + number))
    partition = subjects.partition_of(home, PARTITIONS)
    id = ids.derived("b", partition, home)
    address = Address(
        "messenger-main",
        str(9_000_000_000 + number),
        consent=Consent(marketing="granted", at=now, wording="consent_ask/zh-CN@1a2b3c4d", source="chat"),
        windows={"message": Window(now + 86_400_000)},
        last_in=now,
        last_out=now,
        locale="zh-CN",
    )
    card = ids.member_number(partition, number)
    coupons = [Coupon(f"K7Q2M4XW{number % 10000:04d}", f"RACE{n}", expires_at=now, claimed_at=now) for n in range(3)]
    brief = OrderBrief(f"{number}", "main", f"#{number}", placed_at=now, pay="paid")
    order_home = subjects.order("main", f"{number}")
    total = Money(Decimal("188.00"), "CNY")
    order = Order(
        f"{number}", "main", order_home, f"#{number}", pay=Lane("paid", now, 1), total=total,
        items=(Item("亚麻衬衫", 1),), placed_at=now, paid_at=now, told=["order_paid|1", "order_shipped|1"], created_at=now,
    )  # fmt: skip
    buyer = Buyer(
        id, home, now, name="林小满", locale="zh-CN", birthday="01-02", gender="f", sizes={"top": "M"}, addresses=[address],
        member=Member(card, joined_at=now, source="chat"), coupons=coupons, orders=[brief], orders_count=1,
        spent={"CNY": "188.00"}, last_order_at=now, tallies={"echo": 3},
    )  # fmt: skip
    order_partition = subjects.partition_of(order_home, PARTITIONS)
    return {
        keys.record(partition, home): dump_record(buyer),
        keys.record(order_partition, order_home): dump_record(order),
        f"{keys.index(partition)}|b:{id}": home.encode(),
        f"{keys.index(partition)}|m:{card}": home.encode(),
    }


def fill(first: int, last: int) -> None:
    """Writes the buyers from number `first` up to `last`."""
    client = redis.Redis(port=PORTS["redis"])
    now = int(time.time() * 1000)
    for start in range(first, last, BATCH):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(start + BATCH, last)):
            for key, value in resting_buyer(number, now).items():
                name, is_field, field = key.partition("|")
                if is_field:
                    pipe.hset(name, field, value)
                else:
                    pipe.set(name, value)
        pipe.execute()
    client.close()


def growth(sizes: list[int], one: Contestant, args: argparse.Namespace, valkey: subprocess.Popen[bytes]) -> None:
    """CPU per message with ever more buyers at rest, Redis memory per buyer, and the process's own memory."""
    print("| buyers at rest | CPU µs/msg | Redis µs/msg | Redis KiB/buyer | PSS of the process MB |")
    print("|---|---|---|---|---|")
    empty, before = redis_info("memory", "used_memory"), 0
    for size in sizes:
        fill(before, size)
        before = size
        held = (redis_info("memory", "used_memory") - empty) / size / 1024
        runs: list[dict[str, Any]] = [uvloop.run(measure(one, args, valkey, keep=True)) for _ in range(args.rounds)]
        cells = [statistics.median(run[key] for run in runs) for key in ("cpu_us", "redis_us")]
        pss = max(run["rss"] for run in runs)
        print(f"| {size} | {cells[0]:.0f} | {cells[1]:.0f} | {held:.2f} | {pss:.0f} |", flush=True)


# --- processes --------------------------------------------------------------------------------------------------------


def processes(counts: list[int], one: Contestant, args: argparse.Namespace, valkey: subprocess.Popen[bytes]) -> None:
    """CPU per message when the partitions are spread over several processes; all share one core, so only CPU compares."""
    print("| processes | CPU µs/msg | Redis µs/msg | lost+bad |")
    print("|---|---|---|---|")
    rows: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for _ in range(args.rounds):
        for count in counts:
            rows[count].append(uvloop.run(measure(one, args, valkey, processes=count)))
    for count, runs in rows.items():
        cells = [statistics.median(run[key] for run in runs) for key in ("cpu_us", "redis_us")]
        lost = sum(run["bad"] + run.get("lost", 0) for run in runs)
        print(f"| {count} | {cells[0]:.0f} | {cells[1]:.0f} | {lost} |", flush=True)


# --- cold start -------------------------------------------------------------------------------------------------------


def cold_start(args: argparse.Namespace) -> None:
    """From the command to `ready`, with the embedded server: the first on an empty folder, then on its data."""
    folder = WORK / "start"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    text = (WORK / "config.toml").read_text().replace(f"redis://127.0.0.1:{PORTS['redis']}", "embedded:./data")
    (folder / "config.toml").write_text(text)
    command = [sys.executable, "-m", "bot", "serve", "--config", str(folder / "config.toml")]
    for turn in range(args.rounds):
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line.strip()
            if re.search(r"ready after", line):
                print(
                    f"{'first start' if turn == 0 else 'later start'}: {time.perf_counter() - started:.2f} s",
                    flush=True,
                )
                break
        else:
            print(f"did not start: {last}")
        process.terminate()
        process.communicate(timeout=20)
