"""A broadcast from the draft to the provider's own list, through the whole gateway."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from bot import bootstrap
from bot.broadcasts import Broadcast, Counts
from tests.audiences import FileAudiences, buyer_of, keep
from tests.gateway import running

TEXT = {"zh-CN": "会员日到了，{{ name }}", "en": "Member day, {{ name }}"}


class Shop:
    """A gateway with buyers, and a broadcast to send."""

    def __init__(self, gw, audiences: FileAudiences) -> None:
        self.gw, self.audiences = gw, audiences
        self.broadcasts = gw.gateway.broadcasts
        self.looks: list[Counts] = []

    async def buyers(self, count: int, *, first: int = 7000, **fields):
        gateway = self.gw.gateway
        made = [buyer_of(gateway.store, first + n, gateway.clock.now(), **fields) for n in range(count)]
        await keep(gateway.store, made)
        return made

    async def submit(self, buyers, **fields) -> Broadcast:
        self.audiences.write(self.gw.gateway.store, buyers)
        wanted = {"title": "会员日", "purpose": "marketing", "accounts": ("messenger-main",), "text": TEXT, **fields}
        made = await self.broadcasts.create(Broadcast(id="", created_at=0, created_by="lin", **wanted))
        return await self.broadcasts.submit(made.id, "lin", recipients=len(buyers))

    async def look(self, id: str) -> Counts:
        """The counts, which must hold at every look."""
        counts = await self.broadcasts.counts(id)
        ended = counts.sent + counts.failed + counts.skipped + counts.in_doubt
        assert counts.planned == counts.pending + ended, counts
        assert counts.pending >= 0
        assert sum(counts.skipped_by_reason.values()) == counts.skipped
        assert sum(counts.failed_by_reason.values()) == counts.failed
        self.looks.append(counts)
        return counts

    async def until(self, id: str, *states: str, seconds: float = 20) -> Counts:
        end = time.monotonic() + seconds
        while True:
            counts = await self.look(id)
            now = await self.broadcasts.get(id)
            if now.state in states and (now.state != "cancelled" or now.done_at):
                return await self.look(id)
            assert time.monotonic() < end, (now, counts)
            await asyncio.sleep(0.02)


@pytest.fixture
def shop_of(valkey, redis_client, tmp_path):
    @asynccontextmanager
    async def start(**kwargs):
        audiences = FileAudiences(tmp_path / "audience.json")
        async with running(valkey, tmp_path, extras=bootstrap.Extras(audiences=audiences), **kwargs) as gw:
            yield Shop(gw, audiences)

    return start


@pytest.fixture
async def shop(shop_of):
    async with shop_of() as it:
        yield it


async def test_each_buyer_of_the_audience_gets_it_once_in_their_own_words(shop):
    buyers = await shop.buyers(60)
    made = await shop.submit(buyers)
    counts = await shop.until(made.id, "done")
    assert (counts.planned, counts.sent, counts.pending) == (60, 60, 0)
    told = sorted(body["recipient"]["id"] for body in shop.gw.graph.sent)
    assert told == sorted(buyer.addresses[0].id for buyer in buyers)
    assert shop.gw.graph.texts("7003") == ["会员日到了，买家7003"]
    assert counts.by_account == {"messenger-main": {"sent": 60}}
