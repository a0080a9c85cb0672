"""The planner of broadcasts: page by page from the frozen audience into the bulk lanes of the partitions that this process owns.

A page and the cursor behind it are one script, fenced by the partition's lease: a crash leaves whole pages. Memory stays
flat: a partition gets its next page when its lane and its queues have room for it, and the store has: long before memory
is so short that buyers' messages would be refused.

Of a cancelled one the rest goes the same way, page by page, into the journal: skipped, without a turn or a message of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import structlog

from bot import keys
from bot.broadcast_turns import variant_of
from bot.broadcasting import Broadcasts
from bot.broadcasts import Audiences, Broadcast, Recipient
from bot.clock import SystemClock
from bot.codec import dump_event
from bot.errors import LedgerError, StoreFullError
from bot.events import BroadcastDue, Event
from bot.journal import UnplannedEntry, dump
from bot.store import Store

PAGE = 200
MOST_IN_LANE = 400  # entries of a partition's bulk lane, of all broadcasts and timers
RECIPIENT_BYTES = 4096  # what a recipient comes to in the store, at most, until history makes room
PER_ENTRY = 10  # recipients of a cancelled broadcast in one entry of the journal: about the rows that a turn leads to
MOST_OPEN = 4000  # messages of one broadcast queued in a partition
ROUND_S = 1.0
BURST_S = 0.5
TOGETHER = 16  # pages at once: the server writes what they say to disk together

log = structlog.get_logger()


class Planner:
    """One per process."""

    def __init__(self, *, store: Store, broadcasts: Broadcasts, audiences: Audiences, clock: SystemClock) -> None:
        self._store = store
        self._broadcasts = broadcasts
        self._audiences = audiences
        self._clock = clock
        self._ended: set[tuple[str, int]] = set()  # broadcast and partition whose part is planned
        self._allowed: dict[str, int] = {}  # what a broadcast's rate has given and is not planned yet
        self._random = random.SystemRandom()
        self.short_of_memory = False
        self._ahead = MOST_IN_LANE
        self.held_up = False  # something waits for memory

    def heed_memory(self, *, short: bool, room: int) -> None:
        """`short`: planning waits, and history makes room. `room`: bytes that what is planned by then may take, 0 for no limit.

        Half of it is for what is on its way while nobody has looked yet.
        """
        self.short_of_memory = short
        fits = room // 2 // RECIPIENT_BYTES // self._store.partitions
        self._ahead = min(MOST_IN_LANE, max(2, fits)) if room else MOST_IN_LANE

    async def advance(self) -> None:
        """Plans while there is room and something to plan, a second at most. Raises StoreError."""
        end = self._clock.monotonic() + ROUND_S
        going = [b for b in self._broadcasts.live.values() if b.state in ("sending", "cancelled") and b.frozen >= 0]
        self._ended = {(id, p) for id, p in self._ended if id in self._broadcasts.live}
        self.held_up = bool(going) and self.short_of_memory
        while going and not self.short_of_memory and self._clock.monotonic() < end:
            moved = 0
            for broadcast in going:
                step = self._pass_over if broadcast.state == "cancelled" else self._round
                moved += await step(broadcast)
            if not moved:
                return

    async def _round(self, broadcast: Broadcast) -> int:
        """A page for each partition that has room; answers how many recipients were planned."""
        partitions = [p for p in self._store.fences if (broadcast.id, p) not in self._ended]
        if not partitions:
            return 0
        self._random.shuffle(partitions)  # with a low rate the first would always be served first
        wanted: list[tuple[str, ...]] = [("XLEN", keys.bulk(p)) for p in partitions]
        wanted += [("HMGET", keys.broadcast(p, broadcast.id), "cur", "end", "open") for p in partitions]
        found = await self._store.together(wanted)
        roomy, size = [], min(PAGE, self._ahead // 2)
        for p, waiting, (cursor, ended, opened) in zip(
            partitions, found[: len(partitions)], found[len(partitions) :], strict=True
        ):
            if ended:
                self._ended.add((broadcast.id, p))
            elif int(waiting) <= self._ahead - size and int(opened or 0) < MOST_OPEN:
                roomy.append((p, (cursor or b"").decode()))
        moved = 0
        for start in range(0, len(roomy), TOGETHER):
            some = roomy[start : start + TOGETHER]
            pages = await asyncio.gather(*(self._page(broadcast, *one, size) for one in some))
            moved += sum(pages)
        return moved

    async def _take(self, broadcast: Broadcast) -> int:
        """How many may be planned now by the broadcast's rate over all processes; what is not used is put back."""
        if not broadcast.rate_per_second:
            return PAGE
        left = self._allowed.pop(broadcast.id, 0)
        if left <= 0:
            left, _ = await self._store.allowance(broadcast.id, PAGE, broadcast.rate_per_second, burst_s=BURST_S)
        return left

    async def _page(self, broadcast: Broadcast, partition: int, cursor: str, size: int) -> int:
        """Plans a page, of `size` at most; answers how many recipients it held."""
        count, given = 0, await self._take(broadcast)
        try:
            if most := min(given, size):
                count = await self._plan(broadcast, partition, cursor, most)
        except LedgerError as error:
            log.warning("audience not read", broadcast=broadcast.id, detail=str(error))
        except StoreFullError:
            log.warning("memory is full, planning waits", broadcast=broadcast.id)
        finally:
            if broadcast.rate_per_second and given > count:
                self._allowed[broadcast.id] = self._allowed.get(broadcast.id, 0) + given - count
        return count

    async def _plan(self, broadcast: Broadcast, partition: int, cursor: str, most: int) -> int:
        recipients = await self._audiences.page(broadcast.id, partition, cursor, most)
        last = len(recipients) < most
        result = await self._store.plan(
            partition,
            broadcast.id,
            cursor,
            recipients[-1].buyer if recipients else cursor,
            self._entries(broadcast, recipients),
            last=last,
        )
        if result != 1:  # another owner, another cursor, or stopped: the next round reads it anew
            return 0
        if last:
            self._ended.add((broadcast.id, partition))
        return len(recipients)

    def _entries(self, broadcast: Broadcast, recipients: Sequence[Recipient]) -> list[tuple[str, bytes]]:
        now = self._clock.now()
        return [
            (
                one.home,
                dump_event(Event("", one.home, "", now, now, BroadcastDue(broadcast.id, one.buyer, one.variant))),
            )
            for one in recipients
        ]

    # --- cancelled --------------------------------------------------------------------------------------------------

    async def _pass_over(self, broadcast: Broadcast) -> int:
        """A page for some of the partitions whose rest is not told yet; answers how many recipients that were."""
        partitions = [p for p in self._store.fences if (broadcast.id, p) not in self._ended][:TOGETHER]
        wanted = [("HMGET", keys.broadcast(p, broadcast.id), "cur", "end") for p in partitions]
        places = await self._store.together(wanted) if wanted else []
        for p, (_, ended) in zip(partitions, places, strict=True):
            if ended:
                self._ended.add((broadcast.id, p))
        left = [(p, (cur or b"").decode()) for p, (cur, ended) in zip(partitions, places, strict=True) if not ended]
        return sum(await asyncio.gather(*(self._skip(broadcast, p, cursor) for p, cursor in left)))

    async def _skip(self, broadcast: Broadcast, partition: int, cursor: str) -> int:
        try:
            return await self._tell_rest(broadcast, partition, cursor)
        except LedgerError as error:
            log.warning("audience not read", broadcast=broadcast.id, detail=str(error))
        except StoreFullError:
            log.warning("memory is full, the rest of what was cancelled is told later", broadcast=broadcast.id)
        return 0

    async def _tell_rest(self, broadcast: Broadcast, partition: int, cursor: str) -> int:
        recipients = await self._audiences.page(broadcast.id, partition, cursor, PAGE)
        last = len(recipients) < PAGE
        if last and (now := await self._broadcasts.find(broadcast.id)) is not None and now.done_at:
            return 0  # an older release had done with it, and threw the audience away
        variants: Counter[str] = Counter()
        for one in recipients:
            chosen = variant_of(broadcast, one.variant, one.buyer)
            variants[chosen.name if chosen else one.variant] += 1
        at, buyers = self._clock.now(), [one.buyer for one in recipients]
        entries = [
            dump(UnplannedEntry(at, broadcast.id, broadcast.purpose, buyers[start : start + PER_ENTRY]))
            for start in range(0, len(buyers), PER_ENTRY)
        ]
        following = recipients[-1].buyer if recipients else cursor
        result = await self._store.pass_over(partition, broadcast.id, cursor, following, entries, variants, last=last)
        if result != 1:  # another owner, another cursor, or not told of the cancel yet
            return 0
        if last:
            self._ended.add((broadcast.id, partition))
        return max(1, len(recipients))
