"""What is older than the shop keeps it goes from Redis, and silent buyers go from everywhere.

The process that owns partition 0 walks over it, a page at a time with pauses, and begins anew a few hours after the end: who
fell silent is told so in a turn of its own, which looks again and erases (`bot.keeping`, `bot.erasing`); orders forget their
buyers in their turns, too; carts, parcels of their own, closed tasks and dead letters are deleted. Every step may be broken off
and done again. The ledger names the candidates and forgets its own part by itself (`ledger.retention`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from typing import Protocol

import msgspec
import structlog

from bot import keeping, keys
from bot.clock import HOUR_MS, MINUTE_MS, SystemClock
from bot.codec import CodecError, dump_entry, load_record
from bot.errors import LedgerError, NotYetError, StoreError
from bot.events import Event, Ms, StaffAsked
from bot.keeping import Before, Terms
from bot.records import Buyer, Record, Task
from bot.store import Store

PAGE = 100
SCANNED = 1_000  # keys looked at by one call
AGAIN_MS = 6 * HOUR_MS
GROUP = 8  # partitions in a step
UNDER_WAY = 20  # buyers who are being erased at a time
CLOSED = ("done", "expired")
BY = "retention"

log = structlog.get_logger()


class OldPast(Protocol):
    """What the ledger knows of age. Raises LedgerError where it is away: the walk begins again later."""

    async def silent(self, before: Ms, now: Ms, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids and homes of buyers who may have to go, in the order of their ids from just after one."""
        ...

    async def old_orders(self, before: Ms, after: str, limit: int) -> list[str]:
        """Subjects of orders last told of before then, in their order from just after one."""
        ...

    async def known_tasks(self, names: Collection[str]) -> set[str]:
        """Those of these tasks that are still held."""
        ...


class Aging:
    """One per process; one of them works."""

    def __init__(self, store: Store, clock: SystemClock, past: OldPast, terms: Terms) -> None:
        self._store = store
        self._clock = clock
        self._past = past
        self._terms = terms
        self._walk: AsyncIterator[None] | None = None
        self._next_at: Ms = 0
        self._began_at: Ms = 0
        self.done_at: Ms = 0  # when the last round that came to its end began

    async def advance(self) -> None:
        """One page. Raises StoreError."""
        now = self._clock.now()
        if not self._terms.keep or 0 not in self._store.fences:
            self._walk = None
            return
        if self._walk is None:
            if now < self._next_at:
                return
            self._walk, self._began_at = self._round(keeping.before(self._terms, now), now), now
            self._next_at = now + AGAIN_MS
        try:
            await anext(self._walk)
        except StopAsyncIteration:
            self._walk, self.done_at = None, self._began_at
        except (LedgerError, StoreError) as error:  # what broke off is no round
            self._walk, self._next_at = None, now + MINUTE_MS
            if isinstance(error, StoreError):
                raise
            if not isinstance(error, NotYetError):  # at the very first start its tables are only being made
                log.info("nothing goes by age now", detail=str(error))

    async def _round(self, old: Before, now: Ms) -> AsyncIterator[None]:
        for part in (self._buyers(old, now), self._orders(old.keep), self._records(old.keep)):
            async for _ in part:
                yield
        for partition in range(self._store.partitions):
            await self._tasks(partition, old.keep)
            await self._store.command("XTRIM", keys.dead(partition), "MINID", f"{old.keep}-0")
            if partition % GROUP == 0:
                yield

    async def _buyers(self, old: Before, now: Ms) -> AsyncIterator[None]:
        after = ""
        while page := await self._past.silent(old.keep, now, after, UNDER_WAY):
            after = page[-1][0]
            while await self._store.command("HLEN", keys.ERASING) >= UNDER_WAY:
                yield  # those before are not gone yet
            found = await self._store.records(home for _, home in page)
            data = json.dumps({"before": old.keep, "evidence_until": old.evidence}).encode()
            gone = [
                home
                for _, home in page
                if isinstance(buyer := found.get(home), Buyer) and keeping.may_go(buyer, old.keep, now)
            ]
            await self._ask(gone, StaffAsked("age", BY, data), now)
            yield

    async def _orders(self, old: Ms) -> AsyncIterator[None]:
        after = ""
        while page := await self._past.old_orders(old, after, PAGE):
            after = page[-1]
            found = await self._store.records(page)
            named = [subject for subject in page if keeping.names_somebody(found.get(subject))]
            await self._ask(named, StaffAsked("forget", BY), self._clock.now())
            yield

    async def _ask(self, homes: Collection[str], body: StaffAsked, now: Ms) -> None:
        if homes:
            await self._store.append([dump_entry(Event("", home, "", now, now, body)) for home in homes], lane="b")

    async def _records(self, old: Ms) -> AsyncIterator[None]:
        """Carts, and parcels that are known apart from their orders."""
        for kind in ("cart", "parcel"):
            async for names in self._store.scan(f"rec:*:{kind}:*", SCANNED):
                bodies = await self._store.together([("GET", name) for name in names])
                for name, body in zip(names, bodies, strict=True):
                    if body and keeping.is_over(_record(body), old):
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


def _record(body: bytes) -> Record | None:
    try:
        return load_record(body)
    except CodecError:
        return None  # of a newer release
