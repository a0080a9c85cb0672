"""Counters of broadcasts that have long been over: from a hash in each partition into the broadcast's own sums.

A round looks at each of them and takes at most one step of the way: the counters are sealed (`broadcast_seal`), each
partition's under a name of its own; what is sealed is taken into the sums together with those names; what the sums name is
deleted; the names are forgotten once nothing bears them. Every step follows from what lies there, may be broken off and done
again, and is hours before the next one: a server that failed over and forgot one's last moment does not meet the other half.
What is told after that (a receipt that was days late, a dead letter replayed) counts from nothing in a hash again, and goes the
same way. The process that owns partition 0 does it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog
from msgspec import structs

from bot import keys
from bot.broadcast_counts import sealed_in, taken
from bot.broadcasting import HOME, Broadcasts
from bot.broadcasts import Audiences, Broadcast
from bot.clock import DAY_MS, HOUR_MS, SystemClock
from bot.errors import LedgerError
from bot.events import Ms
from bot.rounds import Rounds
from bot.store import Store

OVER_MS: Ms = 30 * DAY_MS
"""So long after its end a broadcast's counters are taken together: what a provider reports comes within days."""
AGAIN_MS: Ms = 6 * HOUR_MS
FIRST_S = 600.0  # of a process: the releases of a rolling upgrade read what lies there alike
Counters = Sequence[Mapping[bytes, bytes]]

log = structlog.get_logger()


class Folding:
    """One per process; one of them works."""

    def __init__(
        self,
        *,
        store: Store,
        broadcasts: Broadcasts,
        audiences: Audiences,
        clock: SystemClock,
        first_s: float = FIRST_S,
    ) -> None:
        self._store = store
        self._broadcasts = broadcasts
        self._audiences = audiences
        self._clock = clock
        self._begins = clock.monotonic() + first_s
        self.rounds = Rounds(clock, AGAIN_MS)

    async def advance(self) -> None:
        """One broadcast. Raises StoreError."""
        if HOME not in self._store.fences or self._clock.monotonic() < self._begins:
            self.rounds.leave_off()
            return
        await self.rounds.step(self._round)

    async def _round(self, now: Ms) -> AsyncIterator[None]:
        for broadcast in await self._broadcasts.list():
            if 0 < broadcast.done_at < now - OVER_MS:
                await self.fold(broadcast)
                yield

    async def fold(self, broadcast: Broadcast) -> None:
        """The next step with one that is over. Raises StoreError."""
        wanted = [("EXISTS", keys.broadcast(p, broadcast.id)) for p in range(self._store.partitions)]
        if not broadcast.taken_in and not any(await self._store.together(wanted)):
            return
        found = await self._broadcasts.counters(broadcast.id)
        names = {p: name for p, one in enumerate(found) if (name := sealed_in(one)[0])}
        done = {p: name for p, name in names.items() if broadcast.taken_in.get(p) == name}
        loose = [p for p, one in enumerate(found) if one and b"sealed" not in one]
        if done:
            await self._each("broadcast_unseal", broadcast.id, done)
        elif broadcast.taken_in:
            await self._broadcasts.keep_sums(structs.replace(broadcast, taken_in={}))
        elif loose:
            await self._clear(broadcast.id)
            await self._each("broadcast_seal", broadcast.id, {p: secrets.token_hex(4) for p in loose})
        elif names:
            await self._broadcasts.keep_sums(taken(broadcast, found))

    async def _each(self, script: str, id: str, names: Mapping[int, str]) -> None:
        """What a server of a cluster that is away misses comes in the next round."""
        await self._store.scripts.each(script, [([keys.broadcast(p, id)], [name]) for p, name in names.items()])

    async def _clear(self, id: str) -> None:
        """What is left where a process died between a broadcast's end and its clearing."""
        await self._store.together([("UNLINK", keys.parked(p, id)) for p in range(self._store.partitions)])
        try:
            await self._audiences.forget(id)
        except LedgerError:
            log.warning("audience not thrown away", broadcast=id)
