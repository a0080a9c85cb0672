"""Buyers name the way in which they can be reached, and when their last window closes: segments need not read everybody's addresses."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
PAGE = 20_000
ALLOWED = ("account", "reachable", "blocked", "opted_out", "service", "marketing", "calls", "coupons")
ADDRESSES = sa.table("addresses", *map(sa.column, ("buyer", *ALLOWED, "window_closes_at")))
WAY = sa.column("way", sa.BigInteger)
NUMBER = sa.bindparam("way", type_=sa.BigInteger)
CLOSES = sa.bindparam("closes", type_=sa.BigInteger)
WAYS = sa.table("ways", WAY, *map(sa.column, ("line", *ALLOWED)))
NAME = sa.text("UPDATE buyers SET way = :way, window_closes_at = :closes WHERE id = :buyer").bindparams(NUMBER, CLOSES)


def upgrade() -> None:
    """From the revision before."""
    op.add_column("buyers", sa.Column("window_closes_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("buyers", sa.Column("way", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "ways",
        sa.Column("way", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("marketing", sa.Text(), nullable=False),
        sa.Column("calls", sa.Text(), nullable=False),
        sa.Column("coupons", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("way", "line", name=op.f("pk_ways")),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    known: set[int] = set()
    for page in _pages(connection):
        named = []
        for buyer, rows in page:
            rows.sort(key=_spelled)
            way = _way(rows)
            named.append({"way": way, "closes": max(row.window_closes_at for row in rows), "buyer": buyer})
            if way not in known:
                known.add(way)
                lines = [
                    {"way": way, "line": line, **{name: getattr(row, name) for name in ALLOWED}}
                    for line, row in enumerate(rows)
                ]
                connection.execute(sa.insert(WAYS), lines)
        connection.execute(NAME, named)


def _pages(connection: sa.Connection) -> Iterator[list[tuple[str, list[Any]]]]:
    """Buyers with their addresses, in the order of their ids; whom a page cuts in two comes whole with the next."""
    wanted = sa.select(ADDRESSES).order_by(ADDRESSES.c.buyer).limit(PAGE)
    after = ""
    while rows := connection.execute(wanted.where(ADDRESSES.c.buyer > after)).all():
        page = [(buyer, list(mine)) for buyer, mine in groupby(rows, key=attrgetter("buyer"))]
        if len(rows) == PAGE and len(page) > 1:
            page.pop()
        after = page[-1][0]
        yield page


def _way(rows: list[Any]) -> int:
    return int.from_bytes(blake2b("\n".join(map(_spelled, rows)).encode(), digest_size=8).digest(), "big") >> 1


def _spelled(row: Any) -> str:
    can = f"{row.reachable:d}{row.blocked:d}{row.opted_out:d}"
    return f"{can} {row.service} {row.marketing} {row.calls} {row.coupons} {row.account}"
