"""How many are in a segment, and a few of them: below a second on a million buyers, in one pass.

Each buyer has thirty bits drawn by chance (those of the id, which is a hash): whoever has certain ones is as good as drawn. Which
ones follows from the conditions, so that the same conditions show the same buyers. Where too few have them, a second look reads until there are enough.

SQLite sorts in order to group, so there the ids of one buyer in 32 are collected while counting. PostgreSQL groups by hashes and has
the first id of each of a thousand groups; it collects nothing in parallel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, case, collate, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables

FEW = 2_000
SAMPLE = 10
_ONE_IN, _GROUPS = 32, 1_024
_ID, _DRAW = tables.buyers.c.id, tables.buyers.c.draw


@dataclass(frozen=True, slots=True)
class Found:
    """How many, and ids of at most as many of them as were asked for."""

    count: int
    sample: Sequence[str]


async def roomy(connection: AsyncConnection, *, beside: int = 0) -> None:
    """Lets PostgreSQL keep a large set of ids in memory for this transaction; SQLite does so anyway.

    `beside`: how many processes may share in a statement; each builds the sets of ids that it looks into anew.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET LOCAL work_mem = '192MB'"))
        await connection.execute(text(f"SET LOCAL max_parallel_workers_per_gather = {beside}"))


async def find(connection: AsyncConnection, where: ColumnElement[bool], seed: str, *, size: int = SAMPLE) -> Found:
    """Count and sample of the buyers of whom `where` is true; `seed` chooses the sample."""
    await roomy(connection, beside=1)
    if connection.dialect.name == "sqlite":
        asked = select(func.count(), collected(_ID, _DRAW, seed)).select_from(tables.buyers).where(where)
        count, ids = (await connection.execute(asked)).one()
        drawn = split(ids)
    else:
        count, drawn = await grouped(connection, where)
    return Found(count, await enough(connection, where, seed, drawn, min(size, count)))


def collected(id: ColumnElement[str], draw: ColumnElement[int], seed: str) -> ColumnElement[Any]:
    """An aggregate of SQLite: the ids of one in 32 rows."""
    return func.group_concat(case((_drawn(draw, seed), id)))


def _drawn(draw: ColumnElement[int], seed: str) -> ColumnElement[bool]:
    return draw % _ONE_IN == _mark(seed, "")[0] % _ONE_IN


def split(ids: str | None) -> list[str]:
    """What `collected` came to."""
    return ids.split(",") if ids else []


async def grouped(connection: AsyncConnection, where: ColumnElement[bool]) -> tuple[int, list[str]]:
    """How many, and the first of each of up to a thousand groups of them."""
    first = func.min(collate(_ID, "C"))  # by bytes: a language's order is dear
    found = await connection.execute(select(func.count(), first).where(where).group_by(_DRAW % _GROUPS))
    rows = [(int(count), str(id)) for count, id in found]
    return sum(count for count, _ in rows), [id for _, id in rows]


async def sliced(connection: AsyncConnection, where: ColumnElement[bool], seed: str) -> list[str]:
    """One in 32 of them, for who counts them otherwise."""
    return list((await connection.execute(select(_ID).where(_drawn(_DRAW, seed), where))).scalars())


async def enough(
    connection: AsyncConnection, where: ColumnElement[bool], seed: str, drawn: Iterable[str], size: int
) -> list[str]:
    """`size` of those drawn; of whoever comes first, where they are too few."""
    ids = list(drawn)
    if len(ids) < size:
        ids = list((await connection.execute(select(_ID).where(where).limit(max(FEW, size)))).scalars())
    return sorted(sorted(ids, key=lambda one: _mark(seed, one))[:size])


def _mark(seed: str, id: str) -> bytes:
    return blake2b(f"{seed}|{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
