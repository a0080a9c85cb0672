"""How many are in a segment, and a few of them: below a second on a million buyers.

One pass counts, and finds the first buyer after each of a dozen places among the ids. Ids are hashes, so these are as good as drawn;
the places follow from the conditions, so the same are drawn again. Where fewer are in it, they are all read and drawn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import ColumnElement, and_, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import ids
from ledger import tables

FEW = 2_000
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Found:
    """How many, and ids of at most `SAMPLE` of them."""

    count: int
    sample: Sequence[str]


async def roomy(connection: AsyncConnection) -> None:
    """Lets PostgreSQL keep a large set of ids in memory for this transaction; SQLite does so anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET LOCAL work_mem = '192MB'"))


async def find(connection: AsyncConnection, where: ColumnElement[bool], seed: str, *, size: int = SAMPLE) -> Found:
    """Count and sample of the buyers of whom `where` is true; `seed` chooses the sample."""
    await roomy(connection)
    id, partition = tables.buyers.c.id, tables.buyers.c.partition
    firsts = [func.min(case((and_(partition == p, id >= place), id))) for p, place in _places(seed, size + 4)]
    row = (await connection.execute(select(func.count(), *firsts).select_from(tables.buyers).where(where))).one()
    count = int(row[0])
    drawn = list(dict.fromkeys(filter(None, row[1:])))
    if len(drawn) < size and len(drawn) < count:
        found = await connection.execute(select(id).where(where).limit(FEW))
        drawn = sorted(found.scalars(), key=lambda one: blake2b((seed + one).encode(), digest_size=8).digest())
    return Found(count, sorted(drawn[:size]))


def _places(seed: str, count: int) -> list[tuple[int, str]]:
    """Places among the ids, each with its partition, of the usual 64."""
    drawn = [blake2b(f"{seed}|{n}".encode(), digest_size=8).digest() for n in range(count)]
    return [(one[0] & 63, ids.derived("b", one[0] & 63, one.hex())) for one in drawn]
