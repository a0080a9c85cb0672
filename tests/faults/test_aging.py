"""Silent buyers go by age while processes, the projector and the store end by kill -9: nobody half, nobody who must stay, proof kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from bench.machine import processes_of
from bot import ids, keys, subjects
from bot.codec import dump_record, pack
from bot.errors import StoreError
from bot.events import BuyerFacts
from bot.keeping import months_from
from bot.records import Address, Buyer, Consent, Link, Member, Order, Task
from bot.redis_client import connect
from bot.store import Store
from ledger import schema
from ledger import tables as t
from ledger.database import database_url, open_engine
from tests import stores
from tests.faults.world import ROOT
from tests.gateway import APP_SECRET, CONFIG, SHOP_KEY
from tests.ledger.test_aging import KEEP, _flat
from tests.servers import free_port

OLD_MS = 20 * 31 * 86_400_000
GOES, STAYS = 24, 6


class Shop:
    """A store full of people of long ago, and the gateway that has only now been told to let them go."""

    def __init__(self, servers, folder: Path) -> None:
        self.servers, self.folder = servers, folder
        self.client = connect(servers.url)
        self.store = Store(self.client, 64, "the test")
        self.old = int(time.time() * 1000) - OLD_MS
        self.goes: list[Buyer] = []
        self.kept: dict[str, bytes] = {}  # names of keys that must stay as they are
        self.serve: subprocess.Popen[bytes] | None = None

    async def fill(self) -> None:
        for n in range(GOES):
            self.goes.append(await self.buyer(n))
        for n in range(GOES, GOES + STAYS):
            fields = {"member": Member(str(80120000 + n))} if n % 2 else {"last_order_at": int(time.time() * 1000)}
            await self.buyer(n, stays=True, **fields)

    async def buyer(self, n: int, *, stays: bool = False, **fields) -> Buyer:
        """A record, the number that leads to it, an order that names it, work that was done."""
        psid, phone = f"77{n:014d}", f"+86139{n:08d}"
        home = subjects.address("messenger-main", psid)
        id = ids.derived("b", self.store.partition(home), home)
        consent = Consent(marketing="granted", at=self.old, wording="form-7", source="clerk")
        address = Address("messenger-main", psid, consent=consent, last_in=self.old)
        made = Buyer(
            id=id, home=home, created_at=self.old, name=f"旧人{n}", addresses=[address], phones=[phone], **fields
        )
        order = subjects.order("main", str(n))
        await self.keep(home, made, stays=stays)
        await self.keep(subjects.phone(phone), Link(home=home, at=self.old, buyer=id), stays=stays)
        facts = BuyerFacts(name=f"旧人{n}", phones=(phone,))
        stale = Order(id=str(n), shop="main", subject=order, created_at=self.old, buyer=facts)
        await self.keep(order, stale, stays=False)  # an order forgets by its own time, whoever stays
        p = self.store.partition(home)
        await self.store.command("HSET", keys.index(p), f"b:{id}", home)
        task = Task(
            id=ids.derived("t", p, home),
            kind="parcel",
            key="x",
            home=home,
            buyer=id,
            state="done",
            created_at=self.old,
            brief=phone,
        )
        await self.store.command("HSET", keys.tasks(p), task.id, pack(task))
        return made

    async def keep(self, subject: str, record, *, stays: bool) -> None:
        name, body = keys.record(self.store.partition(subject), subject), dump_record(record)
        await self.store.command("SET", name, body)
        if stays:
            self.kept[name] = body

    # --- processes ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        ledger = f"sqlite:{self.folder}/ledger.db"
        values = {
            "port": free_port(),
            "redis": self.servers.url,
            "secret": APP_SECRET,
            "graph": "http://127.0.0.1:9",
            "shop": SHOP_KEY,
        }
        text = CONFIG.format_map(
            {"extra": KEEP.format(ledger), "policy": "", "server": "", "marketing_hours": "always", **values}
        )
        config = self.folder / "config.toml"
        config.write_text(
            text.replace("processes = 1", "processes = 2").replace("lease_seconds = 2", "lease_seconds = 1")
        )
        engine = open_engine(database_url(ledger, self.folder), writer=True)
        await schema.migrate(engine)
        await engine.dispose()
        with (self.folder / "serve.out").open("wb") as out:
            command = [sys.executable, "-m", "bot", "serve", "--config", str(config)]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.serve = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out)

    def kill(self, *, all_of_them: bool = False) -> int:
        """kill -9 of one of its processes, or of all but the first."""
        children = processes_of(self.serve.pid)[1:]
        for pid in children if all_of_them else random.sample(children, min(1, len(children))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(children)

    async def end(self) -> None:
        if self.serve is not None:
            self.serve.terminate()
            await asyncio.to_thread(self.serve.wait, 30)
        await self.client.aclose()
        await asyncio.to_thread(self.servers.stop)

    # --- looks ----------------------------------------------------------------------------------------------------

    async def look(self) -> int:
        """How many are still there, whole; who is not is known as erased."""
        left = 0
        for buyer in self.goes:
            p = self.store.partition(buyer.home)
            body, known = await self.store.together(
                [("GET", keys.record(p, buyer.home)), ("HGET", keys.index(p), f"b:{buyer.id}")]
            )
            whole = body == dump_record(buyer)
            left += whole
            assert known in (buyer.home.encode(), f"erased:{buyer.id}".encode()), known
            assert (
                whole
                or body is None
                or body == dump_record(Buyer(id=buyer.id, home=buyer.home, created_at=0, erased=True))
            )
        return left

    async def until_gone(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(StoreError):
                if not await self.look() and not await self.waits():
                    return
            assert time.monotonic() < end, (self.folder / "serve.out").read_text("utf-8", "replace")[-3000:]
            await asyncio.sleep(0.3)

    async def under_way(self) -> bool:
        """Waits until somebody is being let go; False where all are gone."""
        end = time.monotonic() + 90
        while True:
            with contextlib.suppress(StoreError):
                if await self.waits():
                    return True
                if not await self.look():
                    return False
            assert time.monotonic() < end, (self.folder / "serve.out").read_text("utf-8", "replace")[-3000:]
            await asyncio.sleep(0.05)

    async def waits(self) -> bool:
        """Whether somebody's turn has come whose traces are not all gone."""
        asked = [("EXISTS", keys.erasures(p)) for p in range(64)]
        return any(await self.store.together([("EXISTS", keys.ERASING), *asked]))

    async def check(self) -> None:
        """Nothing names who went, but the proof; nothing of who stays was touched."""
        for name, body in self.kept.items():
            assert await self.store.command("GET", name) == body, name
        said = await self.everything()
        for buyer in self.goes:
            psid, phone = buyer.addresses[0].id, buyer.phones[0]
            found = [
                where
                for where, words in said
                if phone.encode() in words or psid.encode() in words or buyer.name.encode() + b"|" in words
            ]
            assert found == ["consents"], (buyer.id, found)

    async def everything(self) -> list[tuple[str, bytes]]:
        found = []
        read = {"string": ("GET",), "hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",)}
        read |= {"zset": ("ZRANGE", 0, -1), "stream": ("XRANGE", "-", "+")}
        async for names in self.store.scan("*"):
            for name in names:
                kind = (await self.store.command("TYPE", name)).decode()
                if kind in read:
                    command, *rest = read[kind]
                    found.append(
                        (name.decode(), name + b"|" + _flat(await self.store.command(command, name, *rest)) + b"|")
                    )
        engine = open_engine(database_url(f"sqlite:{self.folder}/ledger.db", self.folder))
        async with engine.connect() as connection:
            for table in t.metadata.sorted_tables:
                rows = [tuple(row) for row in await connection.execute(select(table))]
                found.append((table.name, _flat(rows)))
            proofs = list(await connection.execute(select(t.consents)))
        await engine.dispose()
        await self.proved(proofs)
        return found

    async def proved(self, rows) -> None:
        mine = {buyer.id: buyer.addresses[0] for buyer in self.goes}
        assert {row.buyer for row in rows} == mine.keys()
        until = months_from(int(time.time() * 1000), 6)
        for row in rows:
            address = mine[row.buyer]
            assert (row.address, row.topic, row.verdict, row.at, row.wording) == (
                address.id,
                "marketing",
                "granted",
                self.old,
                "form-7",
            )
            assert abs(row.kept_until - until) < 86_400_000


@asynccontextmanager
async def shop_on(kind: str, folder: Path) -> AsyncIterator[Shop]:
    folder.mkdir()
    shop = Shop(await asyncio.to_thread(stores.start, kind), folder)
    try:
        await shop.fill()
        await shop.start()
        yield shop
    finally:
        await shop.end()


async def suffer(shop: Shop, kind: str) -> int:
    """Kills while somebody is being let go: processes at random, twice the store with all processes. Answers how often."""
    kills = 0
    for turn in range(4):
        if not await shop.under_way():
            break
        await asyncio.sleep(random.uniform(0.0, 1.5))
        if turn in (1, 3) and kind == "embedded":
            shop.servers.process.kill()
            shop.servers.process.wait()
            shop.kill(all_of_them=True)
            await asyncio.to_thread(shop.servers.start)
        elif turn == 1:
            node = shop.servers.primary() if kind == "sentinel" else random.choice(shop.servers.primaries())
            node.kill()
            shop.kill(all_of_them=True)  # those that wait for the store would begin again only a minute later
        else:
            shop.kill()
        kills += 1
    return kills


@pytest.mark.timeout(300)
async def test_who_goes_by_age_goes_whole(tmp_path):
    """On one server, behind Sentinel, in a cluster, side by side: they wait more than they work."""

    async def one(kind: str) -> int:
        async with shop_on(kind, tmp_path / kind) as shop:
            kills = await suffer(shop, kind)
            await shop.until_gone(200)
            await shop.check()
            return kills

    kills = await asyncio.gather(*map(one, ("embedded", "sentinel", "cluster")))
    assert min(kills) >= 2, kills
