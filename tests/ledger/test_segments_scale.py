"""Many buyers: the realistic segments of the bench are found by index and in one pass; nothing is asked buyer by buyer beyond that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.dialects import sqlite

from bench.segments import ACCOUNTS, SEGMENTS
from bot.broadcasts import Broadcast, Variant
from ledger import scores, tables
from ledger.audiences import LedgerAudiences
from ledger.segments import Moment, parse, where_of
from ledger.segments.exclusions import READY
from ledger.segments.preview import find
from tests.ledger import plain
from tests.ledger.shopfuls import Shopful

COUNT = 10_000
PREVIEW_STEPS = 320  # some 250 with seven switches; a sort or a join per buyer takes hundreds more
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


def test_a_preview_reads_the_buyers_once_and_sorts_nobody(shopful: Any) -> None:
    """All that it tells, with every switch and two variants: one statement, whose work grows with the buyers alone."""
    everybody = Broadcast(
        "c_1", "x", "marketing", ("wechat-main", "sms-cn"), {}, 0, "staff", where=json.dumps({"all": []}),
        exclude=tuple(one.name for one in READY), variants=(Variant("a", weight=3), Variant("b", weight=2)),
    )  # fmt: skip
    asked: list[tuple[str, Any]] = []

    async def views(_: Any) -> dict[str, Any]:
        return {}

    async def look() -> Any:
        moment = Moment(shopful.now, shopful.zone, "CNY")
        audiences = LedgerAudiences(shopful.url, moment=lambda: moment, accounts=ACCOUNTS, views=views)
        event.listen(
            audiences._reader.sync_engine, "before_cursor_execute", lambda *seen: asked.append((seen[2], seen[3]))
        )
        try:
            return await audiences.preview(everybody, sample=10)
        finally:
            await audiences.close()

    found = shopful.run(look())
    (words, values), *more = [one for one in asked if "buyers" in one[0]]
    assert not more
    assert (found.matched, len(found.sample)) == (len(shopful.people.inside({"all": []})), 10)
    assert run_by_steps(shopful, words, values) < PREVIEW_STEPS * COUNT
    with sqlite3.connect(shopful.url.database) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {words}", values)]
    assert not any("TEMP B-TREE" in line and "DISTINCT" not in line for line in plan)  # of the few ways, that one


def steps_of(shopful: Any, condition: Any) -> int:
    """How many instructions SQLite runs to find all of them."""
    asked = select(tables.buyers.c.id).where(condition)
    words = str(asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    return run_by_steps(shopful, words)


def run_by_steps(shopful: Any, words: str, values: Any = ()) -> int:
    thousands = 0

    def count() -> int:
        nonlocal thousands
        thousands += 1
        return 0

    connection = sqlite3.connect(shopful.url.database)
    connection.set_progress_handler(count, 1000)
    connection.execute(words, values).fetchall()
    connection.close()
    return thousands * 1000
