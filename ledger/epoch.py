"""Whether a store and a ledger belong together: an id that both keep, and positions that fit the journals.

A restored, emptied or exchanged one of the two is refused, with the line of what to do; never silently mixed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import LedgerError
from ledger import tables
from ledger.database import reading, writing
from ledger.derive import RULES
from ledger.facts import DERIVED, EPOCH, fact, positions_of, set_fact
from ledger.feed import Feed, Stream
from ledger.places import place

ADOPT = "to go on with this pair: touchpoint ledger adopt (docs/ledger.md, What does not belong together)"


class MismatchedError(LedgerError):
    """The two stores do not belong together: nothing is projected until staff decide."""


async def look(feed: Feed, engine: AsyncEngine) -> str:
    """The id of the pair, "" before its first start; changes nothing. Raises MismatchedError, LedgerError, StoreError."""
    async with reading(engine) as connection:
        ours, positions = await fact(connection, EPOCH), await positions_of(connection)
    theirs, marks = await feed.epoch(), await feed.marks()
    known = {partition: last for partition, last in positions.items() if last}
    if ours != theirs:
        _agree(ours, theirs, fresh=not known, projected=bool(marks))
    elif ours:
        await _fits(feed, known, marks, await feed.streams())
    return ours if ours == theirs else ""


async def join(feed: Feed, engine: AsyncEngine) -> str:
    """The id of the pair, agreed on at the first start. Raises MismatchedError, LedgerError, StoreError."""
    if pair := await look(feed, engine):
        return pair
    async with reading(engine) as connection:
        ours = await fact(connection, EPOCH)
    pair = await feed.set_epoch(ours or secrets.token_hex(8))  # the store's own where it has one
    async with writing(engine) as connection:
        await set_fact(connection, EPOCH, pair)
        if not await fact(connection, DERIVED):
            await set_fact(connection, DERIVED, str(RULES))
    return pair


def _agree(ours: str, theirs: str, *, fresh: bool, projected: bool) -> None:
    """Whether two that differ may become a pair: one that is new, or a start that broke off. Raises MismatchedError."""
    if (not ours and not projected) or (not theirs and fresh):
        return
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
