"""A store and a ledger that do not belong together are told apart at the start, and never silently mixed."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select

from bot import keys
from bot.housekeeping import Housekeeping
from bot.queries import Queries
from bot.store import Store
from ledger import commands, tables
from ledger.database import database_url, open_engine
from ledger.projector import Projector
from tests.stores import KINDS

HOUR = 3_600_000
_serial = itertools.count(1)


@pytest.fixture
def store(redis_client):
    return Store(redis_client, 4, "test")


@pytest.fixture
def url(tmp_path):
    return database_url("sqlite:ledger.db", tmp_path)


@asynccontextmanager
async def projecting(store, url):
    """A projector that runs."""
    projector = Projector(store, url, f"projector{next(_serial)}", currency="CNY", lease_ms=10_000)
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        projector.stop()
        await task


async def write(store, *numbers, partition=1):
    """Entries of one partition: what they say does not matter here."""
    for number in numbers:
        body = {"k": "status", "b": b"\x94\xa1m\xa4sent\x01\xa0"}
        await store.client.xadd(keys.journal(partition), body, id=f"{number}-0")


async def caught_up(store, timeout=40):
    async with asyncio.timeout(timeout):
        while await Queries(store).unprojected():
            await asyncio.sleep(0.02)


async def held(url) -> list[int]:
    """The entries that the ledger holds."""
    engine = open_engine(url)
    async with engine.connect() as connection:
        found = await connection.scalars(select(tables.journal.c.ms).order_by(tables.journal.c.ms))
        rows = list(found)
    await engine.dispose()
    return rows


async def refusal(store, url, timeout=10) -> str:
    """What the projector says when it does not begin."""
    async with projecting(store, url), asyncio.timeout(timeout):
        while not (said := (await Queries(store).projection()).get("error")):
            await asyncio.sleep(0.02)
    return said


async def first_life(store, url):
    await write(store, 1, 2, 3)
    async with projecting(store, url):
        await caught_up(store)
    assert await held(url) == [1, 2, 3]


@pytest.mark.parametrize("store_kind", KINDS, indirect=True)
async def test_the_first_start_makes_a_pair(store, url):
    await first_life(store, url)

    report = await commands.status(store, url)
    assert report.well
    assert f"pair:   {(await store.client.hget('meta', 'epoch')).decode()}" in report.lines


async def test_an_emptied_store_is_refused_until_it_is_adopted(store, url):
    await first_life(store, url)
    await store.client.flushall()
    await write(store, 2, 7)

    said = await refusal(store, url)

    assert "this store is new or was emptied, but the ledger belongs to another" in said
    assert "touchpoint ledger adopt" in said
    assert await held(url) == [1, 2, 3]
    assert not (await commands.status(store, url)).well
    await commands.adopt(store, url)
    async with projecting(store, url):
        await caught_up(store)
    assert await held(url) == [1, 2, 3, 7]


async def test_a_pair_without_a_history_is_made_anew(store, url):
    """The store was emptied, or the other one written to, before anything was projected: nothing can be mixed."""
    async with projecting(store, url):
        async with asyncio.timeout(10):
            while not await store.client.hget("meta", "epoch"):
                await asyncio.sleep(0.02)
    await store.client.flushall()
    await first_life(store, url)


async def test_another_ledger_is_refused(store, url, tmp_path):
    await first_life(store, url)
    other = database_url("sqlite:other.db", tmp_path)

    said = await refusal(store, other)

    assert "this ledger is new, but the store was projected into another one" in said
    await store.client.flushall()
    await first_life(store, other)
    assert "the ledger belongs to another store" in await refusal(store, url)


async def test_a_store_that_was_restored_is_refused(store, url):
    """An older copy lacks what the ledger holds, also when new entries have come since."""
    await write(store, 1, 2)
    async with projecting(store, url):
        await caught_up(store)
        names = (keys.journal(1).encode(), b"meta", b"ledger:marks")
        copy = {name: await store.client.dump(name) for name in names}
        await write(store, 3, 4)
        await caught_up(store)
    await store.client.flushall()
    for name, value in copy.items():
        await store.client.restore(name, 0, value)

    assert "the store was set back, it lacks what the ledger holds" in await refusal(store, url)
    await write(store, 9)
    await store.client.delete(keys.LEDGER_STATE)
    assert "the store was set back" in await refusal(store, url)
    await commands.adopt(store, url)
    async with projecting(store, url):
        await caught_up(store)
    assert await held(url) == [1, 2, 3, 4, 9]


async def test_a_journal_that_is_gone_is_refused(store, url):
    """Of one partition alone, with everything else as it was: what it held besides is not known."""
    await first_life(store, url)
    await store.client.delete(keys.journal(1))

    assert "the store was set back" in await refusal(store, url)


@pytest.mark.parametrize("marked", ["3-0", "2-0"], ids=["told", "not yet told"])
@pytest.mark.parametrize("gone", [("3-0",), ("1-0", "2-0"), ("1-0", "2-0", "3-0")], ids=["newest", "oldest", "all"])
async def test_entries_that_go_by_themselves_part_nobody(store, url, gone, marked):
    """Old ones are swept, an erased buyer's are taken out, a crash leaves the mark behind the ledger: it goes on."""
    await first_life(store, url)
    await store.client.xdel(keys.journal(1), *gone)
    if marked != "3-0" and "3-0" not in gone:
        await store.client.hset(keys.LEDGER_MARKS, "1", marked)
    await write(store, 9)

    async with projecting(store, url):
        await caught_up(store)
    assert await held(url) == [1, 2, 3, 9]
    assert (await commands.status(store, url)).well


async def test_a_journal_without_entries_parts_nobody(store, url):
    """All swept, the mark a crash behind: what it last gave out says that it is the one."""
    await first_life(store, url)
    await store.client.xtrim(keys.journal(1), maxlen=0)
    await store.client.hset(keys.LEDGER_MARKS, "1", "2-0")

    assert (await commands.status(store, url)).well


async def test_a_ledger_that_was_restored_goes_on_while_the_journals_reach_back(store, url, tmp_path):
    await first_life(store, url)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
    await write(store, 4, 5)
    async with projecting(store, url):
        await caught_up(store)
    older = database_url("sqlite:older.db", tmp_path)

    async with projecting(store, older), asyncio.timeout(10):
        while await held(older) != [1, 2, 3, 4, 5]:
            await asyncio.sleep(0.02)


async def test_a_ledger_that_was_restored_from_too_long_ago_is_refused(store, url, tmp_path):
    await first_life(store, url)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
    await write(store, 4, 5)
    async with projecting(store, url):
        await caught_up(store)
    store.fences[1] = 1
    await Housekeeping(store).sweep(100 * HOUR)
    assert await store.client.xlen(keys.journal(1)) == 1

    said = await refusal(store, database_url("sqlite:older.db", tmp_path))

    assert "the ledger was set back, and the journals do not reach back so far" in said


async def test_a_ledger_from_before_its_first_entries_is_refused_once_these_are_swept(store, url, tmp_path):
    """It belongs to the store and holds nothing of this partition, whose journal does not reach back to its beginning."""
    await write(store, 1, partition=2)
    async with projecting(store, url):
        await caught_up(store)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
    await write(store, 1, 2, 3)
    async with projecting(store, url):
        await caught_up(store)
    await store.client.xtrim(keys.journal(1), maxlen=0)
    await write(store, 9)

    said = await refusal(store, database_url("sqlite:older.db", tmp_path))

    assert "the ledger was set back, and the journals do not reach back so far" in said


async def test_a_pair_that_is_changed_beside_a_running_projector_is_noticed(store, url):
    await first_life(store, url)
    async with projecting(store, url):
        await asyncio.sleep(0.3)
        await store.client.flushall()
        await write(store, 8)
        async with asyncio.timeout(10):
            while not (await Queries(store).projection()).get("error"):
                await asyncio.sleep(0.02)
        assert await held(url) == [1, 2, 3]


async def test_one_with_a_foreign_ledger_gives_way_to_the_right_one(store, url, tmp_path):
    """Two machines, each with a file of its own: whoever came first, the file that belongs to the store is written."""
    await first_life(store, url)
    await write(store, 4)
    async with projecting(store, database_url("sqlite:elsewhere.db", tmp_path)):
        async with asyncio.timeout(10):
            while not (await Queries(store).projection()).get("error"):
                await asyncio.sleep(0.02)
        async with projecting(store, url):
            await caught_up(store)
            assert await held(url) == [1, 2, 3, 4]


async def test_an_entry_is_counted_once(store, url):
    await first_life(store, url)
    engine = open_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(tables.messages)) == 1
    await engine.dispose()
