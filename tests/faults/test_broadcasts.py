"""A broadcast while its processes and its store are killed at random: nobody twice, nobody missed, sums right at every look."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bot import keys
from bot.broadcast_life import Rules
from bot.broadcasting import Broadcasts
from bot.broadcasts import Broadcast, Counts
from bot.clock import SystemClock
from bot.codec import load_message
from bot.errors import StoreError
from bot.hours import zone
from bot.redis_client import connect
from bot.store import Store
from tests.audiences import FileAudiences, buyer_of, keep
from tests.faults.world import World, running_world

BUYERS = 3000
PROVIDER_S = 8.0


class Sent:
    """A broadcast in a world, looked at from outside."""

    def __init__(self, world: World, client) -> None:
        self.world = world
        self.store = Store(client, 64, "the test")
        self.broadcasts = Broadcasts(self.store, SystemClock(), Rules(zone("Asia/Shanghai", None)))
        self.id = ""
        self.buyers: dict[str, str] = {}  # address → buyer
        self.looks = 0

    async def submit(self, count: int, *, first: int = 70_000, rate: float = 0) -> None:
        audiences = FileAudiences(self.world.tmp / "audience.json")
        buyers = [buyer_of(self.store, first + n, self.broadcasts._clock.now()) for n in range(count)]
        await keep(self.store, buyers)
        audiences.write(self.store, buyers)
        self.buyers = {buyer.addresses[0].id: buyer.id for buyer in buyers}
        draft = Broadcast(
            id="", title="会员日", purpose="marketing", accounts=("messenger-main",), text={"zh-CN": "会员日到了"},
            created_at=0, created_by="lin", rate_per_second=rate,
        )  # fmt: skip
        self.id = (await self.broadcasts.create(draft)).id
        await self.broadcasts.submit(self.id, "lin", recipients=count)

    async def look(self) -> Counts:
        """The counts, which must hold at every look."""
        counts = await self.broadcasts.counts(self.id)
        ended = counts.sent + counts.failed + counts.skipped + counts.in_doubt
        assert counts.planned == counts.pending + ended, counts
        assert counts.planned in (0, len(self.buyers)), counts
        assert counts.pending >= 0, counts
        self.looks += 1
        return counts

    async def watch(self, pause_s: float = 0.1) -> None:
        """Looks again and again, until it is done."""
        while True:
            with contextlib.suppress(StoreError):
                await self.look()
                if (await self.broadcasts.get(self.id)).state == "done":
                    return
            await asyncio.sleep(pause_s)

    async def rows(self) -> dict[str, str]:
        """Address → state of its message."""
        found: dict[str, str] = {}
        for p in range(64):
            for id in await self.store.command("ZRANGE", keys.messages(p), 0, -1):
                body, state = await self.store.command("HMGET", keys.message(p, id.decode()), "b", "s")
                message = load_message(body)
                if message.source == f"broadcast:{self.id}":
                    assert message.to not in found, "two messages of one buyer"
                    found[message.to] = state.decode()
        return found

    async def check(self) -> Counts:
        """The counts, the rows and the provider's own list say the same."""
        counts, rows = await self.look(), await self.rows()
        told = Counter(who for who in self.world.told if who in self.buyers)
        assert [who for who, times in told.items() if times > 1] == []
        by_state = Counter(rows.values())
        assert rows.keys() == self.buyers.keys()
        assert counts.sent == by_state["sent"] + by_state["delivered"] + by_state["read"]
        assert (counts.in_doubt, counts.failed, counts.skipped) == (
            by_state["in_doubt"],
            by_state["failed"],
            by_state["skipped"],
        )
        certain = {who for who, state in rows.items() if state == "sent"}
        perhaps = {who for who, state in rows.items() if state == "in_doubt"}
        assert certain <= told.keys() <= certain | perhaps
        return counts


@contextlib.asynccontextmanager
async def sent_in(world: World) -> AsyncIterator[Sent]:
    """Broadcasts of a world whose processes are not started yet."""
    config = world.tmp / "config.toml"
    config.write_text(config.read_text() + '[policy]\nmarketing_hours = "always"\n')
    world.env["FAULTS_AUDIENCE"] = str(world.tmp / "audience.json")
    client = connect(world.valkey.url)
    yield Sent(world, client)
    await client.aclose()


@pytest.fixture
async def sent(tmp_path):
    async with running_world(tmp_path, processes=0) as world, sent_in(world) as found:
        yield found


@pytest.mark.timeout(400)
async def test_nobody_twice_nobody_missed_whatever_is_killed(sent):
    """kill -9 of either process and of the store, again and again, while the provider throttles, fails and hangs up."""
    world = sent.world
    world.faults = 0.06
    for index in (0, 1):
        world.start(index)
    await world.ready()
    await sent.submit(BUYERS)
    watch = asyncio.create_task(sent.watch())
    kills, end = 0, time.monotonic() + 25
    while not watch.done() and time.monotonic() < end:
        await asyncio.sleep(0.4 + random.random())
        kills += 1
        if kills % 3 == 0:
            world.valkey.kill()
            await asyncio.sleep(0.3)
            world.valkey.start()
        else:
            index = random.randrange(2)
            world.kill(index)
            await asyncio.sleep(0.2)
            world.start(index)
    await asyncio.wait_for(watch, 240)
    counts = await sent.check()
    print(f"{kills} kills, {sent.looks} looks, {counts}")
    assert kills >= 5
    assert (counts.planned, counts.pending, counts.failed) == (BUYERS, 0, 0)
    assert counts.in_doubt < BUYERS / 4
