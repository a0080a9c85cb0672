"""The projector under kill -9, beside another one, without its database; and a rebuild that is broken off."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from bot import keys
from bot.queries import Queries
from bot.store import Store
from ledger import batch, commands, rebuild, tables
from ledger.database import database_url, open_engine
from ledger.projector import Projector
from ledger.reading import History
from tests.gateway import running
from tests.ledger.life import Book, recorded
from tests.ledger.test_pair import caught_up, projecting

ROOT = Path(__file__).resolve().parents[2]
LIVES_AT = """
[brand]
name = "小满衣橱"
[redis]
url = "{redis}"
[ledger]
url = "sqlite:ledger.db"
[sandbox]
enabled = true
"""
_kept: dict[str, object] = {}


@pytest.fixture
async def journals(valkey, redis_client, tmp_path):
    if "day" not in _kept:
        _kept["day"] = await recorded(valkey, tmp_path)
        await redis_client.flushall()
    return _kept["day"]


@pytest.fixture
async def whole(journals, tmp_path):
    """The tables of that day, from one batch."""
    book = await Book(tmp_path, "whole.db").open()
    await book.project(journals)
    found = await book.dump()
    await book.close()
    return found


@pytest.fixture
def store(redis_client):
    return Store(redis_client, 64, "test")


async def pour(store, journals, pause: float = 0.0) -> None:
    """The day happens again: entries of one partition in their order, partitions in any."""
    rest = {p: list(page) for p, page in journals.items() if page}
    draw = random.Random(7)
    while rest:
        p = draw.choice(sorted(rest))
        ms, seq, kind, body = rest[p].pop(0)
        await store.client.xadd(keys.journal(p), {"k": kind, "b": body}, id=f"{ms}-{seq}")
        if not rest[p]:
            del rest[p]
        await asyncio.sleep(pause)


async def dump(folder, name="ledger.db"):
    book = Book(folder, name)
    found = await book.dump()
    await book.close()
    return found


def write_config(folder: Path, redis: str) -> Path:
    path = folder / "config.toml"
    path.write_text(LIVES_AT.format(redis=redis))
    return path


async def start(config: Path, owner: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "bot", "projector", "--config", str(config), "--owner", owner]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT)


@pytest.mark.timeout(120)
async def test_killed_again_and_again_it_neither_loses_nor_doubles(
    valkey, store, journals, whole, tmp_path, monkeypatch
):
    """kill -9 at random moments, while entries come and two processes want to project."""
    config = write_config(tmp_path, valkey.url)
    draw = random.Random(3)
    pouring = asyncio.create_task(pour(store, journals, 0.02))
    processes = [await start(config, f"p{n}") for n in range(2)]
    for n in range(6):
        await asyncio.sleep(draw.uniform(0.5, 1.5))
        victim = processes.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        await victim.wait()
        await store.client.delete(keys.LEDGER_LEASE)  # as the supervisor does for its dead
        processes.append(await start(config, f"p{n + 2}"))
    await pouring
    await caught_up(store, 60)
    for process in processes:
        process.terminate()
        # One that has only just been started has nothing to end yet, and listens to nobody.
        assert await asyncio.wait_for(process.wait(), 10) in (0, -signal.SIGTERM)

    assert await dump(tmp_path) == whole


async def test_two_that_believe_to_be_the_one_do_no_harm(store, journals, whole, tmp_path):
    """The lease is an economy only: positions alone keep each entry to one."""
    url = database_url("sqlite:ledger.db", tmp_path)
    both = [Projector(store, url, "same-owner", currency="CNY", lease_ms=60_000) for _ in range(2)]
    tasks = [asyncio.create_task(one.run()) for one in both]
    await pour(store, journals, 0.002)
    await caught_up(store)
    for one in both:
        one.stop()
    await asyncio.gather(*tasks)

    assert await dump(tmp_path) == whole


async def test_a_ledger_that_is_away_holds_nothing_up(valkey, redis_client, tmp_path, capfd):
    """Buyers are answered, readyz stays green, one line says what is wrong; what has waited is projected afterwards."""
    (tmp_path / "blocked").write_text("a file where a folder should be")
    async with running(valkey, tmp_path, extra='[ledger]\nurl = "sqlite:blocked/ledger.db"', ledger=True) as gw:
        await gw.say("p1", "你好")
        await gw.said("p1", 1)
        await gw.idle()
        async with asyncio.timeout(10):
            while not (await gw.gateway.queries.projection()).get("error"):
                await asyncio.sleep(0.02)
        async with gw.session.get(f"{gw.base}/readyz") as answer:
            assert answer.status == 200
        async with gw.session.get(f"{gw.base}/metrics") as answer:
            lag = next(line for line in (await answer.text()).splitlines() if line.startswith("touchpoint_ledger_lag"))
        assert float(lag.split()[1]) > 0
        (tmp_path / "blocked").unlink()
        await gw.projected()
    said = capfd.readouterr().err
    assert said.count("does not answer; the folder must exist and be writable") == 1
    assert "Messages go on; history waits in Redis" in said
    assert "takes history again" in said


async def test_a_rebuild_gives_the_same_tables(store, journals, whole, tmp_path):
    url = database_url("sqlite:ledger.db", tmp_path)
    await pour(store, journals)
    async with projecting(store, url):
        await caught_up(store)
    await spoil(url)

    said = await commands.rebuilt(store, url, currency="CNY")

    assert said == f"{sum(map(len, journals.values())):,} entries derived anew"
    assert await dump(tmp_path) == whole


async def test_a_rebuild_that_breaks_off_goes_on_at_the_next_start(store, journals, whole, tmp_path, monkeypatch):
    """Meanwhile nobody may take the tables for whole, and what comes waits in Redis."""
    monkeypatch.setattr(rebuild, "PAGE", 7)
    url = database_url("sqlite:ledger.db", tmp_path)
    first = {p: page[:-1] for p, page in journals.items()}
    await pour(store, first)
    async with projecting(store, url):
        await caught_up(store)
    await spoil(url)
    engine, history = open_engine(url, writer=True), History(url)
    await rebuild.begin(engine)
    for _ in range(5):
        assert await rebuild.step(engine, "CNY")
    assert not await history.covers({})
    await pour(store, {p: page[-1:] for p, page in journals.items()})
    assert (await rebuild.progress(engine)).done > 0

    async with projecting(store, url):
        await caught_up(store)

    assert await history.covers(await Queries(store).ends())
    await engine.dispose()
    await history.close()
    assert await dump(tmp_path) == whole


async def spoil(url) -> None:
    """Derived rows that are wrong, and some that are gone."""
    engine = open_engine(url, writer=True)
    async with engine.begin() as connection:
        await connection.execute(delete(tables.messages))
        await connection.execute(insert(tables.tags), [{"buyer": "nobody", "tag": "wrong"}])
    await engine.dispose()


async def test_a_running_projector_does_the_rebuild_that_is_asked_for(store, journals, whole, tmp_path):
    url = database_url("sqlite:ledger.db", tmp_path)
    await pour(store, journals)
    async with projecting(store, url):
        await caught_up(store)
        await spoil(url)
        await commands.rebuilt(store, url, currency="CNY")

    assert await dump(tmp_path) == whole


async def test_a_bug_in_a_rule_holds_nothing_up(store, journals, tmp_path, monkeypatch):
    """What a rule breaks on is kept raw and counted; all else goes on."""
    whole_fold = batch.fold

    def fold(entry, state):
        if entry.partition == min(journals):
            raise RuntimeError("a rule that is wrong")
        whole_fold(entry, state)

    monkeypatch.setattr(batch, "fold", fold)
    url = database_url("sqlite:ledger.db", tmp_path)
    await pour(store, journals)
    async with projecting(store, url):
        await caught_up(store)
    report = await commands.status(store, url)
    assert any(line.startswith(f"unread: {len(journals[min(journals)])} entries are kept raw") for line in report.lines)

    monkeypatch.undo()
    await commands.rebuilt(store, url, currency="CNY")
    assert not any(line.startswith("unread") for line in (await commands.status(store, url)).lines)
