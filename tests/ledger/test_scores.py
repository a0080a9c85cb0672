"""R, F and M by fifths of who ever paid: drawn once a day, kept for who is written in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.clock import DAY_MS
from ledger import scores, tables
from ledger.database import writing
from ledger.facts import fact
from tests.ledger.shopfuls import Shopful

COLUMNS = {"r": "last_order_at", "f": "orders_count", "m": "spent"}
B = tables.buyers.c


@pytest.fixture(params=["sqlite", "postgresql"])
def shopful(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Shopful]:
    url = "sqlite:ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgresql").database()
    made = Shopful(url, tmp_path, 300, seed=3)
    yield made
    made.close()


async def buyers(shopful: Shopful) -> dict[str, dict[str, Any]]:
    async with shopful.engine.connect() as connection:
        return {row["id"]: dict(row) for row in (await connection.execute(select(tables.buyers))).mappings()}


def fifths(rows: list[dict[str, Any]], column: str) -> list[Any]:
    """The highest value of each of the first four fifths, as even as may be, the larger ones first."""
    values = sorted(row[column] for row in rows)
    size, more = divmod(len(values), 5)
    ends, at = [], 0
    for n in range(4):
        at += size + (n < more)
        ends.append(values[at - 1])
    return ends


def draw_all(shopful: Shopful, now: int) -> int:
    """Steps until there is nothing left to do; how many."""

    async def run() -> int:
        work, steps = scores.Scores(shopful.engine, 64), 0
        while await work.step(now):
            steps += 1
        return steps

    return shopful.run(run())


def test_everybody_is_scored_by_fifths(shopful: Shopful) -> None:
    assert draw_all(shopful, shopful.now) == 65  # the bounds, then one step a partition

    everybody = shopful.run(buyers(shopful))
    paid = [b for b in everybody.values() if b["orders_count"] and not b["erased"] and not b["merged_into"]]
    assert len(paid) > 100
    for score, column in COLUMNS.items():
        bounds = fifths(paid, column)
        for buyer in everybody.values():
            above = sum(buyer[column] > bound for bound in bounds)
            assert buyer[score] == (1 + above if buyer["orders_count"] else 0), (score, buyer)
        assert {b[score] for b in paid} >= {1, 5}


def test_once_a_day_and_when_asked(shopful: Shopful) -> None:
    assert draw_all(shopful, shopful.now) == 65
    assert draw_all(shopful, shopful.now + DAY_MS - 1) == 0
    assert draw_all(shopful, shopful.now + DAY_MS) == 65
    assert draw_all(shopful, shopful.now + DAY_MS) == 0

    async def ask() -> None:
        async with writing(shopful.engine) as connection:
            await scores.ask(connection)

    shopful.run(ask())
    assert draw_all(shopful, shopful.now + DAY_MS) == 65
    assert draw_all(shopful, shopful.now) == 65  # a clock that went back is no reason to wait


def test_half_done_work_is_done_again(shopful: Shopful) -> None:
    async def run() -> None:
        work = scores.Scores(shopful.engine, 64)
        for _ in range(10):
            await work.step(shopful.now)

    shopful.run(run())
    assert draw_all(shopful, shopful.now) == 65


def test_who_is_written_is_scored_at_once(shopful: Shopful) -> None:
    """By the bounds that stand; before any are drawn nobody is."""

    async def spend(amount: int) -> Any:
        async with writing(shopful.engine) as connection:
            row = {"orders_count": 50, "spent": amount, "last_order_at": shopful.now}
            await connection.execute(update(tables.buyers).where(B.id == id).values(row))
            await scores.keep(connection, [id])
        return (await buyers(shopful))[id]

    id = min(shopful.run(buyers(shopful)))
    untouched = shopful.run(spend(1_000_000))
    assert (untouched["r"], untouched["f"], untouched["m"]) == (0, 0, 0)
    draw_all(shopful, shopful.now)
    rich, poor = shopful.run(spend(1_000_000)), shopful.run(spend(1))
    assert (rich["r"], rich["f"], rich["m"]) == (5, 5, 5)
    assert (poor["r"], poor["f"], poor["m"]) == (5, 5, 1)


def test_a_shop_without_orders(shopful: Shopful) -> None:
    async def clear() -> None:
        async with writing(shopful.engine) as connection:
            await connection.execute(update(tables.buyers).values(orders_count=0))

    shopful.run(clear())
    draw_all(shopful, shopful.now)
    assert {b["r"] for b in shopful.run(buyers(shopful)).values()} == {0}

    async def known() -> str:
        async with shopful.engine.connect() as connection:
            return await fact(connection, scores.BOUNDS)

    assert shopful.run(known()) == '{"r": [], "f": [], "m": []}'
