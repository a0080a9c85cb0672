"""What is thrown away, and when. Nothing that matters lives in a TTL: a clock jump would delete it for good.

What the ledger holds of journals and settled messages goes after 48 hours; what it does not hold yet stays, however long it is
away. While memory is so short that nothing is taken in, or a broadcast waits for it, what it holds goes earlier, the oldest
first: a buyer's message is worth more than old history.
"""

from __future__ import annotations

from bot import keys
from bot.clock import DAY_MS, MINUTE_MS
from bot.events import Ms
from bot.store import SEEN_DAYS, Store
from bot.web import add_up

KEEP_MS = 2 * DAY_MS
LEAST_MS = 10 * MINUTE_MS
BEHIND_MS = MINUTE_MS  # a projection that is further behind than this may not know of every settled message
LONG_AWAY_DAYS = 400  # how far back the first round looks for days to forget
AT_ONCE = 500
SUM = b"gone"  # in the metrics: what processes that are gone had counted
FINAL = (b"sent", b"delivered", b"read", b"failed", b"skipped", b"in_doubt")


class Housekeeping:
    """Rounds over the owned partitions of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._forgotten: dict[int, int] = {}  # partition -> the day up to which its days are gone
        self._keep = KEEP_MS

    async def sweep(self, now: Ms) -> None:
        """The regular round."""
        for partition in list(self._store.fences):
            await self._forget_days(partition, now)
            await self._forget_history(partition, now, KEEP_MS)
        await self._forget_processes()

    async def make_room(self, now: Ms) -> None:
        """A round while memory is short: keeps half as long as the round before, but 10 minutes at least."""
        self._keep = max(self._keep // 2, LEAST_MS)
        for partition in list(self._store.fences):
            await self._forget_history(partition, now, self._keep)

    def has_room(self) -> None:
        """Memory is free again: the next shortage begins with 48 hours."""
        self._keep = KEEP_MS

    async def _forget_days(self, partition: int, now: Ms) -> None:
        oldest = now // DAY_MS - SEEN_DAYS  # a day more than is looked up: clocks differ a little at midnight
        start = self._forgotten.get(partition, oldest - LONG_AWAY_DAYS)
        stale = [name(partition, day) for name in (keys.seen, keys.provider_ids) for day in range(start, oldest)]
        if stale:
            await self._store.command("UNLINK", *stale)
        self._forgotten[partition] = oldest

    async def _forget_history(self, partition: int, now: Ms, keep: Ms) -> None:
        # Stream ids carry the server's real time; the virtual clock only ever runs ahead of it.
        seconds, _ = await self._store.command("TIME")
        real = int(seconds) * 1000
        mark = await self._store.command("HGET", keys.LEDGER_MARKS, partition)
        if not mark:
            return
        held, old_ms = mark.decode(), real - keep
        # The entry of the mark itself stays: it shows later on that store and ledger are of one piece.
        await self._store.command("XTRIM", keys.journal(partition), "MINID", min(held, f"{old_ms}-0", key=_place))
        waits = await self._store.command("XRANGE", keys.journal(partition), f"({held}", real - BEHIND_MS, "COUNT", 1)
        if not waits:
            await self._forget_messages(partition, now - keep)

    async def _forget_messages(self, partition: int, before: Ms) -> None:
        old = await self._store.command("ZRANGEBYSCORE", keys.messages(partition), "-inf", before, "LIMIT", 0, AT_ONCE)
        names = [keys.message(partition, id.decode()) for id in old]
        states = await self._store.together([("HGET", name, "s") for name in names])
        done = [i for i, state in enumerate(states) if state is None or state in FINAL]
        if done:
            await self._store.command("UNLINK", *(names[i] for i in done))
            await self._store.command("ZREM", keys.messages(partition), *(old[i] for i in done))

    async def _forget_processes(self) -> None:
        """What processes that are gone had told of themselves; what they had counted is kept as one sum."""
        if 0 not in self._store.fences:
            return  # one process does it for all
        alive = set(await self._store.command("ZRANGE", keys.PROCESSES, 0, -1))
        told = await self._store.command("HGETALL", keys.METRICS)
        gone = [name for name in told if name not in alive]
        if gone and gone != [SUM]:
            await self._store.tell(keys.METRICS, SUM, add_up([], [told[name].decode() for name in gone]))
            await self._store.command("HDEL", keys.METRICS, *(name for name in gone if name != SUM))
        stopped = set(await self._store.command("HKEYS", keys.CLOCK_SEEN)) - alive
        if stopped:
            await self._store.command("HDEL", keys.CLOCK_SEEN, *stopped)


def _place(id: str) -> tuple[int, int]:
    ms, _, number = id.partition("-")
    return int(ms), int(number)
