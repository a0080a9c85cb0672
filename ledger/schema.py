"""Brings a ledger to the tables of this release, by one process at a time; refuses what is not ours or is newer."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import LedgerError
from ledger.database import reaching, shown

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x746F7563  # "touc": the key of PostgreSQL's advisory lock
VERSION = "alembic_version"


def scripts() -> ScriptDirectory:
    """The revisions of this release."""
    return ScriptDirectory.from_config(config())


def config() -> Config:
    """Alembic's configuration: no file of it is needed."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    return found


def newest() -> str:
    """The revision that this release brings a ledger to."""
    found = scripts().get_current_head()
    assert found is not None
    return found


async def migrate(engine: AsyncEngine, *, revision: str = "head") -> bool:
    """Brings the ledger to a revision; whether anything was to be done.

    Raises LedgerError for a ledger of a newer release, for a database of another program, and where it cannot be reached.
    """
    with reaching(engine.url):
        async with _alone(engine), engine.connect() as connection:
            found = await connection.run_sync(_bring, shown(engine.url), revision)
            await connection.commit()
            return found


async def check(engine: AsyncEngine) -> str:
    """The revision of the ledger, "" for one that is still empty. Raises LedgerError as `migrate` does."""
    with reaching(engine.url):
        async with engine.connect() as connection:
            return await connection.run_sync(_current, shown(engine.url))


def _current(connection: Connection, name: str) -> str:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return ""
    current = MigrationContext.configure(connection).get_current_revision() if VERSION in tables else None
    if current is None and tables <= {VERSION}:
        return ""
    if current is None or not {"facts", "positions", "journal"} <= tables:
        raise LedgerError(f"ledger.url: {name} holds tables of another program; give the ledger a database of its own")
    if current not in {revision.revision for revision in scripts().walk_revisions()}:
        raise LedgerError(
            f"ledger.url: {name} was made by a newer release (revision {current}); start that release, or newer"
        )
    return current


def _bring(connection: Connection, name: str, revision: str) -> bool:
    if _current(connection, name) == (newest() if revision == "head" else revision):
        return False
    wanted = config()
    wanted.attributes["connection"] = connection
    command.upgrade(wanted, revision)
    return True


@asynccontextmanager
async def _alone(engine: AsyncEngine) -> AsyncIterator[None]:
    """One process at a time, over all machines that share the database."""
    if engine.url.get_backend_name() == "sqlite":
        path = Path(f"{engine.url.database}.lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await asyncio.to_thread(fcntl.flock, mark, fcntl.LOCK_EX)
            yield
        finally:
            os.close(mark)
        return
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        try:
            yield
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
