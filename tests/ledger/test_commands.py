"""`touchpoint ledger …` and what `check` says of the ledger, as an operator runs them."""

from __future__ import annotations

import asyncio
import sqlite3
import sys

import pytest

from bot.store import Store
from ledger.database import database_url
from tests.ledger.test_pair import caught_up, projecting, write
from tests.ledger.test_projector import ROOT, write_config


@pytest.fixture
def store(redis_client):
    return Store(redis_client, 64, "test")


async def touchpoint(config, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "bot", *words, "--config", str(config)]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.STDOUT}
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, **pipes)
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    return process.returncode, out.decode()


async def test_status_rebuild_and_check_of_a_ledger(valkey, store, tmp_path):
    config = write_config(tmp_path, valkey.url)
    code, said = await touchpoint(config, "ledger", "status")
    assert (code, "is still empty; serve makes its tables" in said) == (0, True)
    await write(store, 1, 2, 3)
    async with projecting(store, database_url("sqlite:ledger.db", tmp_path)):
        await caught_up(store)

    code, said = await touchpoint(config, "ledger", "status")

    assert code == 0
    for words in (
        "ledger.db answers",
        "pair:   ",
        "lag:    0.0 s; projected by nobody: serve is not running",
        "journal 3",
    ):
        assert words in said
    code, said = await touchpoint(config, "ledger", "rebuild")
    assert (code, said.splitlines()[-1]) == (0, "3 entries derived anew")
    code, said = await touchpoint(config, "check")
    assert "ledger.db answers" in said


async def test_a_pair_that_does_not_fit_ends_with_its_line(valkey, store, tmp_path):
    config = write_config(tmp_path, valkey.url)
    await write(store, 1, 2, 3)
    async with projecting(store, database_url("sqlite:ledger.db", tmp_path)):
        await caught_up(store)
    await store.client.flushall()
    await write(store, 9)

    for words in (("ledger", "status"), ("ledger", "rebuild")):
        code, said = await touchpoint(config, *words)
        assert code == 1
        assert "this store is new or was emptied" in said
        assert "Traceback" not in said
    code, said = await touchpoint(config, "ledger", "adopt")
    assert (code, "are a pair now" in said) == (0, True)
    code, said = await touchpoint(config, "ledger", "status")
    assert code == 0, said


async def test_a_foreign_database_fails_the_check(valkey, redis_client, tmp_path):
    config = write_config(tmp_path, valkey.url)
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("CREATE TABLE invoices (id INTEGER)")

    code, said = await touchpoint(config, "check")

    assert code == 1
    assert "holds tables of another program; give the ledger a database of its own" in said
