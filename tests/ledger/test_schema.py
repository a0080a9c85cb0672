"""The tables of the ledger: made and brought forward by one process at a time; what is not ours is left alone."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text

from bot import ids
from bot.errors import ConfigError, LedgerError
from ledger import schema, tables
from ledger.database import database_url, open_engine, shown, writing
from ledger.derive.state import blank
from ledger.reading import History
from ledger.ways import rows_of, way_of

REVISIONS = [revision.revision for revision in reversed(list(schema.scripts().walk_revisions()))]


async def test_the_migrated_tables_are_those_of_the_release(engine):
    """Whoever changes tables.py writes a revision: `python -m ledger.revise "…"`."""
    async with engine.connect() as connection:
        difference = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c), tables.metadata)
        )

    assert difference == []


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_revision_is_brought_forward_with_its_data(tmp_path, revision):
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await schema.migrate(engine, revision=revision)
    async with writing(engine) as connection:
        await connection.execute(text("INSERT INTO facts (name, value) VALUES ('epoch', 'e1')"))
        await connection.execute(text("INSERT INTO positions (partition, last_id) VALUES (3, '17-0')"))
        row = {"p": 3, "b": b"\x01body"}
        await connection.execute(text("INSERT INTO journal VALUES (:p, 17, 0, 'turn', :b)"), row)

    await schema.migrate(engine)

    async with engine.connect() as connection:
        kept = (await connection.execute(select(tables.journal))).one()
    assert tuple(kept) == (3, 17, 0, "turn", b"\x01body")
    assert await schema.check(engine) == schema.newest()
    await engine.dispose()


BEFORE_WAYS = ("window_closes_at", "way", "draw")
"""Columns of buyers that revision 0005 did not have."""
DRAWN = "b_0z0123456789abz2mk"


async def reached(engine) -> None:
    """A ledger of revision 0005 with buyers who have two addresses, one, and none."""
    await schema.migrate(engine, revision="0005")
    old = [column.name for column in tables.buyers.columns if column.name not in BEFORE_WAYS]
    people = [blank(tables.buyers, id=id, partition=0) for id in ("b_00", "b_01", "b_02", "b_03", DRAWN)]
    allowed = {
        "reachable": True,
        "service": "granted",
        "marketing": "granted",
        "calls": "unknown",
        "coupons": "unknown",
    }
    addresses = [
        blank(tables.addresses, buyer="b_00", account="sms", address="+1", **allowed),
        blank(tables.addresses, buyer="b_00", account="chat", address="x", window_closes_at=70, opted_out=True),
        blank(tables.addresses, buyer="b_01", account="sms", address="+2", **allowed),
        blank(tables.addresses, buyer="b_03", account="chat", address="y", window_closes_at=90, opted_out=True),
        blank(tables.addresses, buyer="b_03", account="sms", address="+3", window_closes_at=80, **allowed),
    ]
    async with writing(engine) as connection:
        columns = [sa.column(name, tables.buyers.c[name].type) for name in old]
        await connection.execute(
            insert(sa.table("buyers", *columns)), [{name: row[name] for name in old} for row in people]
        )
        await connection.execute(insert(tables.addresses), addresses)


async def named(engine) -> None:
    """What the next revision makes of them: the same as the projection would."""
    async with engine.connect() as connection:
        buyers = {row.id: row for row in await connection.execute(select(tables.buyers))}
        addresses = (await connection.execute(select(tables.addresses))).mappings().all()
        ways = [dict(row) for row in (await connection.execute(select(tables.ways))).mappings()]
    mine = {id: [row for row in addresses if row["buyer"] == id] for id in buyers}
    assert {id: row.way for id, row in buyers.items()} == {id: way_of(rows) for id, rows in mine.items()}
    assert buyers["b_00"].way == buyers["b_03"].way != buyers["b_01"].way
    assert [buyers[f"b_0{n}"].window_closes_at for n in range(4)] == [70, 0, 0, 90]
    assert {id: row.draw for id, row in buyers.items() if row.draw} == {DRAWN: ids.draw(DRAWN)}
    expected = rows_of(buyers["b_00"].way, mine["b_00"]) + rows_of(buyers["b_01"].way, mine["b_01"])
    assert sorted(ways, key=str) == sorted(expected, key=str)


async def test_buyers_of_an_older_ledger_name_their_ways(tmp_path):
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await reached(engine)

    await schema.migrate(engine)

    await named(engine)
    await engine.dispose()


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
async def test_a_page_of_that_never_cuts_a_buyer_in_two(tmp_path, size, monkeypatch):
    revision = schema.scripts().get_revision("0006").module
    monkeypatch.setattr(revision, "PAGE", size)
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await reached(engine)

    async with engine.connect() as connection:
        pages = await connection.run_sync(lambda c: list(revision._pages(c)))

    found = [(buyer, len(rows)) for page in pages for buyer, rows in page]
    assert found == [("b_00", 2), ("b_01", 1), ("b_02", 0), ("b_03", 2), (DRAWN, 0)]
    await engine.dispose()


async def test_several_processes_may_start_at_once(tmp_path):
    """One makes the tables, the others wait and find them."""
    engines = [open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True) for _ in range(4)]

    made = await asyncio.gather(*(schema.migrate(engine) for engine in engines))

    assert sorted(made) == [False, False, False, True]
    for engine in engines:
        await engine.dispose()


async def test_a_ledger_of_a_newer_release_is_refused(engine):
    async with writing(engine) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(
        LedgerError, match=r"ledger\.db was made by a newer release \(revision 9999\); start that release"
    ):
        await schema.migrate(engine)


async def test_a_database_of_another_program_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("CREATE TABLE invoices (id INTEGER)")
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)

    with pytest.raises(LedgerError, match="holds tables of another program; give the ledger a database of its own"):
        await schema.migrate(engine)

    with sqlite3.connect(tmp_path / "ledger.db") as other:
        assert [name for (name,) in other.execute("SELECT name FROM sqlite_master")] == ["invoices"]
    await engine.dispose()


async def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "ledger.db").write_text("these are notes, and many of them " * 200)
    engine = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)

    with pytest.raises(LedgerError, match="the folder must exist and be writable, and the file a database"):
        await schema.migrate(engine)
    await engine.dispose()


async def test_a_server_that_is_away_is_told_without_its_password(tmp_path):
    url = database_url("postgresql://shop:s3cret@127.0.0.1:1/ledger?sslmode=disable", tmp_path)
    history = History(url)

    with pytest.raises(LedgerError, match=r"postgresql://127\.0\.0\.1:1/ledger does not answer") as told:
        await history.positions()

    assert "s3cret" not in str(told.value)
    assert shown(url) == "postgresql://127.0.0.1:1/ledger"
    await history.close()


async def test_a_ledger_that_is_not_prepared_yet_says_so(tmp_path):
    history = History(database_url("sqlite:ledger.db", tmp_path))

    with pytest.raises(LedgerError, match="is not prepared yet; serve does that when it starts"):
        await history.positions()
    await history.close()


def test_an_address_that_is_none_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"ledger\.url: is no address such as postgresql://"):
        database_url("postgresql://shop@db:port/x", tmp_path)


async def test_only_its_owner_may_read_the_file(engine):
    assert Path(engine.url.database).stat().st_mode & 0o777 == 0o600


async def test_positions_are_read(engine):
    async with writing(engine) as connection:
        await connection.execute(insert(tables.positions), [{"partition": 3, "last_id": "17-5"}])
    history = History(engine.url)

    assert await history.positions() == {3: "17-5"}
    assert await history.covers({3: "17-5", 4: "0-0", 5: ""})
    assert not await history.covers({3: "17-6"})
    assert not await history.covers({4: "1-0"})
    await history.close()
