"""Many buyers: the realistic segments of the bench are found by index and in one pass; nothing is asked buyer by buyer beyond that."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from bench.segments import SEGMENTS
from ledger import scores, tables
from ledger.segments import Moment, parse, where_of
from ledger.segments.preview import find
from tests.ledger import plain
from tests.ledger.shopfuls import Shopful

COUNT = 10_000
pytestmark = pytest.mark.timeout(240)
STEPS = 40
"""Instructions of SQLite's machine per buyer: a pass takes 7, a probe of addresses 10 more; a join per buyer takes many times that."""


@pytest.fixture(scope="module")
def shopful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopful]:
    made = Shopful("sqlite:ledger.db", tmp_path_factory.mktemp("many"), COUNT, seed=11)

    async def settle() -> plain.People:
        work = scores.Scores(made.engine, 64)
        while await work.step(made.now):
            pass
        async with made.engine.connect() as connection:
            return await plain.read(connection, made.now, made.zone)

    made.people = made.run(settle())  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.mark.parametrize("name", SEGMENTS)
def test_each_realistic_segment_is_right_and_cheap(shopful: Any, name: str) -> None:
    """Right by plain Python; cheap by the count of SQLite's own steps, which no busy machine changes."""
    where = {"all": SEGMENTS[name]}
    condition = where_of(parse(where), Moment(shopful.now, shopful.zone, "CNY"))
    expected = shopful.people.inside(where)

    async def look() -> Any:
        async with shopful.engine.connect() as connection:
            return await find(connection, condition, name)

    found = shopful.run(look())
    assert found.count == len(expected)
    assert set(found.sample) <= expected
    assert len(found.sample) == min(10, len(expected))
    assert steps_of(shopful, condition) < STEPS * COUNT


def steps_of(shopful: Any, condition: Any) -> int:
    """How many instructions SQLite runs to find all of them."""
    asked = select(tables.buyers.c.id).where(condition)
    words = str(asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    connection = sqlite3.connect(shopful.url.database)
    connection.set_progress_handler(count, 1000)
    connection.execute(words).fetchall()
    connection.close()
    return thousands * 1000
