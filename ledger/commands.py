"""What `touchpoint ledger …` does, beside a running serve or without one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.queries import Queries
from bot.store import Store
from ledger import epoch, rebuild, schema
from ledger.database import open_engine, shown
from ledger.feed import Feed
from ledger.status import Report, check, report

LOOK_S = 0.3


@asynccontextmanager
async def _opened(url: URL, *, writer: bool = False) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(url, writer=writer)
    try:
        yield engine
    finally:
        await engine.dispose()


async def checked(url: URL) -> Report:
    """One line for `touchpoint check`."""
    async with _opened(url) as engine:
        return await check(engine)


async def status(store: Store, url: URL) -> Report:
    """How store and ledger stand. Raises StoreError, LedgerError."""
    async with _opened(url) as engine:
        return await report(Feed(store, "cli"), engine, await Queries(store).unprojected())


async def adopt(store: Store, url: URL) -> str:
    """Makes store and ledger a pair as they are. Raises StoreError, LedgerError."""
    async with _opened(url, writer=True) as engine:
        await schema.migrate(engine)
        return f"{shown(url)} and this store are a pair now: {await epoch.adopt(Feed(store, 'cli'), engine)}"


async def rebuilt(store: Store, url: URL, *, currency: str) -> str:
    """Derives everything anew, with progress: by the running projector, or here where there is none."""
    feed = Feed(store, f"cli-{secrets.token_hex(3)}")
    async with _opened(url, writer=True) as engine:
        await schema.migrate(engine)
        await epoch.look(feed, engine)
        await rebuild.begin(engine)
        entries = await rebuild.total(engine)
        columns = TextColumn("deriving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("deriving", total=entries)
            while (cursor := await rebuild.progress(engine)) is not None:
                bar.update(task, completed=cursor.done)
                if await feed.hold():
                    await rebuild.step(engine, currency)
                else:
                    await asyncio.sleep(LOOK_S)
            bar.update(task, completed=entries)
        await feed.release()
    return f"{entries:,} entries derived anew"
