"""The rows that a batch of entries touches, as they stand, and what is to be written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Table

from ledger import tables

Row = dict[str, Any]


def _blank(table: Table) -> Row:
    return {column.name: column.default.arg if column.default is not None else None for column in table.columns}  # type: ignore[attr-defined]  # all defaults are values


_BLANK: Mapping[str, Row] = {table.name: _blank(table) for table in tables.metadata.sorted_tables}


def blank(table: Table, **values: Any) -> Row:
    """A row of a table with its defaults, and `values` in it."""
    return {**_BLANK[table.name], **values}


@dataclass(slots=True)
class Wanted:
    """The keys of the rows that entries may change, to be loaded before they are folded."""

    buyers: set[str] = field(default_factory=set)
    merged: set[str] = field(default_factory=set)  # whose orders and coupons may go to a survivor
    coupons: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Held:
    """Rows of one table by their key, as loaded; `dirty` are those that were changed."""

    table: Table
    rows: dict[str, Row] = field(default_factory=dict)
    dirty: dict[str, Row] = field(default_factory=dict)

    def get(self, key: str) -> Row | None:
        """A row, or None."""
        return self.rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """A row as it is now."""
        self.rows[key] = self.dirty[key] = row


@dataclass(slots=True)
class State:
    """What entries are folded into. `currency` is the brand's: sums are of that.

    `cut`: partitions whose oldest entries are gone by age; what they tell of a message that is not known is of one that is gone.
    `anew`: entries are told once more; messages whose first entries are gone stand as they were left.
    """

    currency: str = "CNY"
    cut: frozenset[int] = frozenset()
    anew: bool = False
    buyers: Held = field(default_factory=partial(Held, tables.buyers))
    coupons: Held = field(default_factory=partial(Held, tables.coupons))
    owners: Held = field(default_factory=partial(Held, tables.owners))
    messages: Held = field(default_factory=partial(Held, tables.messages))
    tasks: Held = field(default_factory=partial(Held, tables.tasks))
    orders: Held = field(default_factory=partial(Held, tables.orders))
    phones: dict[str, list[Row]] = field(default_factory=dict)  # of a buyer, all of them
    tags: dict[str, list[Row]] = field(default_factory=dict)
    addresses: dict[str, list[Row]] = field(default_factory=dict)
    items: dict[str, list[Row]] = field(default_factory=dict)  # of an order, all of them
    ways: dict[int, list[Row]] = field(default_factory=dict)  # that buyers name now
    consents: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    timeline: list[Row] = field(default_factory=list)

    @property
    def held(self) -> tuple[Held, ...]:
        """The tables whose rows are changed by their keys."""
        return self.buyers, self.coupons, self.owners, self.messages, self.tasks, self.orders

    @property
    def parts(self) -> tuple[tuple[Table, str, dict[str, list[Row]]], ...]:
        """The tables whose rows are written anew for their owner: table, column of the owner, rows."""
        return (
            (tables.phones, "buyer", self.phones),
            (tables.tags, "buyer", self.tags),
            (tables.addresses, "buyer", self.addresses),
            (tables.items, "subject", self.items),
        )

    @property
    def added(self) -> tuple[tuple[Table, list[Row]], ...]:
        """The tables that only grow."""
        return (
            (tables.consents, self.consents),
            (tables.history, self.history),
            (tables.decisions, self.decisions),
            (tables.timeline, self.timeline),
        )
