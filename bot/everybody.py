"""All buyers by age, once a day: who fell silent before the ledger was adopted never came into a journal that it has read.

By the index of each partition, some hundred records a second, whatever the ledger says of them; then the orders that it never
heard of. Where a pass has come to is kept by the partition: a cursor within one would mean something else after the server was
started anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from bot import keeping, keys
from bot.clock import DAY_MS
from bot.events import Ms
from bot.keeping import Before
from bot.parting import UNDER_WAY, OldPast, Parting
from bot.queries import ERASED
from bot.records import Order
from bot.store import Store

PAGE = 100
SCANNED = 1_000  # keys looked at by one call
TOGETHER = 32  # partitions without much in them in a step
EVERYBODY_MS: Ms = DAY_MS


class Everybody:
    """The pass; its steps are taken by `bot.aging`."""

    def __init__(self, store: Store, past: OldPast, parting: Parting) -> None:
        self._store = store
        self._past = past
        self._parting = parting

    async def walk(self, old: Before, now: Ms) -> AsyncIterator[None]:
        """What is left of the day's pass; nothing where it is done. Raises StoreError, LedgerError."""
        began, following = [int(part or 0) for part in await self._store.command("HMGET", keys.AGING, "began", "next")]
        if following > self._store.partitions or not began:
            if began and now - began < EVERYBODY_MS:
                return
            began, following = now, 0
        for partition in range(following, self._store.partitions):
            async for _ in self._buyers(partition, old, now):
                yield
            await self._store.tell_all(keys.AGING, {"began": began, "next": partition + 1})
            if partition % TOGETHER == TOGETHER - 1:
                yield
        async for names in self._store.scan("rec:*:order:*", SCANNED):
            for start in range(0, len(names), PAGE):
                await self._orders(
                    [name.decode().split(":", 2)[2] for name in names[start : start + PAGE]], old.keep, now
                )
                yield
        await self._store.tell_all(keys.AGING, {"began": began, "next": self._store.partitions + 1})

    async def _buyers(self, partition: int, old: Before, now: Ms) -> AsyncIterator[None]:
        cursor, more = 0, True
        while more:
            page = await self._store.command("HSCAN", keys.index(partition), cursor, "MATCH", "b:*", "COUNT", PAGE)
            cursor, homes = int(page[0]), [home.decode() for home in page[1].values() if not home.startswith(ERASED)]
            silent = await self._parting.silent(homes, old, now)
            for start in range(0, len(silent), UNDER_WAY):
                while await self._parting.are_busy():
                    yield
                await self._parting.let_go(silent[start : start + UNDER_WAY], old, now)
                yield
            if more := cursor != 0:
                yield

    async def _orders(self, subjects: Sequence[str], old: Ms, now: Ms) -> None:
        """Those that the ledger holds are its business: it knows the last news better."""
        found = await self._parting.read(subjects)
        named = [
            subject
            for subject, one in found.items()
            if isinstance(one, Order) and keeping.names_somebody(one) and keeping.last_news(one) < old
        ]
        heard = await self._past.known_orders(named) if named else set()
        await self._parting.forget([one for one in named if one not in heard], now)
