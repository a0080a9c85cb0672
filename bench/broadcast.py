"""`python -m bench.broadcast [BUYERS] [--memory MB] [--kill [--every SECONDS]]`: a broadcast through `serve` as it is shipped, two processes and the projector.

Buyers with an open window and a recorded opt-in stand in Redis, their audience in the ledger (SQLite); a provider on loopback accepts all.
Says when all were queued and when all were sent, memory (of processes without what they map of files; of the store), and whether
the counts held at every look. `--memory`: the store's limit, below which planning waits for history to make room. `--kill`: a process or the
store ends by kill -9 about every second; then nobody may have been told twice, and nobody missed outside in_doubt.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import httptools
import uvloop
from sqlalchemy import insert

from bench.machine import ROOT, cpu_s, processes_of
from bot import ids, keys, subjects
from bot.broadcast_life import Rules
from bot.broadcasting import Broadcasts
from bot.broadcasts import Broadcast
from bot.clock import SystemClock
from bot.codec import dump_record
from bot.embedded import binary
from bot.errors import StoreError
from bot.hours import ALWAYS, zone
from bot.queries import Queries
from bot.records import Address, Buyer, Consent, Window
from bot.redis_client import connect
from bot.store import Store
from ledger import tables
from ledger.database import database_url, open_engine

DAY = 86_400_000
CONFIG = """
[brand]
name = "Bench"
privacy_url = "https://shop.example/privacy"
[server]
port = {port}
processes = 2
[redis]
url = "{redis}"
lease_seconds = {lease}
[ledger]
url = "sqlite:ledger.db"
[policy]
marketing_hours = "{hours}"
[channels.messenger-main]
type = "messenger"
page_id = "1234567890"
app_id = "1"
app_secret = "s3cret-s3cret-s3cret"
verify_token = "v"
page_access_token = "t"
api_base = "http://127.0.0.1:{provider}"
rate_per_second = 100000
"""


class Provider(asyncio.Protocol):
    """Accepts every send and notes whom it was for."""

    told: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport):
        self.transport, self.parser, self.body = transport, httptools.HttpRequestParser(self), []

    def on_body(self, part):
        self.body.append(part)

    def on_message_complete(self):
        to = json.loads(b"".join(self.body))["recipient"]["id"]
        self.body = []
        self.told[to] += 1
        answer = b'{"recipient_id":"%s","message_id":"m_%s_%d"}' % (to.encode(), to.encode(), self.told[to])
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        self.transport.write(head + answer)

    def data_received(self, data):
        with contextlib.suppress(httptools.HttpParserError):
            self.parser.feed_data(data)


class Run:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args = folder, args
        self.server: subprocess.Popen[bytes] | None = None
        self.looks = self.kills = 0
        self.most_mb = self.store_mb = 0.0

    def start_store(self) -> str:
        socket = self.folder / "s"
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--appendonly",
            "yes",
        ]
        options += [
            "--appendfsync",
            "always",
            "--maxmemory-policy",
            "noeviction",
            "--maxmemory",
            f"{self.args.memory}mb",
        ]
        self.server = subprocess.Popen([str(binary()), *options], stdout=subprocess.DEVNULL)
        while not socket.exists():
            time.sleep(0.02)
        return f"unix://{socket}"

    async def buyers(self, store: Store, count: int):
        """Their records; answers the rows of the audience."""
        now, rows = SystemClock().now(), []
        for start in range(0, count, 5000):
            commands = []
            for n in range(start, min(start + 5000, count)):
                id = f"7{n:015d}"
                home = subjects.address("messenger-main", id)
                p = store.partition(home)
                consent = Consent(marketing="granted", at=now, wording="opt_in", source="bench")
                address = Address(
                    "messenger-main", id, consent=consent, windows={"message": Window(now + DAY)}, last_in=now
                )
                buyer = Buyer(
                    ids.derived("b", p, home), home, now, name=f"买家{n}", locale="zh-CN", addresses=[address]
                )
                commands.append(("SET", keys.record(p, home), dump_record(buyer)))
                commands.append(("HSET", keys.index(p), f"b:{buyer.id}", home))
                rows.append({"partition": p, "buyer": buyer.id, "home": home, "variant": ""})
            await store.together(commands)
        return rows

    async def submit(self, broadcasts: Broadcasts, rows) -> str:
        draft = Broadcast(
            id="", title="bench", purpose="marketing", accounts=("messenger-main",), text={"zh-CN": "{{ name }}，会员日到了"},
            created_at=0, created_by="bench",
        )  # fmt: skip
        id = (await broadcasts.create(draft)).id
        engine = open_engine(database_url("sqlite:ledger.db", self.folder), writer=True)
        async with engine.begin() as connection:
            for start in range(0, len(rows), 5000):
                page = [{"broadcast": id, **row} for row in rows[start : start + 5000]]
                await connection.execute(insert(tables.audiences), page)
            await connection.execute(insert(tables.frozen), {"broadcast": id, "size": len(rows), "at": 0})
        await engine.dispose()
        await broadcasts.submit(id, "bench", recipients=len(rows))
        return id

    async def kill(self, store: Store, serve: subprocess.Popen[bytes], done: asyncio.Event) -> None:
        """Again and again, each time once every partition is served: who never gets up cannot be killed at work."""
        while not done.is_set():
            await self.served(store)
            await asyncio.sleep(self.args.every * (0.5 + random.random()))
            self.kills += 1
            if self.kills % 4 == 0:
                assert self.server is not None
                self.server.kill()
                self.server.wait()
                (self.folder / "s").unlink(missing_ok=True)
                await asyncio.sleep(0.2)
                self.start_store()
            elif children := processes_of(serve.pid)[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(random.choice(children), signal.SIGKILL)

    async def served(self, store: Store) -> None:
        while True:
            with contextlib.suppress(StoreError):
                if await Queries(store).served() == store.partitions:
                    return
            await asyncio.sleep(0.1)

    async def watch(self, broadcasts: Broadcasts, store: Store, id: str, serve: subprocess.Popen[bytes]):
        """Looks until it is done; answers seconds until all were queued, until all were sent, and the counts."""
        began, queued = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(0.2)
            with contextlib.suppress(StoreError):
                kept = await broadcasts.get(id)
                look = await broadcasts.look(kept)
                counts = look.counts
                ended = counts.sent + counts.failed + counts.skipped + counts.in_doubt
                assert counts.planned == counts.pending + ended, counts
                self.looks += 1
                events = await store.together([("HGET", keys.broadcast(p, id), "events") for p in range(64)])
                if not queued and look.planned_all and not sum(int(one or 0) for one in events):
                    queued = time.monotonic() - began
                own = max((own_mb_of(pid) for pid in processes_of(serve.pid)[1:]), default=0.0)
                self.most_mb, self.store_mb = max(self.most_mb, own), max(self.store_mb, await memory_mb(store))
                if kept.state == "done":
                    return queued, time.monotonic() - began, counts
                if self.looks % 25 == 0:
                    print(
                        f"  {time.monotonic() - began:.0f} s: {counts.sent} sent, {counts.pending} pending",
                        file=sys.stderr,
                    )


def own_mb_of(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    return 0.0


async def main(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="tpb") as name:
        run = Run(Path(name), args)
        await measure(run, args)


async def measure(run: Run, args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    provider = await loop.create_server(Provider, "127.0.0.1", 0)
    with contextlib.closing(__import__("socket").create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    config = run.folder / "config.toml"
    values = {"port": port, "redis": run.start_store(), "provider": provider.sockets[0].getsockname()[1]}
    config.write_text(CONFIG.format(hours=ALWAYS, lease=1.5 if args.kill else 12, **values))
    store = Store(connect(values["redis"], timeout_s=30), 64, "bench")
    broadcasts = Broadcasts(store, SystemClock(), Rules(zone("Asia/Shanghai", None)))
    rows = await run.buyers(store, args.buyers)
    before = await memory_mb(store)
    with (run.folder / "serve.log").open("wb") as log:
        command = [sys.executable, "-m", "bot", "serve", "--config", str(config)]
        serve = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    done = asyncio.Event()
    try:
        while not all(await store.together([("HEXISTS", keys.lease(p), "o") for p in range(64)])):
            assert serve.poll() is None, (run.folder / "serve.log").read_text()[-2000:]
            await asyncio.sleep(0.1)
        await asyncio.sleep(3)
        spent = cpu_s(serve.pid), cpu_s(run.server.pid)
        id = await run.submit(broadcasts, rows)
        killer = asyncio.create_task(run.kill(store, serve, done)) if args.kill else None
        queued, sent, counts = await run.watch(broadcasts, store, id, serve)
        done.set()
        if killer is not None:
            await killer
        report(run, args, queued, sent, counts, await memory_mb(store) - before)
        if not args.kill:
            ours, theirs = cpu_s(serve.pid) - spent[0], cpu_s(run.server.pid) - spent[1]
            print(
                f"  CPU a buyer: {ours / args.buyers * 1e6:.0f} µs ours with the projector, {theirs / args.buyers * 1e6:.0f} µs Redis"
            )
    finally:
        serve.terminate()
        serve.wait(30)
        assert run.server is not None
        run.server.kill()
        run.server.wait()
        provider.close()


async def memory_mb(store: Store) -> float:
    return float((await store.command("INFO", "memory"))["used_memory"]) / 1e6


def report(run: Run, args: argparse.Namespace, queued: float, sent: float, counts, grown: float) -> None:
    told = Provider.told
    twice = sum(times > 1 for times in told.values())
    missed = args.buyers - len(told)
    print(f"{args.buyers} buyers, 2 processes" + (f", {run.kills} kills" if args.kill else ""))
    print(f"  queued in {queued:.1f} s, sent in {sent:.1f} s ({counts.sent / sent:.0f} a second)")
    print(f"  sent {counts.sent}, failed {counts.failed}, skipped {counts.skipped}, in doubt {counts.in_doubt}")
    print(f"  the provider: {len(told)} told, {twice} twice, {missed} not told; counts right at {run.looks} looks")
    limit = f" of {args.memory}" if args.memory else ""
    print(
        f"  largest process {run.most_mb:.0f} MB; Redis grew by {grown:.0f} MB, to {run.store_mb:.0f} MB{limit} at most"
    )
    assert twice == 0
    assert counts.sent <= len(told)
    assert missed <= counts.in_doubt + counts.failed + counts.skipped


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("buyers", nargs="?", type=int, default=100_000)
    parser.add_argument("--memory", type=int, default=0, help="the store's limit in MB; 0: none")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between kills, on the average")
    uvloop.run(main(parser.parse_args()))
