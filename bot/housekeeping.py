"""What is thrown away, and when. Nothing that matters lives in a TTL: a clock jump would delete it for good.

Until the ledger keeps the history, journals and settled messages go after 7 days; `serve` says so.
"""

from __future__ import annotations

from bot import keys
from bot.clock import DAY_MS
from bot.events import Ms
from bot.store import SEEN_DAYS, Store

KEEP_DAYS = 7
FINAL = (b"sent", b"delivered", b"read", b"failed", b"skipped", b"in_doubt")


async def sweep(store: Store, now: Ms) -> None:
    """One round over the owned partitions."""
    for partition in list(store.fences):
        await _forget_days(store, partition, now)
        await _trim_journal(store, partition)
        await _forget_messages(store, partition, now)


async def _forget_days(store: Store, partition: int, now: Ms) -> None:
    today = now // DAY_MS
    days = range(today - SEEN_DAYS - 7, today - SEEN_DAYS)
    stale = [name(partition, day) for name in (keys.seen, keys.provider_ids) for day in days]
    await store.command("UNLINK", *stale)


async def _trim_journal(store: Store, partition: int) -> None:
    # Stream ids carry the server's real time; the virtual clock only ever runs ahead of it.
    seconds, _ = await store.command("TIME")
    limit = int(seconds) * 1000 - KEEP_DAYS * DAY_MS
    await store.command("XTRIM", keys.journal(partition), "MINID", limit)


async def _forget_messages(store: Store, partition: int, now: Ms) -> None:
    limit = now - KEEP_DAYS * DAY_MS
    old = await store.command("ZRANGEBYSCORE", keys.messages(partition), "-inf", limit, "LIMIT", 0, 500)
    for id in old:
        name = keys.message(partition, id.decode())
        state = await store.command("HGET", name, "s")
        if state is None or state in FINAL:
            await store.command("UNLINK", name)
            await store.command("ZREM", keys.messages(partition), id)
