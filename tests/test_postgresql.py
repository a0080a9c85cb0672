"""The PostgreSQL of the tests: what the ledger's tests rely on."""

from __future__ import annotations

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.postgresql import Postgresql


async def test_each_test_has_a_database_of_its_own(postgresql: Postgresql, postgresql_url: str) -> None:
    """Empty, UTF-8, case-folding beyond ASCII, reached by the URL that the settings take."""
    engine = create_async_engine(make_url(postgresql_url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (name text)"))
        await connection.execute(text("INSERT INTO t VALUES ('Élodie 小满')"))
        assert (await connection.execute(text("SELECT lower(name) FROM t"))).scalar() == "élodie 小满"
    assert "Élodie 小满" in postgresql.dump(postgresql_url)
    other = postgresql.database()
    connection = await asyncpg.connect(other)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    postgresql.drop(other)  # though somebody is connected
    connection.terminate()
    await engine.dispose()


def test_it_comes_back_after_a_kill() -> None:
    """Killed at any moment, and started again on the same data."""
    server = Postgresql(fsync="on", synchronous_commit="on").start()
    try:
        server.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
        server.kill()
        server.start()
        assert server.sql("SELECT n FROM t").strip() == "7"
    finally:
        server.stop()
