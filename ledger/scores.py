"""R, F and M: 1 to 5 by fifths of the shop's buyers who ever paid, 0 for the rest; and what the databases' planners know.

Once a day, or when asked, the bounds between the fifths are drawn (three sorts) and everybody is scored by them, one partition per
step, so that the projection never waits long. In between the projector scores whom it writes by the bounds there are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, case, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.clock import DAY_MS
from bot.events import Ms
from ledger import tables
from ledger.database import writing
from ledger.facts import fact, set_fact
from ledger.segments.predicates import ALIVE

BOUNDS, SCORED = "rfm", "scored_at"
FIFTHS = 5
LOOK_S = 2.0
_BUYERS = tables.buyers.c
_METRICS: dict[str, tuple[Column[Any], Column[Any]]] = {
    "r": (_BUYERS.r, _BUYERS.last_order_at),
    "f": (_BUYERS.f, _BUYERS.orders_count),
    "m": (_BUYERS.m, _BUYERS.spent),
}
Bounds = dict[str, list[Any]]
"""By score: the highest value of each fifth but the last. Whoever is above the n-th has n + 1; equal values, equal scores."""


class Scores:
    """The daily work, step by step; a process that dies in the middle has it to do again."""

    def __init__(self, engine: AsyncEngine, partitions: int) -> None:
        self._engine, self._partitions = engine, partitions
        self._left: list[int] = []
        self._look_at = 0.0

    async def step(self, now: Ms) -> bool:
        """Does a little if there is something to do; whether there was. `now` is the server's time. Raises LedgerError."""
        if self._left:
            async with writing(self._engine) as connection:
                mine = _BUYERS.partition == self._left[-1]
                await _score(connection, await _known(connection), mine)
                if len(self._left) == 1:
                    await set_fact(connection, SCORED, str(now))
                    await analyse(connection)
            self._left.pop()
            return True
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_S
        async with writing(self._engine) as connection:
            last = int(await fact(connection, SCORED) or 0)
            if 0 <= now - last < DAY_MS:
                return False
            await set_fact(connection, BOUNDS, json.dumps(await draw(connection), default=str))
        self._left = list(range(self._partitions))
        return True


async def ask(connection: AsyncConnection) -> None:
    """Has the bounds drawn anew at the next look, within seconds."""
    await set_fact(connection, SCORED, "")


async def draw(connection: AsyncConnection) -> Bounds:
    """The bounds as they are now."""
    found: Bounds = {}
    for name, (_, column) in _METRICS.items():
        paid = select(column.label("value"), func.ntile(FIFTHS).over(order_by=column).label("fifth"))
        ranked = paid.where(ALIVE, _BUYERS.orders_count > 0).subquery()
        highest = select(func.max(ranked.c.value)).group_by(ranked.c.fifth).order_by(ranked.c.fifth)
        found[name] = list((await connection.execute(highest)).scalars())[: FIFTHS - 1]
    return found


async def keep(connection: AsyncConnection, buyers: Collection[str]) -> None:
    """Scores the buyers that were just written, by the bounds there are."""
    if buyers and (bounds := await _known(connection)):
        ids = list(buyers)
        for start in range(0, len(ids), 500):
            await _score(connection, bounds, _BUYERS.id.in_(ids[start : start + 500]))


async def analyse(connection: AsyncConnection) -> None:
    """Tells the planner how the tables look; a sample is enough."""
    if connection.dialect.name == "sqlite":
        await connection.execute(text("PRAGMA analysis_limit = 1000"))
    await connection.execute(text("ANALYZE"))


async def _known(connection: AsyncConnection) -> Bounds:
    known: Bounds = json.loads(await fact(connection, BOUNDS) or "{}")
    if known:
        known["m"] = [Decimal(value) for value in known["m"]]
    return known


async def _score(connection: AsyncConnection, bounds: Bounds, who: ColumnElement[bool]) -> None:
    scores = {column: _scored(name, value, bounds) for name, (column, value) in _METRICS.items()}
    moved = or_(*(column != score for column, score in scores.items()))
    values = {column.name: score for column, score in scores.items()}
    await connection.execute(update(tables.buyers).where(who, moved).values(values))


def _scored(name: str, column: Column[Any], bounds: Bounds) -> ColumnElement[int]:
    whens: list[tuple[ColumnElement[bool], int]] = [(_BUYERS.orders_count == 0, 0)]
    for n, bound in reversed(list(enumerate(bounds[name]))):
        whens.append((column > bound, n + 2))
    return case(*whens, else_=1)
