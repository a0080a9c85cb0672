"""A product is back: who asked to be told is told once, by an event to each record.

The turn that sees stock go from none to some leaves a mark in its partition (`bot.keys.restocked`), in the same commit.
A mark goes when everybody who waits was written to. Events may repeat, after a crash or by two processes: the record
knows whether it still waits, and reads the stock once more.
"""

from __future__ import annotations

import json

from bot import ids, keys
from bot.codec import dump_entry
from bot.events import Event, Ms, StaffAsked
from bot.queries import ERASED
from bot.store import Store

BATCH = 500


class Restocks:
    """Announces what came back, of the products in the partitions that this process owns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tell(self, now: Ms) -> int:
        """One round; answers how many events were appended."""
        owned = list(self._store.fences)
        marks = await self._store.together([("HLEN", keys.restocked(partition)) for partition in owned])
        return sum([await self._partition(p, now) for p, count in zip(owned, marks, strict=True) if count])

    async def _partition(self, partition: int, now: Ms) -> int:
        key = keys.restocked(partition)
        cursor, told = 0, 0
        while True:
            cursor, found = await self._store.command("HSCAN", key, cursor, "COUNT", BATCH)
            marks = {mark.decode(): skus.decode().split("\n") for mark, skus in found.items()}
            names = [keys.awaited(partition, mark.partition("\0")[0]) for mark in marks]
            waited = await self._store.together([("EXISTS", name) for name in names])
            for (mark, skus), waits in zip(marks.items(), waited, strict=True):
                told += await self._announce(partition, mark, skus, now) if waits else 0
            if marks:
                await self._store.command("HDEL", key, *marks)
            if int(cursor) == 0:
                return told

    async def _announce(self, partition: int, mark: str, skus: list[str], now: Ms) -> int:
        product = mark.partition("\0")[0]
        body = StaffAsked("stock_back", "engine", json.dumps({"product": product, "skus": skus}).encode())
        cursor, told = 0, 0
        while True:
            key = keys.awaited(partition, product)
            cursor, found = await self._store.command("HSCAN", key, cursor, "COUNT", BATCH)
            wishes = [name.decode().split("\0", 1) for name in found]
            homes = await self._homes({buyer for buyer, sku in wishes if not sku or sku in skus})
            events = [Event(f"back|{mark}|{home}", home, "", now, now, body) for home in homes]
            if events:
                await self._store.append([dump_entry(event) for event in events], lane="b")
            told += len(events)
            if int(cursor) == 0:
                return told

    async def _homes(self, buyers: set[str]) -> list[str]:
        """The records of some buyers; a merged one's leads on by itself."""
        known = [(ids.partition_in(buyer), buyer) for buyer in sorted(buyers)]
        wanted = [("HGET", keys.index(p), f"b:{buyer}") for p, buyer in known if p is not None]
        found = await self._store.together(wanted)
        return sorted({home.decode() for home in found if home and not home.startswith(ERASED)})
