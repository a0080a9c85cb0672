"""Whether a store and a ledger belong together: an id that both keep, and positions that fit the journals.

A restored, emptied or exchanged one of the two is refused, with the line of what to do; never silently mixed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.errors import LedgerError
from ledger import tables
from ledger.database import reading, writing
from ledger.feed import Feed, Stream
from ledger.places import place
from ledger.storing import upsert

EPOCH = "epoch"
ADOPT = "to go on with this pair: touchpoint ledger adopt (docs/ledger.md, What does not belong together)"


class MismatchedError(LedgerError):
    """The two stores do not belong together: nothing is projected until staff decide."""


async def fact(connection: AsyncConnection, name: str) -> str:
    """A fact of the ledger, "" for none."""
    found = await connection.scalar(select(tables.facts.c.value).where(tables.facts.c.name == name))
    return found or ""


async def set_fact(connection: AsyncConnection, name: str, value: str) -> None:
    """Writes a fact down; "" forgets it."""
    if value:
        await upsert(connection, tables.facts, [{"name": name, "value": value}])
    else:
        await connection.execute(delete(tables.facts).where(tables.facts.c.name == name))


async def positions_of(connection: AsyncConnection) -> dict[int, str]:
    """Up to where each partition is projected."""
    found = await connection.execute(select(tables.positions.c.partition, tables.positions.c.last_id))
    return {row.partition: row.last_id for row in found}


async def join(feed: Feed, engine: AsyncEngine) -> str:
    """The id of the pair, agreed on at the first start. Raises MismatchedError, LedgerError, StoreError."""
    async with reading(engine) as connection:
        ours, positions = await fact(connection, EPOCH), await positions_of(connection)
    theirs, marks = await feed.epoch(), await feed.marks()
    known = {partition: last for partition, last in positions.items() if last}
    if ours != theirs:
        ours = await _agree(feed, ours, theirs, fresh=not known, projected=bool(marks))
        async with writing(engine) as connection:
            await set_fact(connection, EPOCH, ours)
        return ours
    if not ours:
        ours = await feed.set_epoch(secrets.token_hex(8))
        async with writing(engine) as connection:
            await set_fact(connection, EPOCH, ours)
        return ours
    await _fits(feed, known, marks, await feed.streams())
    return ours


async def _agree(feed: Feed, ours: str, theirs: str, *, fresh: bool, projected: bool) -> str:
    if not ours and not projected:
        return theirs  # its first ledger
    if not theirs and fresh:
        return await feed.set_epoch(ours)  # a start that broke off
    if not ours:
        raise MismatchedError(
            f"ledger.url: this ledger is new, but the store was projected into another one ({theirs}): name that one, or, {ADOPT}"
        )
    if not theirs:
        raise MismatchedError(
            f"redis.url: this store is new or was emptied, but the ledger belongs to another ({ours}): name that one, or, {ADOPT}"
        )
    raise MismatchedError(
        f"ledger.url: the ledger belongs to another store ({ours}, not {theirs}): name that one, or, {ADOPT}"
    )


async def _fits(
    feed: Feed, positions: Mapping[int, str], marks: Mapping[int, str], streams: Mapping[int, Stream]
) -> None:
    for partition, last in positions.items():
        at, stream = place(last), streams.get(partition, Stream())
        mark = place(marks.get(partition, ""))
        lost = mark < at and (0, 0) < stream.first < at and not await feed.holds(partition, last)
        if stream.last < at or lost:
            raise MismatchedError(f"redis.url: the store was set back, it lacks what the ledger holds: {ADOPT}")
        if mark > at and stream.first > at:
            raise MismatchedError(
                f"ledger.url: the ledger was set back, and the journals do not reach back so far: name the right one, or, {ADOPT}"
            )
    behind = [p for p, mark in marks.items() if p not in positions and streams.get(p, Stream()).first > place(mark)]
    if behind:
        raise MismatchedError(
            f"ledger.url: the ledger was set back, and the journals do not reach back so far: name the right one, or, {ADOPT}"
        )


async def adopt(feed: Feed, engine: AsyncEngine) -> str:
    """Makes a pair of the two as they are: what the ledger holds stays, what the journals hold besides is added."""
    epoch = secrets.token_hex(8)
    await feed.change_epoch(epoch)
    async with writing(engine) as connection:
        await connection.execute(update(tables.positions).values(last_id=""))
        await set_fact(connection, EPOCH, epoch)
    return epoch
