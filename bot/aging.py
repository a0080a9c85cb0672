"""What is older than the shop keeps it goes from Redis, and silent buyers go from everywhere.

The process that owns partition 0 walks over it, a page at a time with pauses, and begins anew a few hours after the end: who
fell silent is told so in a turn of its own, which looks again and erases (`bot.keeping`, `bot.erasing`); orders forget their
buyers in their turns, too; carts, parcels of their own, closed tasks and dead letters are deleted. Every step may be broken off
and done again. The ledger names the candidates and forgets its own part by itself (`ledger.retention`).
It does not know everybody: `bot.everybody`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import structlog

from bot import keeping, keys
from bot.clock import HOUR_MS, SystemClock
from bot.errors import LedgerError, NotYetError
from bot.events import Ms
from bot.everybody import Everybody
from bot.keeping import Before, Terms
from bot.parting import UNDER_WAY, OldPast, Parting, readable
from bot.records import Task
from bot.rounds import Rounds
from bot.store import Store

PAGE = 100
SCANNED = 1_000  # keys looked at by one call
AGAIN_MS = 6 * HOUR_MS
GROUP = 8  # partitions in a step
CLOSED = ("done", "expired")

log = structlog.get_logger()


class Aging:
    """One per process; one of them works."""

    def __init__(self, store: Store, clock: SystemClock, past: OldPast, terms: Terms) -> None:
        self._store = store
        self._clock = clock
        self._past = past
        self._terms = terms
        self._parting = Parting(store, past)
        self._everybody = Everybody(store, past, self._parting)
        self.rounds = Rounds(clock, AGAIN_MS)

    async def advance(self) -> None:
        """One page. Raises StoreError."""
        if not self._terms.keep or 0 not in self._store.fences:
            self.rounds.leave_off()
            return
        try:
            await self.rounds.step(self._round)
        except NotYetError:
            pass  # at the very first start the ledger's tables are only being made
        except LedgerError as error:
            log.info("nothing goes by age now", detail=str(error))

    async def _round(self, now: Ms) -> AsyncIterator[None]:
        old = keeping.before(self._terms, now)
        parts = (
            self._buyers(old, now),
            self._orders(old.keep),
            self._records(old.keep),
            self._everybody.walk(old, now),
        )
        for part in parts:
            async for _ in part:
                yield
        for partition in range(self._store.partitions):
            await self._tasks(partition, old.keep)
            await self._store.command("XTRIM", keys.dead(partition), "MINID", f"{old.keep}-0")
            if partition % GROUP == 0:
                yield

    async def _buyers(self, old: Before, now: Ms) -> AsyncIterator[None]:
        after, parting = "", self._parting
        while page := await self._past.silent(old.keep, now, after, UNDER_WAY):
            after = page[-1][0]
            while await parting.are_busy():
                yield
            await parting.let_go(await parting.silent([home for _, home in page], old, now), old, now)
            yield

    async def _orders(self, old: Ms) -> AsyncIterator[None]:
        after = ""
        while page := await self._past.old_orders(old, after, PAGE):
            after = page[-1]
            found = await self._parting.read(page)
            named = [subject for subject in page if keeping.names_somebody(found.get(subject))]
            await self._parting.forget(named, self._clock.now())
            yield

    async def _records(self, old: Ms) -> AsyncIterator[None]:
        """Carts, and parcels that are known apart from their orders."""
        for kind in ("cart", "parcel"):
            async for names in self._store.scan(f"rec:*:{kind}:*", SCANNED):
                bodies = await self._store.together([("GET", name) for name in names])
                for name, body in zip(names, bodies, strict=True):
                    if body and keeping.is_over(readable(body), old):
                        await self._store.scripts.run("erase_value", [name.decode()], [body])
                yield

    async def _tasks(self, partition: int, old: Ms) -> None:
        """Closed ones that the ledger does not hold any more."""
        stored = await self._store.command("HVALS", keys.tasks(partition))
        tasks = [msgspec.msgpack.decode(body, type=Task) for body in stored]
        closed = [task.id for task in tasks if task.state in CLOSED and task.created_at < old]
        known = await self._past.known_tasks(closed) if closed else set()
        if gone := [id for id in closed if id not in known]:
            await self._store.command("HDEL", keys.tasks(partition), *gone)
