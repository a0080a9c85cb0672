"""Which partitions this process owns: takes free ones up to its share, renews them, gives back what is above it."""

from __future__ import annotations

import math
import random

from bot import keys
from bot.clock import SystemClock
from bot.metrics import OWNED
from bot.store import Store


class Leases:
    """Fenced leases by the server's clock. A partition is served only while its lease is surely ours."""

    def __init__(self, store: Store, clock: SystemClock, *, ttl_s: float, expected: int = 1) -> None:
        self._store = store
        self._clock = clock
        self._ttl_ms = int(ttl_s * 1000)
        self._certain_s = ttl_s * 0.8
        self._expected = expected
        self._sure_until = 0.0
        self._lapsing: dict[
            int, float
        ] = {}  # on a cluster: held ones whose server did not answer -> until when they are sure
        self._random = random.SystemRandom()
        self.suspects: dict[int, tuple[str, str]] = {}  # partition -> ids up to which a dead owner had taken work
        self.hungry = True  # fewer than the share: look again soon
        self.fresh: set[int] = set()  # taken since the worker last looked

    @property
    def sure(self) -> bool:
        """Whether the leases hold for certain: checked just before a provider call."""
        return self._clock.monotonic() < self._sure_until

    def sure_of(self, partition: int) -> bool:
        """Whether this partition's lease holds for certain."""
        return self.sure and self._clock.monotonic() < self._lapsing.get(partition, math.inf)

    def lasting(self, since: float) -> float:
        """Until when (monotonic seconds) a lease, or a claim made under one, that was asked for at `since` holds for certain."""
        return since + self._certain_s

    async def renew(self) -> None:
        """One round: heartbeat, keep what is ours, take what is free, give back what is above the share."""
        store = self._store
        started = self._clock.monotonic()
        share = await self._share()
        owned = list(store.fences)
        self._random.shuffle(owned)
        give = owned[share:]
        wishes: dict[int, str] = dict.fromkeys(owned[:share], "k")
        wishes.update(dict.fromkeys(give, "x"))
        room = share - len(owned) + len(give)
        if room > 0:
            others = [p for p in range(store.partitions) if p not in wishes]
            self._random.shuffle(others)
            wishes.update(dict.fromkeys(others, "k"))
        for p in give:
            self._drop(p)
        # A kept lease that had run out counts as taken anew: leave room for those.
        answers = await store.lease(wishes, self._ttl_ms, max(room, 0) + len(owned))
        for p, (fence, inbox, bulk) in answers.items():
            if wishes[p] == "x":
                continue
            if fence == 0:
                self._drop(p)
            elif store.fences.get(p) != fence:
                store.fences[p] = fence
                store.cursors[p] = ["0", "0"]
                if inbox not in ("", "0") or bulk not in ("", "0"):
                    self.suspects[p] = (inbox or "0", bulk or "0")
                self.fresh.add(p)
        for p in answers:
            self._lapsing.pop(p, None)
        for p in owned[:share]:
            if p not in answers and started >= self._lapsing.setdefault(p, self._sure_until):
                self._drop(p)
        self._sure_until = self.lasting(started)
        self.hungry = len(store.fences) < share
        OWNED.set(len(store.fences))

    async def _share(self) -> int:
        store = self._store
        alive = max(await store.beat(self._ttl_ms), 1)
        return -(-store.partitions // max(alive, self._expected if not store.fences else 1))

    def _drop(self, partition: int) -> None:
        self._store.fences.pop(partition, None)
        self._store.cursors.pop(partition, None)
        self._lapsing.pop(partition, None)
        self.suspects.pop(partition, None)
        self.fresh.discard(partition)

    async def release(self) -> None:
        """Gives everything back: a clean stop, so that others need not wait for the leases to end."""
        owned = list(self._store.fences)
        self._sure_until = 0.0
        for p in owned:
            self._drop(p)
        await self._store.lease(dict.fromkeys(owned, "x"), self._ttl_ms)
        await self._store.command("ZREM", keys.PROCESSES, self._store.owner)


async def release_owner(store: Store, owner: str) -> None:
    """Frees the partitions of a process that is known to be dead; its marks stay for the next owner to be careful."""
    for name in (*map(keys.lease, range(store.partitions)), keys.LEDGER_LEASE):
        if (found := await store.command("HGET", name, "o")) and found.decode() == owner:
            await store.tell(name, "u", "0")
    await store.command("ZREM", keys.PROCESSES, owner)
