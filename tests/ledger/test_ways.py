"""Ways that nobody goes any more are let go, on both databases, whatever is written meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select, update

from bot.keeping import Terms
from ledger import batch, tables
from ledger.database import open_engine, reading, writing
from ledger.facts import REBUILD, set_fact
from ledger.retention import WAYS_MS, Retention, _ways
from ledger.storing import _many, _unless_known
from ledger.ways import rows_of, way_of

NOW = 1_790_000_000_000


def address(account: str) -> dict:
    allowed = {"service": "granted", "marketing": "unknown", "calls": "unknown", "coupons": "unknown"}
    return {"account": account, "reachable": True, "blocked": False, "opted_out": False, **allowed}


PLACES = {name: [address(name) for name in name.split()] for name in ("sms", "chat", "sms chat", "old")}
WAYS = {name: way_of(rows) for name, rows in PLACES.items()}


async def know(connection, name: str) -> None:
    """As a batch does it: where it is known already nothing is written."""
    dialect = connection.dialect.name
    await _many(connection, _unless_known(tables.ways, dialect), tables.ways, rows_of(WAYS[name], PLACES[name]))


async def held(engine) -> set[str]:
    async with reading(engine) as connection:
        found = [dict(row) for row in (await connection.execute(select(tables.ways))).mappings()]
    by_way = {name: [row for row in found if row["way"] == way] for name, way in WAYS.items()}
    assert sum(map(len, by_way.values())) == len(found)
    assert all(rows in ([], rows_of(WAYS[name], PLACES[name])) for name, rows in by_way.items())
    return {name for name, rows in by_way.items() if rows}


async def round_at(aging: Retention, now: int) -> None:
    while await aging.step(now):
        pass


@pytest.fixture
async def shelf(both):
    await batch.prepare(both, 64)
    async with writing(both) as connection:
        for name in PLACES:
            await know(connection, name)
        buyers = [
            {"id": f"b_{n}", "partition": n, "way": WAYS[name]} for n, name in enumerate(("sms", "sms chat", "sms"))
        ]
        await connection.execute(insert(tables.buyers), [*buyers, {"id": "b_9", "partition": 9, "way": 0}])
    return both


@pytest.mark.parametrize("terms", [Terms(), Terms(keep=1)])
async def test_what_nobody_goes_is_let_go(shelf, terms):
    """Once a day, also where everything else is kept for ever; what one buyer goes stays, with all its lines."""
    aging = Retention(shelf, 64, terms)
    await round_at(aging, NOW)
    assert await held(shelf) == {"sms", "sms chat"}
    async with writing(shelf) as connection:
        await know(connection, "old")
        await connection.execute(update(tables.buyers).where(tables.buyers.c.id == "b_1").values(way=WAYS["chat"]))
        await know(connection, "chat")
    await round_at(aging, NOW + WAYS_MS - 1)
    assert await held(shelf) == {"sms", "sms chat", "old", "chat"}
    await round_at(aging, NOW + WAYS_MS + 3_600_000)
    assert await held(shelf) == {"sms", "chat"}


async def test_not_while_the_tables_are_derived_anew(shelf):
    """Buyers are not all there then."""
    async with writing(shelf) as connection:
        await set_fact(connection, REBUILD, "start")
        step = Retention(shelf, 64, Terms())
    await step.step(NOW)
    async with writing(shelf) as connection:  # it was asked for when the step had begun
        assert not await _ways(connection)
    assert await held(shelf) == set(PLACES)


async def test_evidence_goes_at_its_time_where_all_else_is_kept(shelf):
    """What was promised of who went by age holds, though the shop keeps everything by now."""
    answer = {
        "partition": 1,
        "ms": 1,
        "buyer": "b",
        "account": "a",
        "address": "x",
        "topic": "calls",
        "verdict": "refused",
    }
    async with writing(shelf) as connection:
        rows = [{**answer, "seq": n, "line": 0, "kept_until": until} for n, until in enumerate((0, NOW, NOW + 1))]
        await connection.execute(insert(tables.consents), rows)
    await round_at(Retention(shelf, 64, Terms()), NOW)
    async with reading(shelf) as connection:
        assert set(await connection.scalars(select(tables.consents.c.kept_until))) == {0, NOW + 1}


async def test_a_batch_that_names_one_meanwhile_keeps_it(shelf):
    """It finds the way written, writes nothing, and its buyer goes it: nobody may take it away before that is seen."""
    other = open_engine(shelf.url, writer=True)
    try:
        async with writing(other) as connection:
            await batch._check(connection, "", dict.fromkeys(range(3), ""))  # as every batch begins
            await know(connection, "old")
            moved = update(tables.buyers).where(tables.buyers.c.id == "b_2")
            await connection.execute(moved.values(way=WAYS["old"]))
            letting_go = asyncio.create_task(round_at(Retention(shelf, 64, Terms()), NOW))
            await asyncio.wait([letting_go], timeout=1)  # it waits, or has looked too early
        await letting_go
        assert await held(shelf) == {"sms", "sms chat", "old"}
    finally:
        await other.dispose()
