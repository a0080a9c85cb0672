"""What is older than the shop keeps it goes from the ledger, a page at a time, while there is nothing to project.

The order makes it safe to break off at any moment, and to derive anew at any moment: first the raw entries go, each page in
one transaction with marks on the rows that they told of (`rooted`: a rebuild keeps these as they stand) and with the place up
to which they are gone (`positions.floor`); then the lines and rows that are too old themselves, whose raw entries are gone by
then, so that no rebuild brings them back. Evidence of consents stays with its buyer, and for its own time after.
Ways that no buyer goes any more go as well, once a day, whatever is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import islice

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.events import Ms
from bot.keeping import Before, Terms, before
from bot.parting import Answer
from bot.records import Order
from ledger import tables as t
from ledger.database import reading, writing
from ledger.derive import Wanted, decode, wanted
from ledger.derive.entries import Turn, UnreadableError
from ledger.facts import REBUILD, fact
from ledger.lookups import Named

PAGE = 500
GROUP = 16  # places that a step looks at, at most
AGAIN_MS = 3_600_000  # a round begins an hour after the last one began
WAYS_MS = 86_400_000
CLOSED = ("done", "expired")
Step = Callable[[AsyncConnection], Awaitable[bool]]
"""A page of something in one transaction: whether there may be more of it."""


class Retention:
    """Rounds over everything that is kept by age; a step is one page, or a look at some places where nothing is too old."""

    def __init__(self, engine: AsyncEngine, partitions: int, terms: Terms) -> None:
        self._engine = engine
        self._partitions = partitions
        self._terms = terms
        self._steps: deque[Step] = deque()
        self._next_at: Ms = 0
        self._ways_at: Ms = 0

    async def step(self, now: Ms) -> bool:
        """One page; whether anything was to be done. `now`: the gateway's time. Raises LedgerError."""
        if not self._steps:
            if now < self._next_at:
                return False
            self._steps.extend(_round(before(self._terms, now), self._partitions, now))
            self._next_at = now + AGAIN_MS
            if now >= self._ways_at:
                self._steps.append(_ways)
                self._ways_at = now + WAYS_MS
        done = 0
        async with writing(self._engine) as connection:
            if await fact(connection, REBUILD):
                return False  # entries that are not told anew yet must not go
            for step in islice(self._steps, GROUP):
                if await step(connection):
                    break
                done += 1
        for _ in range(done):
            self._steps.popleft()
        return True


def _round(old: Before, partitions: int, now: Ms) -> list[Step]:
    """The steps of a round, in the order that keeps a rebuild right."""
    steps: list[Step] = [partial(_raw, partition=p, old=old.raw) for p in range(partitions) if old.raw]
    if old.keep:
        for table in (t.timeline, t.decisions):
            steps += [partial(_lines, table=table, partition=p, old=old.keep) for p in range(partitions)]
        steps += [partial(_messages, old=old.keep), partial(_tasks, old=old.keep)]
    steps.append(partial(_evidence, now=now))
    return steps


# --- raw entries ------------------------------------------------------------------------------------------------------


async def _raw(connection: AsyncConnection, partition: int, old: Ms) -> bool:
    c = t.journal.c
    place = select(t.positions).where(t.positions.c.partition == partition).with_for_update()
    await connection.execute(place)  # a rebuild that begins waits for this page
    if await fact(connection, REBUILD):
        return False
    page = list(
        await connection.execute(
            select(c.ms, c.seq, c.kind, c.body)
            .where(c.partition == partition, c.ms < old)
            .order_by(c.ms, c.seq)
            .limit(PAGE)
        )
    )
    if not page:
        return False
    await _root(connection, partition, page)
    last = page[-1]
    gone = and_(c.partition == partition, (c.ms < last.ms) | ((c.ms == last.ms) & (c.seq <= last.seq)))
    await connection.execute(delete(t.journal).where(gone))
    floor = update(t.positions).where(t.positions.c.partition == partition).values(floor=f"{last.ms}-{last.seq}")
    await connection.execute(floor)
    return True


async def _root(connection: AsyncConnection, partition: int, page: Collection[object]) -> None:
    """Marks the rows that these entries told of."""
    told, orders = Wanted(), set[str]()
    for row in page:
        try:
            entry = decode(partition, row.ms, row.seq, row.kind, row.body)  # type: ignore[attr-defined]  # a row of `journal`
        except UnreadableError:
            continue
        wanted(entry, told)
        if isinstance(entry.body, Turn) and isinstance(entry.body.record, Order):
            orders.add(entry.body.record.subject)
    for table, keys in (
        (t.buyers, told.buyers),
        (t.coupons, told.coupons),
        (t.owners, told.owners),
        (t.orders, orders),
        (t.messages, told.messages),
        (t.tasks, told.tasks),
    ):
        key = next(iter(table.primary_key.columns))
        for part in _parts(keys):
            marked = update(table).where(key.in_(bindparam("wanted", expanding=True)), table.c.rooted.is_(False))
            await connection.execute(marked.values(rooted=True), {"wanted": part})


def _parts(keys: Collection[str]) -> list[list[str]]:
    listed = sorted(keys)
    return [listed[start : start + PAGE] for start in range(0, len(listed), PAGE)]


# --- what follows from them -------------------------------------------------------------------------------------------


async def _lines(connection: AsyncConnection, table: Table, partition: int, old: Ms) -> bool:
    c = table.c
    here = and_(c.partition == partition, _old_lines(table, old))
    stop = select(c.ms, c.seq).where(here).order_by(c.ms, c.seq).offset(PAGE - 1).limit(1)
    last = (await connection.execute(stop)).first()
    if last is not None:
        here = and_(here, (c.ms < last.ms) | ((c.ms == last.ms) & (c.seq <= last.seq)))
    await connection.execute(delete(table).where(here))
    return last is not None


def _old_lines(table: Table, old: Ms) -> ColumnElement[bool]:
    """By both clocks: what is told of, and when it was written down (they differ in the sandbox, whose clock can be moved)."""
    return and_(table.c.ms < old, table.c.at < old)


def _old_messages(old: Ms) -> ColumnElement[bool]:
    return and_(t.messages.c.created_at < old, t.messages.c.updated_at < old)


async def _messages(connection: AsyncConnection, old: Ms) -> bool:
    c = t.messages.c
    names = list(await connection.scalars(select(c.id).where(_old_messages(old)).order_by(c.created_at).limit(PAGE)))
    if names:
        await connection.execute(delete(t.history).where(t.history.c.message.in_(names)))
        await connection.execute(delete(t.messages).where(c.id.in_(names)))
    return len(names) == PAGE


def _old_tasks(old: Ms) -> ColumnElement[bool]:
    c = t.tasks.c
    return and_(c.state.in_(CLOSED), c.created_at < old, c.told_at < old)


async def _tasks(connection: AsyncConnection, old: Ms) -> bool:
    await connection.execute(delete(t.tasks).where(_old_tasks(old)))
    return False


async def _evidence(connection: AsyncConnection, now: Ms) -> bool:
    c = t.consents.c
    await connection.execute(delete(t.consents).where(c.kept_until > 0, c.kept_until <= now))
    return False


async def _ways(connection: AsyncConnection) -> bool:
    """Those that nobody's addresses come to now. A batch that names one again waits, and writes it anew."""
    await connection.execute(select(t.positions.c.partition).order_by(t.positions.c.partition).with_for_update())
    if not await fact(connection, REBUILD):
        await connection.execute(delete(t.ways).where(t.ways.c.way.not_in(select(t.buyers.c.way).distinct())))
    return False


# --- whose time has come ----------------------------------------------------------------------------------------------


def _silent(old: Ms, now: Ms) -> ColumnElement[bool]:
    """Buyers that may have to go, as the ledger knows them: their record decides."""
    c = t.buyers.c
    valid = and_(
        t.coupons.c.buyer == c.id,
        t.coupons.c.state == "claimed",
        or_(t.coupons.c.expires_at == 0, t.coupons.c.expires_at > now),
    )
    return and_(
        c.erased.is_(False), c.merged_into == "", c.member_joined_at == 0, c.created_at < old, c.last_in_at < old,
        c.last_order_at < old, c.home != "", ~exists(select(1).where(valid)),
    )  # fmt: skip


async def silent(connection: AsyncConnection, old: Ms, now: Ms, *, after: str, limit: int) -> list[Named]:
    """Buyers without a sign of life since then and without card or coupon, in the order of their ids from just after one."""
    c = t.buyers.c
    query = select(c.id, c.home).where(c.id > after, _silent(old, now)).order_by(c.id).limit(limit)
    return [Named(row.id, row.home) for row in await connection.execute(query)]


async def proved(connection: AsyncConnection, ids: Collection[str]) -> set[Answer]:
    """The answers of these buyers that are kept as evidence."""
    c, found = t.consents.c, set[Answer]()
    for part in _parts(ids):
        query = select(c.account, c.address, c.topic, c.verdict).where(c.buyer.in_(part))
        found.update((row.account, row.address, row.topic, row.verdict) for row in await connection.execute(query))
    return found


async def old_orders(connection: AsyncConnection, old: Ms, *, after: str, limit: int) -> list[str]:
    """Subjects of orders that were last told of before then, in their order from just after one."""
    c = t.orders.c
    query = select(c.subject).where(c.subject > after, c.updated_at < old, c.placed_at < old)
    return list(await connection.scalars(query.order_by(c.subject).limit(limit)))


async def known(connection: AsyncConnection, table: Table, names: Collection[str]) -> set[str]:
    """Those of these (by the table's key) that the ledger holds."""
    key = next(iter(table.primary_key.columns))
    found: set[str] = set()
    for part in _parts(names):
        found.update(await connection.scalars(select(key).where(key.in_(part))))
    return found


@dataclass(frozen=True, slots=True)
class Due:
    """How many of each would go now."""

    raw: int = 0
    timeline: int = 0
    decisions: int = 0
    messages: int = 0
    tasks: int = 0
    evidence: int = 0
    buyers: int = 0
    orders: int = 0


async def due(engine: AsyncEngine, terms: Terms, now: Ms) -> Due:
    """What a round that began now would come to; changes nothing. Raises LedgerError."""
    old = before(terms, now)
    o, c = t.orders.c, t.consents.c
    async with reading(engine) as connection:

        async def count(table: Table, where: ColumnElement[bool], wanted_at: Ms) -> int:
            if not wanted_at:
                return 0
            return await connection.scalar(select(func.count()).select_from(table).where(where)) or 0

        return Due(
            raw=await count(t.journal, t.journal.c.ms < old.raw, old.raw),
            timeline=await count(t.timeline, _old_lines(t.timeline, old.keep), old.keep),
            decisions=await count(t.decisions, _old_lines(t.decisions, old.keep), old.keep),
            messages=await count(t.messages, _old_messages(old.keep), old.keep),
            tasks=await count(t.tasks, _old_tasks(old.keep), old.keep),
            evidence=await count(t.consents, and_(c.kept_until > 0, c.kept_until <= now), now),
            buyers=await count(t.buyers, _silent(old.keep, now), old.keep),
            orders=await count(t.orders, and_(o.updated_at < old.keep, o.placed_at < old.keep), old.keep),
        )
