"""The virtual clock of the sandbox, moved for all processes at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

from bot import keys
from bot.clock import DAY_MS, SystemClock
from bot.events import Ms
from bot.hours import instant, local
from bot.store import Store

FOLLOW_S = 5.0
START_WEEKDAY, START_HOUR = 1, 10  # a Tuesday at 10:00: open hours of everything, with a week's rest ahead


class VirtualClock:
    """The gateway's clock, and how it is moved: forward only."""

    def __init__(self, store: Store, clock: SystemClock, moved: Callable[[], Awaitable[None]]) -> None:
        """`moved` takes up what is due by this process's clock."""
        self._store = store
        self._clock = clock
        self._moved = moved

    def now(self) -> Ms:
        """Virtual time."""
        return self._clock.now()

    def real(self) -> Ms:
        """Wall-clock time."""
        return self._clock.real()

    async def start(self, zone: ZoneInfo) -> None:
        """The first start of a sandbox: the next Tuesday at 10:00 of the shop."""
        now = local(self._clock.real(), zone)
        day = now.date() + timedelta(days=(START_WEEKDAY - now.weekday()) % 7)
        wall = now.replace(
            year=day.year, month=day.month, day=day.day, hour=START_HOUR, minute=0, second=0, microsecond=0, tzinfo=None
        )
        opens = instant(wall, zone)
        if opens <= self._clock.real():
            opens += 7 * DAY_MS
        await self._store.command("SET", keys.CLOCK, opens - self._clock.real(), "NX")
        self._clock.set_offset(int(await self._store.command("GET", keys.CLOCK)))

    async def advance(self, seconds: float) -> Ms:
        """Moves the clock; answers when every living process has the new offset and has taken up what came due."""
        offset = int(await self._store.command("INCRBY", keys.CLOCK, int(seconds * 1000)))
        self._clock.set_offset(offset)
        await self._moved()
        end = self._clock.monotonic() + FOLLOW_S
        while self._clock.monotonic() < end:
            alive = {name.decode() for name in await self._store.command("ZRANGE", keys.PROCESSES, 0, -1)}
            seen = await self._store.command("HGETALL", keys.CLOCK_SEEN)
            behind = [name for name in alive if int(seen.get(name.encode(), 0)) < offset and name != self._store.owner]
            if not behind:
                break
            await self._clock.sleep(0.02)
        return self._clock.now()

    async def next_due(self) -> Ms:
        """When the next timer of any record is due; 0 for none."""
        partitions = range(self._store.partitions)
        first = await self._store.together([("ZRANGE", keys.timers(p), 0, 0) for p in partitions])
        named = [(keys.timers(p), rows[0]) for p, rows in zip(partitions, first, strict=True) if rows]
        found = await self._store.together([("ZSCORE", name, member) for name, member in named])
        return int(min((float(due) for due in found if due is not None), default=0))
