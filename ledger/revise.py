"""`python -m ledger.revise "What changes"`: writes the next revision, from the difference between `tables.py` and the newest one.

For developers. New columns of tables that hold rows need a `server_default`, as an older release may still be writing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from sqlalchemy import Connection

from ledger import schema
from ledger.database import database_url, open_engine


async def revise(message: str) -> Path:
    """The file that was written; look it over."""
    with TemporaryDirectory() as folder:
        engine = open_engine(database_url("sqlite:ledger.db", Path(folder)), writer=True)
        await schema.migrate(engine)

        def write(connection: Connection) -> str:
            config = schema.config()
            config.attributes["connection"] = connection
            number = f"{int(schema.newest()) + 1:04d}"
            found = command.revision(config, message, autogenerate=True, rev_id=number)
            assert found is not None
            assert not isinstance(found, list)
            return found.path

        async with engine.connect() as connection:
            path = await connection.run_sync(write)
        await engine.dispose()
        return Path(path)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(revise(sys.argv[1]))}\n")
