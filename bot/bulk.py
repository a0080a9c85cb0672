"""What imports share: events by the lane of bulk work, and whether a gateway has taken them up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from bot import keys
from bot.codec import dump_entry
from bot.events import Event, Ms
from bot.store import Store

TOGETHER = 200
PATIENCE_S = 60.0


async def now_of(store: Store) -> Ms:
    """The gateway's time, as every process reads it: the sandbox's clock may be ahead."""
    return int(time.time() * 1000) + int(await store.command("GET", keys.CLOCK) or 0)


async def put_in(store: Store, events: Sequence[Event], progress: Callable[[int], None]) -> None:
    """Takes events in, durable when this returns; nobody's answer waits behind them. Raises StoreError."""
    for start in range(0, len(events), TOGETHER):
        part = events[start : start + TOGETHER]
        await store.append([dump_entry(event) for event in part], lane="b")
        progress(len(part))


async def handled(store: Store, *, patience_s: float = PATIENCE_S) -> bool:
    """Waits until what lies in the bulk lanes now has been handled. False: no gateway runs, or it stopped moving."""
    left = await _marks(store)
    best, since = sum(map(len, left.values())), time.monotonic()
    while left:
        if not await _alive(store) or time.monotonic() - since > patience_s:
            return False
        await asyncio.sleep(0.05)
        found = await store.together([("XRANGE", name, "-", last, "COUNT", 1000) for name, last in left.items()])
        left = {name: last for (name, last), waiting in zip(left.items(), found, strict=True) if waiting}
        waiting_now = sum(len(waiting) for waiting in found)
        if waiting_now != best:
            best, since = waiting_now, time.monotonic()
    return True


async def _marks(store: Store) -> dict[str, bytes]:
    names = [keys.bulk(p) for p in range(store.partitions)]
    found = await store.together([("XREVRANGE", name, "+", "-", "COUNT", 1) for name in names])
    return {name: last[0][0] for name, last in zip(names, found, strict=True) if last}


async def _alive(store: Store) -> bool:
    seconds, _ = await store.command("TIME")
    return bool(await store.command("ZCOUNT", keys.PROCESSES, int(seconds) * 1000, "+inf"))
