"""A campaign opens: those who asked to be told of the next coupons are told once, by an event to each record.

Who waits is in the index of each partition (`w:coupons:<buyer id>`); that a campaign with its stock was announced there,
too (`n:<campaign>:<stock>`). Events may repeat, after a crash or by two processes: the record knows whether it still waits.
"""

from __future__ import annotations

import json

from bot import keys
from bot.codec import dump_entry
from bot.coupons import Coupons
from bot.events import Event, Ms, StaffAsked
from bot.store import Store

BATCH = 500


class Openings:
    """Announces campaigns that became claimable, in the partitions that this process owns."""

    def __init__(self, store: Store, coupons: Coupons) -> None:
        self._store = store
        self._coupons = coupons
        self._known: set[tuple[int, str]] = set()

    async def tell(self, now: Ms) -> int:
        """One round; answers how many events were appended."""
        told = 0
        for campaign in self._coupons.views():
            if not campaign.claimable(now):
                continue
            mark = f"n:{campaign.key}:{campaign.stock}"
            for partition in list(self._store.fences):
                if (partition, mark) not in self._known:
                    told += await self._announce(partition, campaign.key, mark, now)
                    self._known.add((partition, mark))
        return told

    async def _announce(self, partition: int, key: str, mark: str, now: Ms) -> int:
        index = keys.index(partition)
        if await self._store.command("HEXISTS", index, mark):
            return 0
        cursor, told = 0, 0
        while True:
            cursor, found = await self._store.command("HSCAN", index, cursor, "MATCH", "w:coupons:*", "COUNT", BATCH)
            homes = [home.decode() for home in found.values()]
            body = StaffAsked("coupons_open", "engine", json.dumps({"campaign": key}).encode())
            events = [Event(f"open|{mark}|{home}", home, "", now, now, body) for home in homes]
            if events:
                await self._store.append([dump_entry(event) for event in events], lane="b")
            told += len(events)
            if int(cursor) == 0:
                break
        await self._store.command("HSET", index, mark, now)
        return told
