"""What people ask of the past, from the ledger. Reads only; every method raises LedgerError where the ledger is away.

One object per process, lent to the API, the console and the pages. Its engine connects when first asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database import open_engine, reading
from ledger.facts import REBUILD, fact, positions_of
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
            return await positions_of(connection)

    async def covers(self, wanted: Mapping[int, str]) -> bool:
        """Whether every partition is projected up to its entry in `wanted` ("" or "0-0": nothing to wait for)."""
        async with self.connection() as connection:
            known = await positions_of(connection)
            if await fact(connection, REBUILD):
                return False  # its tables are being derived anew
        return not any(after(last, known.get(partition, "")) for partition, last in wanted.items())

    async def close(self) -> None:
        """Closes its connections."""
        await self.engine.dispose()
