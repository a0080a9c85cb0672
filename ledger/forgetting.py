"""The ledger's part of an erasure: the person goes from raw and derived rows, and from what the file still held of them.

Counts stay: messages keep their states, coupons their campaigns, orders their amounts. What is derived anew from the raw rows
that remain is the same, so that no rebuild brings the person back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.codec import load_message
from bot.erasing import Wanted
from bot.errors import NotYetError
from bot.events import Ms
from bot.journal import load_turn
from bot.parting import Answer
from bot.records import Task
from ledger import lookups, retention
from ledger import tables as t
from ledger.database import open_engine, reaching, reading, writing
from ledger.person import START, Raw, entries_with
from ledger.places import Place, place
from ledger.reading import History
from ledger.scrub import Person, scrubbed

AT_ONCE = 500
_OF_BUYERS = (t.phones, t.tags, t.addresses, t.timeline, t.owners)
_ENTRY = (t.journal.c.partition == bindparam("p"), t.journal.c.ms == bindparam("m"), t.journal.c.seq == bindparam("s"))


class Forgetting:
    """Erases people from the ledger. Raises LedgerError where it is away: to be tried again."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def covers(self, wanted: Mapping[int, str]) -> bool:
        """Whether every partition is projected up to its entry in `wanted`."""
        return await self._history.covers(wanted)

    async def silent(self, before: Ms, now: Ms, after: str, limit: int) -> list[tuple[str, str]]:
        """Ids and homes of buyers who may have to go by age, in the order of their ids from just after one."""
        async with self._history.connection() as connection:
            found = await retention.silent(connection, before, now, after=after, limit=limit)
        return [(one.id, one.home) for one in found]

    async def proved(self, ids: Collection[str]) -> set[Answer]:
        """The answers of these buyers that are kept as evidence: account, address, topic, verdict."""
        async with self._history.connection() as connection:
            return await retention.proved(connection, ids)

    async def old_orders(self, before: Ms, after: str, limit: int) -> list[str]:
        """Subjects of orders last told of before then, in their order from just after one."""
        async with self._history.connection() as connection:
            return await retention.old_orders(connection, before, after=after, limit=limit)

    async def known_tasks(self, names: Collection[str]) -> set[str]:
        """Those of these tasks that are still held."""
        async with self._history.connection() as connection:
            return await retention.known(connection, t.tasks, names)

    async def known_orders(self, subjects: Collection[str]) -> set[str]:
        """Those of these orders that the ledger ever heard of."""
        async with self._history.connection() as connection:
            return await retention.known(connection, t.orders, subjects)

    async def orders(self, ids: Collection[str]) -> list[str]:
        """The subjects of all orders that these ids ever had."""
        async with self._history.connection() as connection:
            return await lookups.owned(connection, ids)

    async def forget(self, wanted: Wanted) -> None:
        """Erases a person from everything up to `wanted.heads`."""
        person = Person(
            ids=frozenset(wanted.ids),
            subjects=frozenset(wanted.subjects),
            words=frozenset(wanted.words),
            orders=frozenset(wanted.orders),
        )
        async with self._writer() as engine:
            for partition, head in sorted(wanted.heads.items()):
                await _raw(engine, partition, person, place(head))
            async with writing(engine) as connection:
                await _derived(connection, person)
                await _evidence(connection, person, wanted.evidence_until if wanted.aged else 0)

    async def compact(self) -> None:
        """What was overwritten must not lie on in the files. Raises NotYetError while a reader holds on to it.

        SQLite zeroes what it frees as it frees it, so its log of pages is emptied. PostgreSQL frees the old versions of rows;
        what its own logs and backups hold is the operator's to let go.
        """
        async with self._writer() as engine:
            with reaching(engine.url):
                await _compact(engine)

    @asynccontextmanager
    async def _writer(self) -> AsyncIterator[AsyncEngine]:
        engine = open_engine(self._history.engine.url, writer=True)
        try:
            yield engine
        finally:
            await engine.dispose()


async def _raw(engine: AsyncEngine, partition: int, person: Person, head: Place) -> None:
    at: tuple[int, int] | None = START
    while at is not None:
        async with reading(engine) as connection:
            found, at = await entries_with(connection, partition, person.needles, after=at)
        changed = [(raw, scrubbed(raw.kind, raw.body, person)) for raw in found if (raw.ms, raw.seq) <= head]
        await _rewrite(engine, [(raw, body) for raw, body in changed if body != raw.body], person)


async def _rewrite(engine: AsyncEngine, changed: Sequence[tuple[Raw, bytes | None]], person: Person) -> None:
    for start in range(0, len(changed), AT_ONCE):
        part = changed[start : start + AT_ONCE]
        kept = [{"p": r.partition, "m": r.ms, "s": r.seq, "bare": body} for r, body in part if body is not None]
        gone = [{"p": r.partition, "m": r.ms, "s": r.seq} for r, body in part if body is None]
        async with writing(engine) as connection:
            if kept:
                await connection.execute(update(t.journal).where(*_ENTRY).values(body=bindparam("bare")), kept)
            if gone:
                await connection.execute(delete(t.journal).where(*_ENTRY), gone)
            await _beside(connection, part, person)


async def _beside(connection: AsyncConnection, changed: Sequence[tuple[Raw, bytes | None]], person: Person) -> None:
    """What these entries told of the person in other people's rows: derived anew these would not tell it either."""
    lines, partitions, times = t.timeline.c, {raw.partition for raw, _ in changed}, {raw.ms for raw, _ in changed}
    of_them = await connection.execute(
        select(lines.partition, lines.ms, lines.seq, lines.line, lines.summary).where(
            lines.partition.in_(partitions), lines.ms.in_(times)
        )
    )
    keys = {(raw.partition, raw.ms, raw.seq) for raw, _ in changed}
    told = [row[:4] for row in of_them if tuple(row[:3]) in keys and person.told_in(row.summary)]
    if told:
        which = [column == bindparam(name) for column, name in zip(t.timeline.primary_key, "pmsl", strict=True)]
        await connection.execute(
            delete(t.timeline).where(*which), [dict(zip("pmsl", row, strict=True)) for row in told]
        )
    await _rules(connection, person, t.decisions.c.partition.in_(partitions) & t.decisions.c.ms.in_(times))
    messages, tasks = set[str](), set[str]()
    for raw, body in changed:
        if raw.kind == "turn" and body is not None:
            before, after = load_turn(raw.body), load_turn(body)
            was = {one for one in (*before.messages, *before.tasks) if one}
            messages |= {load_message(one).id for one in after.messages if one not in was}
            tasks |= {msgspec.msgpack.decode(one, type=Task).id for one in after.tasks if one not in was}
    if messages:
        await connection.execute(update(t.messages).where(t.messages.c.id.in_(messages)).values(text="", address=""))
    if tasks:
        await connection.execute(update(t.tasks).where(t.tasks.c.id.in_(tasks)).values(brief="", note=""))


async def _derived(connection: AsyncConnection, person: Person) -> None:
    ids, orders = sorted(person.ids), sorted(person.orders)
    await _blank_buyers(connection, ids)
    for table in (t.orders, t.items):  # goods and amounts stay; whose they were follows from `owners`, which goes
        await connection.execute(update(table).where(table.c.buyer.in_(ids)).values(buyer=""))
    for table in _OF_BUYERS:
        await connection.execute(delete(table).where(table.c.buyer.in_(ids)))
    tried = and_(t.messages.c.buyer == "", t.messages.c.address.in_(sorted(person.words)))  # on who was no buyer yet
    theirs = or_(_about(t.messages, ids, orders), tried)
    await connection.execute(update(t.messages).where(theirs).values(text="", address=""))
    theirs = _about(t.tasks, ids, orders)
    await connection.execute(update(t.tasks).where(theirs).values(brief="", note=""))
    mine = t.tasks.c.buyer.in_(ids)
    await connection.execute(update(t.tasks).where(mine, t.tasks.c.order_subject == "").values(home=""))
    await connection.execute(update(t.tasks).where(mine, t.tasks.c.state == "open").values(state="expired"))
    await connection.execute(update(t.audiences).where(t.audiences.c.buyer.in_(ids)).values(home=""))
    await _rules(connection, person, _about(t.decisions, ids, orders))


async def _evidence(connection: AsyncConnection, person: Person, kept_until: Ms) -> None:
    """Proof of consent goes with a person who asks; with one who fell silent it stays for its time, then `retention` takes it."""
    c = t.consents.c
    theirs = c.buyer.in_(sorted(person.ids))
    if kept_until:
        await connection.execute(update(t.consents).where(theirs, c.kept_until == 0).values(kept_until=kept_until))
        return
    # The same address once had another id, which went by age: what is asked to go, goes with that, too.
    again = and_(c.kept_until > 0, c.address.in_(sorted(person.words)))
    await connection.execute(delete(t.consents).where(or_(theirs, again)))


def _about(table: Table, ids: Sequence[str], orders: Sequence[str]) -> ColumnElement[bool]:
    c = table.c
    return or_(c.buyer.in_(ids), (c.buyer == "") & c.order_subject.in_(orders))


async def _blank_buyers(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """The row as one that was never filled: id, partition and who became whom stay."""
    kept = ("id", "partition", "updated_at", "merged_into", "merged_at", "draw")
    empty = {c.name: c.default.arg for c in t.buyers.c if c.name not in kept and c.default is not None}  # type: ignore[attr-defined]  # all defaults are values
    await connection.execute(update(t.buyers).where(t.buyers.c.id.in_(ids)).values({**empty, "erased": True}))


async def _rules(connection: AsyncConnection, person: Person, about: ColumnElement[bool]) -> None:
    """Details of rules may quote an address or a number."""
    c = t.decisions.c
    key = (c.partition, c.ms, c.seq, c.line)
    found = await connection.execute(select(*key, c.rules, c.key, c.reason).where(about))
    changed: list[dict[str, Any]] = []
    for row in found:
        if not any(map(person.told_in, (row.rules, row.key, row.reason))):
            continue
        rules = json.loads(row.rules or "[]")
        for rule in rules:
            rule["detail"] = "" if person.told_in(rule.get("detail", "")) else rule.get("detail", "")
        words = {name: "" if person.told_in(getattr(row, name)) else getattr(row, name) for name in ("key", "reason")}
        bare = json.dumps(rules, ensure_ascii=False, separators=(",", ":"))
        changed.append(
            {
                "p": row.partition,
                "m": row.ms,
                "s": row.seq,
                "l": row.line,
                "b": bare,
                **{f"_{n}": v for n, v in words.items()},
            }
        )
    if changed:
        wanted = [column == bindparam(name) for column, name in zip(key, "pmsl", strict=True)]
        values: dict[str, Any] = {"rules": bindparam("b"), "key": bindparam("_key"), "reason": bindparam("_reason")}
        await connection.execute(update(t.decisions).where(*wanted).values(values), changed)


async def _compact(engine: AsyncEngine) -> None:
    if engine.dialect.name != "sqlite":
        free = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with free.connect() as connection:
            for table in (t.journal, t.decisions, t.buyers, *_OF_BUYERS, t.consents, t.messages, t.tasks, t.audiences):
                await connection.execute(text(f'VACUUM "{table.name}"'))
        return
    async with engine.connect() as connection:
        # By the driver: SQLAlchemy would begin a transaction, in which nothing can be emptied.
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
            busy, *_ = await cursor.fetchone()
    if busy:
        raise NotYetError("ledger.url: somebody reads what is being erased; it goes with the next pass")
