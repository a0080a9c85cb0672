"""How the ledger stands, for `touchpoint ledger status` and `touchpoint check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import LedgerError
from ledger import epoch, rebuild, schema, tables
from ledger.database import reading, shown
from ledger.derive import RULES
from ledger.facts import DERIVED, EPOCH, REBUILD, UNREADABLE, all_facts
from ledger.feed import Feed


@dataclass(frozen=True, slots=True)
class Report:
    """Lines to read, and whether all is well."""

    lines: Sequence[str]
    well: bool = True


async def check(engine: AsyncEngine) -> Report:
    """One line: whether it can be reached, and is ours."""
    name = shown(engine.url)
    try:
        revision = await schema.check(engine)
    except LedgerError as error:
        return Report([str(error)], well=False)
    if not revision:
        return Report([f"ledger: {name} is still empty; serve makes its tables"])
    if revision != schema.newest():
        return Report([f"ledger: {name} is of an older release (revision {revision}); serve brings it forward"])
    return Report([f"ledger: {name} answers"])


async def report(feed: Feed, engine: AsyncEngine, lag_ms: int) -> Report:
    """Everything: tables, pair, lag, rows. Raises StoreError."""
    first = await check(engine)
    if not first.well or "answers" not in first.lines[0]:
        return first
    lines = list(first.lines)
    well = True
    try:
        pair = await epoch.look(feed, engine)
        lines.append(f"pair:   {pair}" if pair else "pair:   not made yet; serve does that")
    except LedgerError as error:
        lines.append(str(error))
        well = False
    state = await feed.told()
    holder = await feed.holder()
    lines.append(f"lag:    {lag_ms / 1000:.1f} s; projected by {holder or 'nobody: serve is not running'}")
    if words := state.get("error"):
        lines.append(f"error:  {words}")
    return Report([*lines, *await _counts(engine)], well)


async def _counts(engine: AsyncEngine) -> list[str]:
    async with reading(engine) as connection:
        facts = await all_facts(connection)
        shown_tables = [table for table in tables.metadata.sorted_tables if table.name not in ("facts", "positions")]
        counts = [
            (await connection.scalar(select(func.count()).select_from(table)) or 0, table) for table in shown_tables
        ]
    lines = ["rows:   " + ", ".join(f"{table.name} {count:,}" for count, table in counts)]
    if facts.get(UNREADABLE):
        lines.append(
            f"unread: {facts[UNREADABLE]} entries are kept raw: touchpoint ledger rebuild, by a release that can read them"
        )
    if REBUILD in facts:
        lines.append(f"rebuild: {rebuild.Cursor.read(facts[REBUILD]).done:,} entries done")
    elif facts.get(EPOCH) and facts.get(DERIVED) != str(RULES):
        lines.append("rules:  derived by other rules than this release has: touchpoint ledger rebuild")
    return lines
