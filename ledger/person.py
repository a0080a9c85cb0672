"""What the raw journal holds of one person: found by the ids and subjects that name them, read in pieces."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, LargeBinary, and_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables as t

AT_ONCE = 2_000
START = (-1, -1)
MOST_WORDS = 60  # in one statement


@dataclass(frozen=True, slots=True)
class Raw:
    """One journal entry as it is stored."""

    partition: int
    ms: int
    seq: int
    kind: str
    body: bytes


async def entries_with(
    connection: AsyncConnection, partition: int, words: Collection[bytes], *, after: tuple[int, int] = START
) -> tuple[list[Raw], tuple[int, int] | None]:
    """The entries of the next few thousand that hold any of these words, and where to go on (None: at the end)."""
    c = t.journal.c
    place = tuple_(c.ms, c.seq)
    here = and_(c.partition == partition, place > tuple_(literal(after[0]), literal(after[1])))
    stop = select(c.ms, c.seq).where(here).order_by(c.ms, c.seq).offset(AT_ONCE - 1).limit(1)
    last = (await connection.execute(stop)).first()
    if last is not None:
        here = and_(here, place <= tuple_(literal(last.ms), literal(last.seq)))
    found: dict[tuple[int, int], Raw] = {}
    listed = sorted(words)
    for start in range(0, len(listed), MOST_WORDS):
        part = listed[start : start + MOST_WORDS]
        query = select(*c).where(here, or_(*(_holds(connection, word) for word in part))).order_by(c.ms, c.seq)
        for row in await connection.execute(query):
            found[row.ms, row.seq] = Raw(row.partition, row.ms, row.seq, row.kind, row.body)
    return [found[at] for at in sorted(found)], (last.ms, last.seq) if last is not None else None


def _holds(connection: AsyncConnection, word: bytes) -> ColumnElement[bool]:
    body, wanted = t.journal.c.body, literal(word, LargeBinary)
    if connection.dialect.name == "postgresql":
        return func.position(wanted.op("IN")(body)) > 0
    return func.instr(body, wanted) > 0
