"""What `touchpoint ledger …` does, beside a running serve or without one."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.clock import rfc3339
from bot.errors import ConfigError, LedgerError
from bot.keeping import Terms, before
from bot.member_export import opened
from bot.queries import Queries
from bot.store import Store
from bot.wording import Wordings
from ledger import epoch, exporting, rebuild, retention, schema
from ledger.database import open_engine, shown
from ledger.feed import Feed
from ledger.status import Report, check, report

if TYPE_CHECKING:
    from bot.settings import Settings

LOOK_S = 0.3
TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


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


async def due(store: Store, url: URL, terms: Terms) -> list[str]:
    """What would go by age now, in lines to read. Raises StoreError, LedgerError."""
    now = await Feed(store, "cli").virtual_now()
    old = before(terms, now)
    if not old.raw:
        return ["nothing goes by age: set privacy.keep_months (and ledger.raw_months) in the configuration"]
    async with _opened(url) as engine:
        found = await retention.due(engine, terms, now)
    lines = [f"raw journal before {rfc3339(old.raw)}: {found.raw:,} entries"]
    if old.keep:
        rows = f"{found.timeline:,} lines of timelines, {found.decisions:,} decisions, {found.messages:,} messages"
        lines += [
            f"history before {rfc3339(old.keep)}: {rows}, {found.tasks:,} closed tasks",
            f"buyers silent since then, without card or coupon: {found.buyers:,} (their records decide: an order under way keeps them)",
            f"orders last told of before then: {found.orders:,} (they keep goods and amounts, and forget whose they are)",
        ]
    return [*lines, f"evidence of consents whose time is over: {found.evidence:,}"]


def exported(settings: Settings, url: URL, kind: str, days: tuple[str, str], *, lines: bool, out: Path | None) -> None:
    """Writes an export; faults end the command with their line. A file is there when it is whole, and only its owner's."""
    try:
        count = asyncio.run(_exported(settings, url, kind, days, lines=lines, out=out))
    except (ConfigError, LedgerError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2 if isinstance(error, ConfigError) else 1) from error
    except BrokenPipeError:  # whoever read it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        sys.stderr.write(f"{out}: cannot be written ({error.strerror})\n")
        raise SystemExit(2) from error
    sys.stderr.write(f"{count:,} rows{f' in {out}' if out else ''}\n")


async def _exported(
    settings: Settings, url: URL, kind: str, days: tuple[str, str], *, lines: bool, out: Path | None
) -> int:
    if kind not in exporting.KINDS:
        raise ConfigError([f"{kind}: there is no such export; there are: {', '.join(exporting.KINDS)}"])
    bounds = exporting.span(*days, settings.zone)
    wordings = Wordings.load(TEMPLATES, default=settings.brand.locale)
    brand = {"brand": settings.brand.name}
    async with _opened(url) as engine:
        write = partial(
            exporting.export,
            engine,
            exporting.KINDS[kind],
            bounds,
            lines=lines,
            shown=lambda evidence: wordings.shown(evidence, brand),
        )
        if out is None:
            return await write(out=sys.stdout)
        part = out.with_name(f"{out.name}.part")
        try:
            with opened(part, bom=not lines) as file:
                count = await write(out=file)
            part.replace(out)
        finally:
            part.unlink(missing_ok=True)
        return count


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
