"""What the API asks of the ledger: pages of timelines, buyers, messages, decisions, orders and tasks, newest first.

Pure reads on a connection of `History.connection()`. Every list goes on from just before a place, so a page neither repeats
nor leaves out a row, whatever is added meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.change import because
from bot.events import Money, Ms
from bot.journal import DecisionRecord, RuleVerdict
from bot.messages import OutboundMessage, Text
from bot.queries import Place, StoredMessage
from bot.records import Task
from ledger import tables as t

Mark = tuple[int, int, int, int, int]
"""A journalled line's place: the ms that it tells, partition, ms and number of its entry, number within the entry."""
BROADCAST = "broadcast:"  # a message's source begins so where a broadcast planned it


@dataclass(frozen=True, slots=True)
class Named:
    """A buyer as the ledger knows one: enough to load the record."""

    id: str
    home: str


@dataclass(frozen=True, slots=True)
class Found:
    """A decision with its place and, where it names no buyer, whose order it is about ("" nobody known)."""

    mark: Mark
    owner: str
    decision: DecisionRecord


# --- timelines --------------------------------------------------------------------------------------------------------


async def timeline(
    connection: AsyncConnection, buyers: Collection[str], *, before: Mark | None, limit: int
) -> list[tuple[Mark, Row[Any]]]:
    """Rows with at, kind, summary and ref of everything that happened to these ids, newest first."""
    c = t.timeline.c
    place = (c.at, c.partition, c.ms, c.seq, c.line)
    query = select(*place, c.kind, c.summary, c.ref).where(c.buyer.in_(sorted(buyers)))
    rows = await connection.execute(_newest(query, place, before, limit))
    return [((row.at, row.partition, row.ms, row.seq, row.line), row) for row in rows]


def _newest(
    query: Select[Any], place: Sequence[ColumnElement[Any]], before: tuple[Any, ...] | None, limit: int
) -> Select[Any]:
    if before is not None:
        query = query.where(tuple_(*place) < tuple_(*(literal(part) for part in before)))
    return query.order_by(*(column.desc() for column in place)).limit(limit)


# --- buyers -----------------------------------------------------------------------------------------------------------


async def buyers(
    connection: AsyncConnection, *, after: str = "", limit: int, part: str = "", members: bool = False
) -> list[Named]:
    """Buyers in the order of their ids from just after one: all, those with a card, those with a part of their name."""
    c = t.buyers.c
    query = select(c.id, c.home).where(c.id > after, c.erased.is_(False), c.merged_into == "")
    if members:
        query = query.where(c.member_joined_at > 0)
    if part:
        query = query.where(_names(connection, part))
    rows = await connection.execute(query.order_by(c.id).limit(limit))
    return [Named(row.id, row.home) for row in rows]


def _names(connection: AsyncConnection, part: str) -> ColumnElement[bool]:
    """Whether the name holds a part, however it is cased."""
    name = t.buyers.c.name
    if connection.dialect.name == "postgresql":
        return func.strpos(func.lower(name), func.lower(part)) > 0
    # SQLite's own lower() knows ASCII only, and is ten times as fast as `fold`: Chinese has no cases.
    plain = all(ord(one) < 128 or one.lower() == one.upper() for one in part)
    return func.instr(func.lower(name) if plain else func.fold(name), part.lower() if plain else part.casefold()) > 0


async def names(connection: AsyncConnection, buyers_wanted: Collection[str]) -> dict[str, str]:
    """The names of these buyers, of those who told one."""
    c = t.buyers.c
    query = select(c.id, c.name).where(c.id.in_(sorted(buyers_wanted)), c.name != "")
    return {row.id: row.name for row in await connection.execute(query)}


async def owned(connection: AsyncConnection, buyers_wanted: Collection[str]) -> list[str]:
    """The subjects of these buyers' orders, all there ever were."""
    c = t.owners.c
    return list(
        await connection.scalars(select(c.subject).where(c.buyer.in_(sorted(buyers_wanted))).order_by(c.subject))
    )


# --- messages ---------------------------------------------------------------------------------------------------------


async def messages(
    connection: AsyncConnection,
    *,
    buyers_wanted: Collection[str] = (),
    states: Collection[str] = (),
    broadcast: str = "",
    reason: str = "",
    before: Place | None = None,
    limit: int,
) -> list[tuple[StoredMessage, str]]:
    """Messages without their histories, newest first, each with whose it is. `states`: any of them, as last projected.

    `reason`: alone, or with the provider's own code (`rejected:21612`).
    """
    c = t.messages.c
    query = _with_owner(select(*t.messages.c), c)
    if buyers_wanted:
        query = query.where(_theirs(c, buyers_wanted))
    if states:
        query = query.where(c.state.in_(sorted(states)))
    if broadcast:
        query = query.where(c.broadcast == broadcast)
    if reason:
        plain, _, code = reason.partition(":")
        query = query.where(c.reason == plain, *((c.code == code,) if code else ()))
    rows = await connection.execute(_newest(query, (c.created_at, c.id), before, limit))
    return [(_message(row), row.owner or "") for row in rows]


async def message(connection: AsyncConnection, id: str) -> tuple[StoredMessage, str] | None:
    """One message with its history, and whose it is."""
    c = t.messages.c
    row = (await connection.execute(_with_owner(select(*t.messages.c), c).where(c.id == id))).first()
    if row is None:
        return None
    return _message(row, (await histories(connection, [id])).get(id, ())), row.owner or ""


async def histories(connection: AsyncConnection, names: Collection[str]) -> dict[str, tuple[tuple[str, Ms, str], ...]]:
    """The states that each message went through: state, time, reason."""
    c = t.history.c
    query = select(c.message, c.state, c.at, c.reason, c.code).where(c.message.in_(sorted(names)))
    found: dict[str, tuple[tuple[str, Ms, str], ...]] = {}
    for row in await connection.execute(query.order_by(c.message, c.at, c.ms, c.seq, c.line)):
        found[row.message] = (*found.get(row.message, ()), (row.state, row.at, because(row.reason, row.code)))
    return found


def _message(row: Row[Any], steps: tuple[tuple[str, Ms, str], ...] = ()) -> StoredMessage:
    plain = OutboundMessage(
        id=row.id, buyer=row.buyer, home=row.order_subject, account=row.account, to=row.address, purpose=row.purpose,
        content=Text(row.text), created_at=row.created_at, key=row.key, source=row.source, locale=row.locale,
        order=row.order_id, parts=row.parts, touch=row.touch, topic=row.topic, price=_price(row.price),
        again_of=row.again_of,
    )  # fmt: skip
    return StoredMessage(plain, row.state, because(row.reason, row.code), steps, row.updated_at, row.parts)


def _price(text: str) -> Money | None:
    amount, _, currency = text.partition(" ")
    return Money(Decimal(amount), currency) if currency else None


# --- decisions --------------------------------------------------------------------------------------------------------


async def decisions(
    connection: AsyncConnection,
    *,
    buyers_wanted: Collection[str] = (),
    same: Mapping[str, str] | None = None,
    rule: str = "",
    before: Mark | None = None,
    limit: int,
) -> list[Found]:
    """Decisions, newest first. `same`: columns that must be equal (message, order_id, outcome); `rule`: one that was weighed."""
    c = t.decisions.c
    query = _with_owner(select(*t.decisions.c), c)
    query = query.where(*(c[name] == value for name, value in (same or {}).items()))
    if buyers_wanted:
        query = query.where(_theirs(c, buyers_wanted))
    if rule:
        query = query.where(c.rules.contains(f'"{rule}"', autoescape=True))
    rows = await connection.execute(_newest(query, (c.at, c.partition, c.ms, c.seq, c.line), before, limit))
    return [Found((row.at, row.partition, row.ms, row.seq, row.line), row.owner or "", _decision(row)) for row in rows]


def _decision(row: Row[Any]) -> DecisionRecord:
    return DecisionRecord(
        message=row.message, buyer=row.buyer, purpose=row.purpose, outcome=row.outcome, at=row.at, source=row.source,
        key=row.key, account=row.account, reason=row.reason, order=row.order_id, until=row.until,
        rules=[RuleVerdict(**rule) for rule in json.loads(row.rules or "[]")],
    )  # fmt: skip


# --- orders, tasks, consents ------------------------------------------------------------------------------------------


async def orders(
    connection: AsyncConnection,
    *,
    buyers_wanted: Collection[str] = (),
    same: Mapping[str, str] | None = None,
    before: Place | None = None,
    limit: int,
) -> list[tuple[Place, str]]:
    """Subjects of orders, newest first, each with its place. `same`: columns that must be equal."""
    c = t.orders.c
    query = select(c.subject, c.placed_at).where(*(c[name] == value for name, value in (same or {}).items()))
    if buyers_wanted:
        theirs = select(t.owners.c.subject).where(t.owners.c.buyer.in_(sorted(buyers_wanted)))
        query = query.where(c.subject.in_(theirs))
    rows = await connection.execute(_newest(query, (c.placed_at, c.subject), before, limit))
    return [((row.placed_at, row.subject), row.subject) for row in rows]


async def tasks(
    connection: AsyncConnection,
    *,
    buyers_wanted: Collection[str] = (),
    same: Mapping[str, str] | None = None,
    before: Place | None = None,
    limit: int,
) -> list[tuple[Task, str]]:
    """Tasks, newest first, each with whose order opened it where it names no buyer."""
    c = t.tasks.c
    query = _with_owner(select(*t.tasks.c), c).where(*(c[name] == value for name, value in (same or {}).items()))
    if buyers_wanted:
        query = query.where(_theirs(c, buyers_wanted))
    rows = await connection.execute(_newest(query, (c.created_at, c.id), before, limit))
    return [(_task(row), row.owner or "") for row in rows]


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id, kind=row.kind, key="", home=row.home, brief=row.brief, created_at=row.created_at, buyer=row.buyer,
        order=row.order_id, due_at=row.due_at, state=row.state, assignee=row.assignee, outcome=row.outcome, note=row.note,
    )  # fmt: skip


async def consents(
    connection: AsyncConnection,
    *,
    buyers_wanted: Collection[str] = (),
    after: tuple[int, int, int, int] | None = None,
    limit: int,
) -> list[Row[Any]]:
    """The evidence of consents in the order in which it was written down."""
    c = t.consents.c
    place = (c.partition, c.ms, c.seq, c.line)
    query = select(*t.consents.c)
    if buyers_wanted:
        query = query.where(c.buyer.in_(sorted(buyers_wanted)))
    if after is not None:
        query = query.where(tuple_(*place) > tuple_(*(literal(part) for part in after)))
    return list(await connection.execute(query.order_by(*place).limit(limit)))


async def coupons(connection: AsyncConnection, buyers_wanted: Collection[str]) -> list[str]:
    """The codes of these buyers' coupons, all there ever were."""
    c = t.coupons.c
    return list(await connection.scalars(select(c.code).where(c.buyer.in_(sorted(buyers_wanted))).order_by(c.code)))


# --- whose ------------------------------------------------------------------------------------------------------------


def _with_owner(query: Select[Any], c: Any) -> Select[Any]:
    """With whose order the row is about, where it names no buyer."""
    o = t.owners
    return query.add_columns(o.c.buyer.label("owner")).outerjoin_from(
        c.order_subject.table, o, and_(c.buyer == "", o.c.subject == c.order_subject)
    )


def _theirs(c: Any, buyers_wanted: Collection[str]) -> ColumnElement[bool]:
    """What names one of these buyers, or an order of theirs where nobody was known yet."""
    wanted = sorted(buyers_wanted)
    orders_of = select(t.owners.c.subject).where(t.owners.c.buyer.in_(wanted))
    return or_(c.buyer.in_(wanted), and_(c.buyer == "", c.order_subject.in_(orders_of)))
