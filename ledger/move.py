"""`python -m ledger.move FROM TO`: copies what cannot be derived from one ledger to another, empty one. Rebuild afterwards.

Where raw entries are gone by age, all tables are copied: the rest of the entries does not tell all that they hold.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import GatewayError, LedgerError
from ledger import schema, tables
from ledger.database import database_url, open_engine, reading, writing
from ledger.storing import add

PAGE = 2_000


async def move(source: str, target: str, root: Path) -> int:
    """How many rows were copied. Raises LedgerError, ConfigError."""
    one, other = open_engine(database_url(source, root)), open_engine(database_url(target, root), writer=True)
    try:
        if await schema.check(one) != schema.newest():
            raise LedgerError(f"{source}: is no ledger of this release; start serve on it once")
        await schema.migrate(other)
        async with reading(other) as connection:
            if await connection.scalar(select(func.count()).select_from(tables.journal)):
                raise LedgerError(f"{target.rpartition('@')[2]}: is not empty")
        async with reading(one) as connection:
            cut = await connection.scalar(
                select(func.count()).select_from(tables.positions).where(tables.positions.c.floor != "")
            )
        derived = [table for table in tables.metadata.sorted_tables if table not in tables.KEPT] if cut else []
        with Progress(console=Console(stderr=True)) as bar:
            return sum([await _table(one, other, table, bar) for table in (*derived, *tables.KEPT)])
    finally:
        await one.dispose()
        await other.dispose()


async def _table(one: AsyncEngine, other: AsyncEngine, table: Table, bar: Progress) -> int:
    done = 0
    async with reading(one) as connection:
        total = await connection.scalar(select(func.count()).select_from(table)) or 0
        task = bar.add_task(table.name, total=total)
        found = await connection.stream(select(table).execution_options(yield_per=PAGE))
        async for page in found.mappings().partitions():
            async with writing(other) as writer:
                await add(writer, table, [dict(row) for row in page])
            done += len(page)
            bar.update(task, completed=done)
    return done


if __name__ == "__main__":
    try:
        sys.stdout.write(
            f"{asyncio.run(move(sys.argv[1], sys.argv[2], Path.cwd())):,} rows copied; now: touchpoint ledger rebuild\n"
        )
    except IndexError:
        sys.exit("usage: python -m ledger.move FROM TO")
    except GatewayError as error:
        sys.exit(str(error))
