"""The same ledger on PostgreSQL: Debian's, real."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

from bot.errors import LedgerError
from bot.queries import Queries
from bot.store import Store
from ledger import commands, move, schema, tables
from ledger.database import database_url, open_engine, writing
from ledger.reading import History
from tests.ledger.life import Book
from tests.ledger.test_pair import caught_up, projecting, write
from tests.ledger.test_projector import journals, pour, whole
from tests.ledger.test_schema import REVISIONS, named, reached

__all__ = ["journals", "whole"]  # fixtures


@pytest.fixture
def url(postgresql_url, tmp_path):
    return database_url(postgresql_url, tmp_path)


@pytest.fixture
def store(redis_client):
    return Store(redis_client, 64, "test")


async def dump(url):
    book = Book.__new__(Book)
    book.engine = open_engine(url, writer=True)
    found = await book.dump()
    await book.close()
    return found


async def test_the_migrated_tables_are_those_of_the_release(url):
    """Every revision is brought forward with its data; what comes out is tables.py."""
    for revision in REVISIONS:
        engine = open_engine(url, writer=True)
        await schema.migrate(engine, revision=revision)
        async with writing(engine) as connection:
            row = {"n": int(revision), "b": b"\x01body"}
            await connection.execute(text("INSERT INTO journal VALUES (1, :n, 0, 'turn', :b)"), row)
        await schema.migrate(engine)
        async with engine.connect() as connection:
            difference = await connection.run_sync(
                lambda c: compare_metadata(MigrationContext.configure(c), tables.metadata)
            )
            kept = (await connection.execute(select(tables.journal))).all()
        assert difference == []
        assert [tuple(row) for row in kept] == [(1, int(revision), 0, "turn", b"\x01body")]
        async with writing(engine) as connection:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))
        await engine.dispose()


async def test_buyers_of_an_older_ledger_name_their_ways(url):
    engine = open_engine(url, writer=True)
    await reached(engine)

    await schema.migrate(engine)

    await named(engine)
    await engine.dispose()


async def test_several_processes_may_start_at_once(url):
    engines = [open_engine(url, writer=True) for _ in range(3)]

    made = await asyncio.gather(*(schema.migrate(engine) for engine in engines))

    assert sorted(made) == [False, False, True]
    for engine in engines:
        await engine.dispose()


async def test_a_day_gives_the_same_rows_as_in_sqlite(url, store, journals, whole):
    """Two projectors at once, a rebuild after it: the same tables."""
    async with projecting(store, url), projecting(store, url):
        await pour(store, journals, 0.001)
        await caught_up(store, 30)
    assert await dump(url) == whole
    await commands.rebuilt(store, url, currency="CNY")
    assert await dump(url) == whole
    history = History(url)
    assert await history.covers(await Queries(store).ends())
    await history.close()


async def test_a_server_that_goes_away_is_waited_for(url, store, postgresql):
    """Its connections are cut while it projects: nothing is lost, nothing doubled."""
    async with projecting(store, url):
        for n in range(1, 40):
            await write(store, n)
            if n % 10 == 0:
                postgresql.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            await asyncio.sleep(0.01)
        await caught_up(store, 30)
    engine = open_engine(url)
    async with engine.connect() as connection:
        assert list(await connection.scalars(select(tables.journal.c.ms).order_by(tables.journal.c.ms))) == list(
            range(1, 40)
        )
    await engine.dispose()


async def test_a_ledger_moves_from_sqlite(postgresql_url, url, store, journals, whole, tmp_path):
    """The raw rows move, the rest follows; the same store goes on with it."""
    half = {p: page[: len(page) // 2 + 1] for p, page in journals.items()}
    await pour(store, half)
    async with projecting(store, database_url("sqlite:ledger.db", tmp_path)):
        await caught_up(store)

    copied = await move.move("sqlite:ledger.db", postgresql_url, tmp_path)

    assert copied > sum(map(len, half.values()))
    with pytest.raises(LedgerError, match="is not empty"):
        await move.move("sqlite:ledger.db", postgresql_url, tmp_path)
    await commands.rebuilt(store, url, currency="CNY")
    await pour(store, {p: page[len(page) // 2 + 1 :] for p, page in journals.items()})
    async with projecting(store, url):
        await caught_up(store)
    assert await dump(url) == whole
