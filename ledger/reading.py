"""What people ask of the past, from the ledger. Reads only; every method raises LedgerError where the ledger is away.

One object per process, lent to the API, the console and the pages. Its engine connects when first asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import URL, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables
from ledger.database import open_engine, reading
from ledger.places import after


class History:
    """The ledger, as readers see it."""

    def __init__(self, url: URL) -> None:
        self.engine = open_engine(url)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one answer: all that it reads is of one moment."""
        async with reading(self.engine) as connection:
            yield connection

    async def positions(self) -> dict[int, str]:
        """Up to which journal entry (`ms-seq`) each partition is projected; none for one that never was."""
        async with self.connection() as connection:
            found = await connection.execute(select(tables.positions.c.partition, tables.positions.c.last_id))
            return {row.partition: row.last_id for row in found}

    async def covers(self, wanted: Mapping[int, str]) -> bool:
        """Whether every partition is projected up to its entry in `wanted` ("" or "0-0": nothing to wait for)."""
        known = await self.positions()
        return not any(after(last, known.get(partition, "")) for partition, last in wanted.items())

    async def close(self) -> None:
        """Closes its connections."""
        await self.engine.dispose()
