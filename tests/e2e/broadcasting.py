"""A gateway with buyers and a broadcast to send; the audience is kept in a file."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

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

    async def submit(self, buyers, *, recipients: int = -1, **fields) -> Broadcast:
        self.audiences.write(self.gw.gateway.store, buyers)
        wanted = {"title": "会员日", "purpose": "marketing", "accounts": ("messenger-main",), "text": TEXT, **fields}
        made = await self.broadcasts.create(Broadcast(id="", created_at=0, created_by="lin", **wanted))
        return await self.broadcasts.submit(made.id, "lin", recipients=len(buyers) if recipients < 0 else recipients)

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

    async def until(self, id: str, *states: str, seconds: float = 60) -> Counts:
        end = time.monotonic() + seconds
        while True:
            counts = await self.look(id)
            now = await self.broadcasts.get(id)
            if now.state in states and (now.state != "cancelled" or now.done_at):
                return await self.look(id)
            assert time.monotonic() < end, (now, counts)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def shop_on(valkey, tmp_path, **kwargs):
    """A shop on a store; further words go to `running`."""
    audiences = FileAudiences(tmp_path / "audience.json")
    async with running(valkey, tmp_path, extras=bootstrap.Extras(audiences=audiences), **kwargs) as gw:
        yield Shop(gw, audiences)
