"""One batch of the projection: all of it or nothing, only from where the ledger stands, only into the ledger of this store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger import batch, schema, tables
from ledger.batch import Done, LostError
from ledger.database import database_url, open_engine, writing
from ledger.facts import EPOCH, REBUILD, UNREADABLE, fact, set_fact
from ledger.feed import Raw

SENT = b"\x94\xa1m\xa4sent\x01\xa0"  # a status of message "m"


def page(*places: tuple[int, int]) -> list[Raw]:
    return [(ms, seq, "status", SENT) for ms, seq in places]


@pytest.fixture
async def engine(tmp_path):
    made = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    await schema.migrate(made)
    async with writing(made) as connection:
        await set_fact(connection, EPOCH, "pair")
    await batch.prepare(made, 4)
    yield made
    await made.dispose()


async def project(
    engine: AsyncEngine, pages: Mapping[int, list[Raw]], at: Mapping[int, str], *, epoch: str = "pair", tops: int = 0
) -> Done:
    return await batch.project(
        engine, pages, epoch=epoch, positions=at, tops=dict.fromkeys(pages, tops), currency="CNY"
    )


async def held(engine: AsyncEngine) -> list[tuple[int, int, int]]:
    rows = tables.journal.c
    async with engine.connect() as connection:
        found = await connection.execute(select(rows.partition, rows.ms, rows.seq).order_by(*rows[:3]))
        return [tuple(row) for row in found]


async def stands(engine: AsyncEngine) -> dict[int, str]:
    return (await batch.prepare(engine, 4))[0]


async def test_a_page_moves_its_partitions_position_and_no_others(engine):
    done = await project(engine, {1: page((5, 0), (5, 1)), 2: page((7, 0))}, {1: "", 2: "", 3: ""})
    assert (done.positions, done.rows, done.unreadable) == ({1: "5-1", 2: "7-0"}, 3, 0)
    assert await held(engine) == [(1, 5, 0), (1, 5, 1), (2, 7, 0)]
    assert await stands(engine) == {0: "", 1: "5-1", 2: "7-0", 3: ""}


async def test_from_another_place_nothing_is_written(engine):
    """Somebody else has projected meanwhile: of no partition of the batch."""
    await project(engine, {1: page((5, 0))}, {1: ""})
    for wrong in ("", "4-0", "5-1"):
        with pytest.raises(LostError):
            await project(engine, {1: page((6, 0)), 2: page((7, 0))}, {1: wrong, 2: ""})
    assert await held(engine) == [(1, 5, 0)]
    assert (await stands(engine))[2] == ""


async def test_two_at_once_write_it_once(engine, tmp_path):
    """Each believes to be the one: the other finds the position moved."""
    other = open_engine(database_url("sqlite:ledger.db", tmp_path), writer=True)
    both = [project(one, {1: page((5, 0), (6, 0))}, {1: ""}) for one in (engine, other)]
    found = await asyncio.gather(*both, return_exceptions=True)
    await other.dispose()
    assert sorted(type(one).__name__ for one in found) == ["Done", "LostError"]
    assert await held(engine) == [(1, 5, 0), (1, 6, 0)]


@pytest.mark.parametrize("why", ["epoch", "rebuild"])
async def test_into_another_stores_ledger_or_one_that_is_derived_anew_nothing_goes(engine, why):
    """Told in the same transaction that would write."""
    if why == "rebuild":
        async with writing(engine) as connection:
            await set_fact(connection, REBUILD, "0")
    with pytest.raises(LostError):
        await project(engine, {1: page((5, 0))}, {1: ""}, epoch="another" if why == "epoch" else "pair")
    assert await held(engine) == []


async def test_after_an_adoption_only_what_is_new_is_added(engine):
    """Journals are read from their beginning again; of one millisecond some may be there already."""
    await project(engine, {1: page((5, 0), (6, 0))}, {1: ""})
    async with writing(engine) as connection:
        await connection.execute(tables.positions.update().values(last_id=""))
    positions, tops = await batch.prepare(engine, 4)
    assert (positions[1], tops) == ("", {0: 0, 1: 6, 2: 0, 3: 0})
    whole = page((5, 0), (6, 0), (6, 1), (7, 0))
    done = await batch.project(engine, {1: whole}, epoch="pair", positions=positions, tops=tops, currency="CNY")
    assert (done.rows, done.positions) == (2, {1: "7-0"})
    assert await held(engine) == [(1, 5, 0), (1, 6, 0), (1, 6, 1), (1, 7, 0)]


async def test_a_page_that_begins_where_the_ledger_ends_is_looked_at_too(engine):
    """In the very millisecond of the last known entry."""
    await project(engine, {1: page((6, 0))}, {1: ""})
    done = await project(engine, {1: page((6, 0), (6, 1))}, {1: "6-0"}, tops=6)
    assert done.rows == 1


async def test_what_cannot_be_read_stays_raw_and_holds_up_nothing(engine):
    """Counted, for a release that can read it."""
    broken: list[Raw] = [(6, 0, "turn", b"\xff"), (7, 0, "what", b"x")]
    done = await project(engine, {1: [*page((5, 0)), *broken, *page((8, 0))]}, {1: ""})
    assert (done.rows, done.unreadable) == (4, 2)
    async with engine.connect() as connection:
        assert await fact(connection, UNREADABLE) == "2"
        assert await connection.scalar(select(func.count()).select_from(tables.messages)) == 1
