"""Asking something of a record from outside its turns, and waiting for the answer to be there to read."""

from __future__ import annotations

import asyncio

from bot.clock import SystemClock
from bot.events import Event
from bot.store import Store

DONE_WITHIN_S = 2.0


async def until_done(store: Store, clock: SystemClock, event: Event) -> bool:
    """Waits until the turn of an event that was taken in is done, so that its asker can read what became of it.

    Two seconds at most: what is taken in is safe, and a turn that waits behind others comes later. Raises StoreError.
    """
    end, pause = clock.monotonic() + DONE_WITHIN_S, 0.003
    while not (await store.seen([event], now=clock.now()))[0]:
        if clock.monotonic() >= end:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return True
