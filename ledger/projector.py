"""The projector: one process at a time, over all machines, copies the journals into the ledger and derives its tables.

It runs beside the gateway, so that the loops that serve buyers are not slowed. Where the ledger is away, is of another
installation, or does not fit the store, it says so once and looks again: journals wait in Redis, messages go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import structlog
import uvloop
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from sqlalchemy import URL

from bot.errors import LedgerError, StoreError
from bot.events import Ms
from bot.keeping import Terms
from bot.store import Store
from ledger import batch, epoch, rebuild, schema
from ledger.batch import LostError
from ledger.database import open_engine, reading, shown
from ledger.derive import RULES
from ledger.facts import DERIVED, REBUILD, all_facts
from ledger.feed import Feed, Raw
from ledger.retention import Retention
from ledger.scores import Scores

PAGE = 256  # entries of one partition in a batch
GROUP = 16  # partitions in a batch: a transaction is a few MB at most
IDLE_S = 0.2
RETRY_S = 2.0
TELL_S = 1.0
NEVER = Terms()

log = structlog.get_logger()


class Meters:
    """What the projector counts; `/metrics` shows it, with the lag as the gateway sees it."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.rows = Counter("touchpoint_ledger_rows", "Journal entries projected", registry=registry)
        self.unreadable = Counter(
            "touchpoint_ledger_unreadable", "Entries kept raw: this release cannot read them", registry=registry
        )
        self.trouble = Counter(
            "touchpoint_ledger_trouble", "Times that the ledger could not take a batch", registry=registry
        )
        self.delay = Histogram(
            "touchpoint_ledger_delay_seconds",
            "From the oldest entry of a page to the ledger",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
            registry=registry,
        )


class Projector:
    """Runs until `stop`; several may run, one works."""

    def __init__(
        self, store: Store, url: URL, owner: str, *, currency: str, terms: Terms = NEVER, lease_ms: int = 10_000
    ) -> None:
        self._feed = Feed(store, owner, lease_ms=lease_ms)
        self._engine = open_engine(url, writer=True)
        self._currency = currency
        self._lease_s = lease_ms / 1000
        self._stop = asyncio.Event()
        self._epoch = ""
        self._positions: dict[int, str] = {}
        self._tops: dict[int, Ms] = {}
        self._held_until = 0.0
        self._look = False
        self._told_at = 0.0
        self._trouble = ""
        self._seconds = time.monotonic
        self._scores = Scores(self._engine, store.partitions)
        self.retention = Retention(self._engine, store.partitions, terms)
        self.meters = Meters()
        self.projected = 0  # entries, since the start

    def stop(self) -> None:
        """Ends the loop after the batch under way."""
        self._stop.set()

    async def run(self) -> None:
        """Projects until it is stopped. Never raises for a store or a ledger that is away or refused."""
        try:
            await self._loop()
        finally:
            await self._give_way()
            await self._engine.dispose()

    async def _loop(self) -> None:
        ready = False
        while not self._stop.is_set():
            try:
                if not await self._hold():
                    ready = False
                    await self._pause(RETRY_S / 2)
                    continue
                if not ready:
                    await self._prepare()
                    ready = True
                await self._still_fits()
                busy = await self.advance()
                await self._tell()
                if not busy and not await self._aside():
                    await self._pause(IDLE_S)
            except LostError:
                ready = False
            except (LedgerError, StoreError) as error:
                ready = False
                await self._suffer(error)
                await self._give_way()
                await self._pause(RETRY_S)

    async def _give_way(self) -> None:
        """Another process may reach the ledger, or have the right one: it should not wait for this one's lease to end."""
        self._held_until = 0.0
        with contextlib.suppress(StoreError):
            await self._feed.release()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _hold(self) -> bool:
        now = self._seconds()
        if now < self._held_until:
            return True
        held = await self._feed.hold()
        self._held_until = now + self._lease_s / 3 if held else 0.0
        self._look = True
        return held

    async def _still_fits(self) -> None:
        """At each renewal: the pair may have been changed, or a rebuild asked for, beside this process. Raises LostError."""
        if self._look:
            self._look = False
            async with reading(self._engine) as connection:
                facts = await all_facts(connection)
            if REBUILD in facts or await epoch.look(self._feed, self._engine) != self._epoch:
                raise LostError("the pair was changed, or its tables are to be derived anew")

    async def _prepare(self) -> None:
        """Tables, the pair of stores, positions: whenever the work is taken up."""
        self._epoch = ""
        await schema.migrate(self._engine)
        self._epoch = await epoch.join(self._feed, self._engine)
        await self._rebuild()
        self._positions, self._tops = await batch.prepare(self._engine, self._feed.partitions)
        await self._feed.mark(self._positions)
        if self._trouble:
            self._say(f"ledger: {shown(self._engine.url)} takes history again")
            self._trouble = ""

    async def _rebuild(self) -> None:
        """Derives everything anew, where that was asked for; breaks off at a stop, and goes on at the next start."""
        async with reading(self._engine) as connection:
            facts = await all_facts(connection)
        if REBUILD not in facts and facts.get(DERIVED) != str(RULES):
            self._say("ledger: its tables were derived by other rules than this release has: touchpoint ledger rebuild")
        while not self._stop.is_set() and await rebuild.step(self._engine, self._currency):
            if not await self._hold():
                raise LostError("another process projects")
            await self._tell()

    # --- work -----------------------------------------------------------------------------------------------------

    async def advance(self) -> bool:
        """One round over all partitions; whether there was anything to do. Raises LostError, LedgerError, StoreError."""
        busy = False
        for start in range(0, self._feed.partitions, GROUP):
            group = range(start, min(start + GROUP, self._feed.partitions))
            pair, pages = await self._feed.pages({p: self._positions.get(p, "") for p in group}, PAGE)
            if pair != self._epoch:
                raise LostError("the store was exchanged")
            if not pages:
                continue
            busy = True
            await self._project(pages)
            if not await self._hold():
                raise LostError("another process projects")
            await self._tell()
        return busy

    async def _aside(self) -> bool:
        """What is done while nothing is to be projected, a page at a time; whether there was anything."""
        if await self._scores.step(await self._feed.now()):
            return True
        return await self.retention.step(await self._feed.virtual_now())

    async def _project(self, pages: dict[int, list[Raw]]) -> None:
        done = await batch.project(
            self._engine,
            pages,
            epoch=self._epoch,
            positions=self._positions,
            tops=self._tops,
            currency=self._currency,
        )
        self._positions |= done.positions
        await self._feed.mark(done.positions)
        self.projected += done.rows
        self.meters.rows.inc(done.rows)
        self.meters.unreadable.inc(done.unreadable)
        now = await self._feed.now()
        for page in pages.values():
            self.meters.delay.observe(max(0, now - page[0][0]) / 1000)

    # --- words ----------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        if self._seconds() - self._told_at < TELL_S:
            return
        self._told_at = self._seconds()
        await self._feed.tell(
            {
                "at": await self._feed.now(),
                "error": self._trouble,
                "text": generate_latest(self.meters.registry).decode(),
            }
        )

    async def _suffer(self, error: LedgerError | StoreError) -> None:
        """Says what is wrong, once."""
        words = str(error)
        if isinstance(error, LedgerError):
            self.meters.trouble.inc()
            if words != self._trouble:
                self._say(f"{words}. Messages go on; history waits in Redis")
            self._trouble = words
        with contextlib.suppress(StoreError):
            await self._tell()

    def _say(self, words: str) -> None:
        log.warning("ledger", detail=words)
        sys.stderr.write(words + "\n")
        sys.stderr.flush()


def serve(open_store: Callable[[], Awaitable[Store]], url: URL, owner: str, *, currency: str, terms: Terms) -> None:
    """Projects until SIGTERM or SIGINT: the whole of a process. Raises StoreError, ConfigError."""

    async def run() -> None:
        store = await open_store()
        projector = Projector(store, url, owner, currency=currency, terms=terms)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, projector.stop)
        await projector.run()
        await store.client.aclose()

    uvloop.run(run())
