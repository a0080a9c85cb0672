"""`touchpoint ledger export`: consents, messages, decisions or timelines of a span of time, for the owner, the lawyer, the accountant.

Read page by page, each page on a connection of its own, and written as it comes: a long history needs no more memory, and
holds up nobody. Texts of messages with phone codes are not in the ledger, secrets neither.
"""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Table, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.clock import rfc3339
from bot.errors import ConfigError
from bot.events import Ms
from bot.sheets import safe
from ledger import tables as t
from ledger.database import reading

PAGE = 1_000
LAST: Ms = 1 << 52
Shown = Callable[[str], str]
"""The words that a consent's evidence stands for ("page_marketing/zh-CN@…"), "" where this release has others by now."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be exported: its table, the column of its time, the order in which it is read, its columns."""

    table: Table
    at: str
    order: tuple[str, ...]
    columns: tuple[str, ...]
    times: tuple[str, ...] = ("at",)


_PLACE = ("partition", "ms", "seq", "line")
KINDS: Mapping[str, Kind] = {
    "consents": Kind(
        t.consents,
        "at",
        _PLACE,
        ("at", "buyer", "account", "address", "topic", "verdict", "wording", "source", "ip", "browser", "kept_until"),
        ("at", "kept_until"),
    ),
    "messages": Kind(
        t.messages,
        "created_at",
        ("created_at", "id"),
        (
            "created_at", "id", "buyer", "account", "address", "purpose", "topic", "source", "broadcast", "order_id",
            "locale", "text", "state", "reason", "code", "updated_at", "parts", "cost",
        ),
        ("created_at", "updated_at"),
    ),
    "decisions": Kind(
        t.decisions,
        "at",
        ("at", "message", *_PLACE),
        (
            "at", "buyer", "message", "purpose", "outcome", "reason", "account", "source", "key", "order_id", "until",
            "denied_by", "rules",
        ),
        ("at", "until"),
    ),
    "timeline": Kind(t.timeline, "at", _PLACE, ("at", "buyer", "kind", "summary", "ref")),
}  # fmt: skip


def span(since: str, until: str, zone: ZoneInfo) -> tuple[Ms, Ms]:
    """From `since` up to but not with the end of `until` ("": no bound); days are the shop's. Raises ConfigError."""
    start = _moment("--since", since, zone)[0] if since else 0
    end = _moment("--until", until, zone)[1] if until else LAST
    if start >= end:
        raise ConfigError([f"--until {until}: lies before --since {since}"])
    return start, end


def _moment(option: str, text: str, zone: ZoneInfo) -> tuple[Ms, Ms]:
    """A day or a time: when it begins, and the first moment after it."""
    with suppress(ValueError):
        day = date.fromisoformat(text)
        first, next_ = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (day, day + timedelta(days=1)))
        return int(first.timestamp() * 1000), int(next_.timestamp() * 1000)
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=zone)
        return int(at.timestamp() * 1000), int(at.timestamp() * 1000) + 1
    raise ConfigError(
        [f"{option} {text[:40]}: must be a day or a time, such as 2026-11-01 or 2026-11-01T08:00:00+08:00"]
    )


async def export(
    engine: AsyncEngine, kind: Kind, bounds: tuple[Ms, Ms], out: TextIO, *, lines: bool, shown: Shown
) -> int:
    """Writes CSV, or JSON `lines`; answers how many rows. Raises LedgerError."""
    columns = [*kind.columns, "shown"] if kind.table is t.consents else list(kind.columns)
    writer = csv.writer(out)
    if not lines:
        writer.writerow(columns)
    count = 0
    async for page in _pages(engine, kind, bounds):
        rows = [_cells(kind, row, shown) for row in page]
        if lines:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer.writerows([safe(_text(row[name])) for name in columns] for row in rows)
        count += len(rows)
    return count


def _cells(kind: Kind, row: Row[Any], shown: Shown) -> dict[str, Any]:
    cells = {name: getattr(row, name) for name in kind.columns}
    for name in kind.times:
        cells[name] = rfc3339(cells[name]) if cells[name] else ""
    if "rules" in cells:
        cells["rules"] = json.loads(cells["rules"] or "[]")
    if kind.table is t.consents:
        cells["shown"] = shown(row.wording)
    return cells


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


async def _pages(engine: AsyncEngine, kind: Kind, bounds: tuple[Ms, Ms]) -> AsyncIterator[Sequence[Row[Any]]]:
    c = kind.table.c
    place: list[ColumnElement[Any]] = [c[name] for name in kind.order]
    within = (c[kind.at] >= bounds[0], c[kind.at] < bounds[1])
    names = dict.fromkeys((*kind.columns, *kind.order))
    at: tuple[Any, ...] | None = None
    while True:
        query = select(*(c[name] for name in names)).where(*within).order_by(*place).limit(PAGE)
        if at is not None:
            query = query.where(tuple_(*place) > tuple_(*map(literal, at)))
        async with reading(engine) as connection:
            page = (await connection.execute(query)).all()
        if page:
            yield page
        if len(page) < PAGE:
            return
        at = tuple(getattr(page[-1], name) for name in kind.order)
