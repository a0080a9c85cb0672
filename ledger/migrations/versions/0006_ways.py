"""Buyers name the way in which they can be reached, and what was bought lies in their order: less to read for a segment."""

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
INDEXES = [
    ("orders", ["paid_at", "shop", "currency", "total", "buyer"], ["buyer", "paid_at", "shop", "currency", "total"]),
    ("orders", ["city", "placed_at", "buyer"], ["city", "buyer", "placed_at"]),
    *(("items", [what, "paid_at", "buyer"], [what, "buyer", "paid_at"]) for what in ("product", "sku", "title")),
]
BUYERS = sa.table("buyers", sa.column("id"))
ADDRESSES = sa.table("addresses", *map(sa.column, ("buyer", *ALLOWED, "window_closes_at")))
WAYS = sa.table("ways", sa.column("way", sa.BigInteger), *map(sa.column, ("line", *ALLOWED)))
TYPES = [sa.bindparam(name, type_=sa.BigInteger) for name in ("way", "closes", "draw")]
NAME = sa.text("UPDATE buyers SET way = :way, window_closes_at = :closes, draw = :draw WHERE id = :id").bindparams(
    *TYPES
)
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def upgrade() -> None:
    """From the revision before."""
    op.add_column("buyers", sa.Column("window_closes_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("buyers", sa.Column("way", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("buyers", sa.Column("draw", sa.Integer(), server_default="0", nullable=False))
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
    for table, before, now in INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(before)}", table)
        op.create_index(f"ix_{table}_{'_'.join(now)}", table, now)
    connection = op.get_bind()
    known: set[int] = set()
    for page in _pages(connection):
        named = []
        for id, rows in page:
            rows.sort(key=_spelled)
            way = _way(rows)
            closes = max((row.window_closes_at for row in rows), default=0)
            named.append({"way": way, "closes": closes, "draw": _draw(id), "id": id})
            if rows and way not in known:
                known.add(way)
                lines = [
                    {"way": way, "line": line, **{name: getattr(row, name) for name in ALLOWED}}
                    for line, row in enumerate(rows)
                ]
                connection.execute(sa.insert(WAYS), lines)
        connection.execute(NAME, named)


def _pages(connection: sa.Connection) -> Iterator[list[tuple[str, list[Any]]]]:
    """Buyers with their addresses, in the order of their ids; whom a page cuts in two comes whole with the next."""
    both = sa.outerjoin(BUYERS, ADDRESSES, ADDRESSES.c.buyer == BUYERS.c.id)
    wanted = sa.select(BUYERS.c.id, ADDRESSES).select_from(both).order_by(BUYERS.c.id).limit(PAGE)
    after = ""
    while rows := connection.execute(wanted.where(BUYERS.c.id > after)).all():
        page = [
            (id, [row for row in mine if row.buyer is not None]) for id, mine in groupby(rows, key=attrgetter("id"))
        ]
        if len(rows) == PAGE and len(page) > 1:
            page.pop()
        after = page[-1][0]
        yield page


def _draw(id: str) -> int:
    last = [DIGITS.find(digit) for digit in id[-6:]]
    return sum(digit << 5 * (5 - n) for n, digit in enumerate(last)) if len(id) == 20 and min(last) >= 0 else 0


def _way(rows: list[Any]) -> int:
    spelled = "\n".join(map(_spelled, rows)).encode()
    return int.from_bytes(blake2b(spelled, digest_size=8).digest(), "big") >> 1 if rows else 0


def _spelled(row: Any) -> str:
    can = f"{row.reachable:d}{row.blocked:d}{row.opted_out:d}"
    return f"{can} {row.service} {row.marketing} {row.calls} {row.coupons} {row.account}"
