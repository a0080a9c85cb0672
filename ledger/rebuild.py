"""Derives every table anew from the raw journal: after a change of the rules, or what an older release could not read.

It goes in pages, each a transaction that moves its cursor (the fact `rebuild`), so that it may break off at any moment and go
on, here or in the projector. Nothing is projected meanwhile: new entries wait in Redis.

Where raw entries are gone by age (`ledger.retention`) the rest of them tells less than the tables hold. What they told of stays:
rows that are marked as `rooted`, on which the entries that are left are laid once more, which changes nothing that they changed
before; and evidence of consents from before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ledger import tables
from ledger.batch import derive
from ledger.database import reading, writing
from ledger.derive import RULES
from ledger.facts import DERIVED, REBUILD, UNREADABLE, fact, set_fact
from ledger.places import Place, place

START = "start"
PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a rebuild has come: partition, the last entry of it, entries done in all."""

    partition: int = 0
    last: str = ""
    done: int = 0

    @classmethod
    def read(cls, text: str) -> Cursor:
        """From the fact."""
        if text in ("", START):
            return cls()
        partition, last, done = text.split(":")
        return cls(int(partition), last, int(done))

    def __str__(self) -> str:
        return f"{self.partition}:{self.last}:{self.done}"


async def begin(engine: AsyncEngine) -> None:
    """Asks for a rebuild; one that is under way begins again."""
    async with writing(engine) as connection:
        await set_fact(connection, REBUILD, START)


async def progress(engine: AsyncEngine) -> Cursor | None:
    """How far it has come, None when there is none to do."""
    async with reading(engine) as connection:
        text = await fact(connection, REBUILD)
    return Cursor.read(text) if text else None


async def total(engine: AsyncEngine) -> int:
    """How many entries there are."""
    async with reading(engine) as connection:
        return await connection.scalar(select(func.count()).select_from(tables.journal)) or 0


async def step(engine: AsyncEngine, currency: str) -> bool:
    """One page; False when all is done, or nothing was to be done. Raises LedgerError."""
    async with writing(engine) as connection:
        text = await fact(connection, REBUILD)
        if not text:
            return False
        if text == START:
            await _clear(connection)
            await set_fact(connection, REBUILD, str(Cursor()))
            return True
        return await _go_on(connection, Cursor.read(text), currency)


async def _clear(connection: AsyncConnection) -> None:
    found = await connection.execute(select(tables.positions).with_for_update())  # no raw entry goes meanwhile
    cut = {row.partition: place(row.floor) for row in found if row.floor}
    for table in (tables.timeline, tables.decisions, tables.consents):
        await _clear_lines(connection, table, cut)
    beside = [*tables.PARTS, (tables.history, "message", tables.messages)]
    for table, column, owner in beside:
        rooted = select(next(iter(owner.primary_key.columns))).where(owner.c.rooted)
        gone = delete(table)
        await connection.execute(gone.where(table.c[column].not_in(rooted)) if cut else gone)
    for table in tables.ROOTED:
        await connection.execute(delete(table).where(table.c.rooted.is_(False)))
    await set_fact(connection, UNREADABLE, "")


async def _clear_lines(connection: AsyncConnection, table: Table, cut: Mapping[int, Place]) -> None:
    """Lines that only grow go where the entry that gave them is left to give them again."""
    c = table.c
    here = [] if table is not tables.consents else [c.kept_until == 0]
    await connection.execute(delete(table).where(c.partition.not_in(sorted(cut)), *here))
    for partition, (ms, seq) in cut.items():
        later = (c.ms > ms) | ((c.ms == ms) & (c.seq > seq))
        await connection.execute(delete(table).where(c.partition == partition, later, *here))


async def _go_on(connection: AsyncConnection, cursor: Cursor, currency: str) -> bool:
    journal = tables.journal.c
    ms, seq = place(cursor.last) if cursor.last else (-1, 0)  # -1: before the first, whatever its number
    found = await connection.execute(
        select(journal.partition, journal.ms, journal.seq, journal.kind, journal.body)
        .where(journal.partition == cursor.partition, journal.ms >= ms, (journal.ms > ms) | (journal.seq > seq))
        .order_by(journal.ms, journal.seq)
        .limit(PAGE)
    )
    page = [(row.partition, row.ms, row.seq, row.kind, row.body) for row in found]
    if page:
        floor = select(tables.positions.c.floor).where(tables.positions.c.partition == cursor.partition)
        cut = frozenset((cursor.partition,) if await connection.scalar(floor) else ())
        await derive(connection, page, currency, cut=cut, anew=True)
        last = page[-1]
        await set_fact(
            connection, REBUILD, str(Cursor(cursor.partition, f"{last[1]}-{last[2]}", cursor.done + len(page)))
        )
        return True
    following = await connection.scalar(select(func.min(journal.partition)).where(journal.partition > cursor.partition))
    if following is not None:
        await set_fact(connection, REBUILD, str(Cursor(following, "", cursor.done)))
        return True
    await set_fact(connection, REBUILD, "")
    await set_fact(connection, DERIVED, str(RULES))
    return False
