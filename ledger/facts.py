"""What the ledger knows of itself: which store it belongs to, by which rules its tables were derived, a rebuild under way."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables
from ledger.storing import upsert

EPOCH = "epoch"  # the id of the pair of stores
DERIVED = "derived"  # by which rules the tables were derived
REBUILD = "rebuild"  # how far a rebuild has come; none: none is to do
UNREADABLE = "unreadable"  # how many entries are kept raw only


async def fact(connection: AsyncConnection, name: str) -> str:
    """A fact of the ledger, "" for none."""
    found = await connection.scalar(select(tables.facts.c.value).where(tables.facts.c.name == name))
    return found or ""


async def positions_of(connection: AsyncConnection) -> dict[int, str]:
    """Up to where each partition is projected."""
    found = await connection.execute(select(tables.positions.c.partition, tables.positions.c.last_id))
    return {row.partition: row.last_id for row in found}


async def all_facts(connection: AsyncConnection) -> dict[str, str]:
    """Every fact."""
    found = await connection.execute(select(tables.facts.c.name, tables.facts.c.value))
    return {row.name: row.value for row in found}


async def set_fact(connection: AsyncConnection, name: str, value: str) -> None:
    """Writes a fact down; "" forgets it."""
    if value:
        await upsert(connection, tables.facts, [{"name": name, "value": value}])
    else:
        await connection.execute(delete(tables.facts).where(tables.facts.c.name == name))
