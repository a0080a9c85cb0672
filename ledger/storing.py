"""Loads the rows that a batch may change, and writes what has become of them. Plain statements that both databases know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Executable, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import tables
from ledger.derive import State, Wanted
from ledger.derive.state import Held, Row

AT_ONCE = 500
_BY_KEY = {
    table.name: table.primary_key.columns[0].name
    for table in (tables.buyers, tables.coupons, tables.owners, tables.messages, tables.tasks, tables.orders)
}


async def load(connection: AsyncConnection, wanted: Wanted, currency: str) -> State:
    """The rows by their keys, and all that losers of merges hold that is new to the ledger."""
    state = State(currency)
    for held, keys in (
        (state.buyers, wanted.buyers),
        (state.coupons, wanted.coupons),
        (state.owners, wanted.owners),
        (state.messages, wanted.messages),
        (state.tasks, wanted.tasks),
    ):
        await _fill(connection, held, _BY_KEY[held.table.name], keys)
    rows = state.buyers.rows
    losers = {id for id in wanted.merged if id not in rows or not rows[id]["merged_into"]}
    losers |= {id for id in wanted.merged if id in rows and rows[id]["merged_into"] in wanted.merged}
    for held in (state.owners, state.coupons):
        await _fill(connection, held, "buyer", losers)
    return state


async def _fill(connection: AsyncConnection, held: Held, column: str, keys: Iterable[str]) -> None:
    key = _BY_KEY[held.table.name]
    for part in _parts(keys):
        found = await connection.execute(_select(held.table, column), {"wanted": part})
        for row in found.mappings():
            held.rows[row[key]] = dict(row)


@cache
def _select(table: Table, column: str) -> Executable:
    return select(table).where(table.c[column].in_(bindparam("wanted", expanding=True)))


def _parts(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while part := list(islice(rest, AT_ONCE)):
        yield part


async def save(connection: AsyncConnection, state: State) -> None:
    """Writes what was changed."""
    for held in state.held:
        await upsert(connection, held.table, list(held.dirty.values()))
    for table, column, owned in state.parts:
        if owned:
            await connection.execute(_forget(table, column), [{"owner": owner} for owner in owned])
            await add(connection, table, [row for rows in owned.values() for row in rows])
    for table, added in state.added:
        await add(connection, table, added)
    await own(connection, {*state.owners.dirty, *state.orders.dirty})


async def add(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """New rows."""
    if rows:
        await connection.execute(insert(table), rows)


async def upsert(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Rows by their keys, new or not; columns that are reckoned elsewhere stay as they are."""
    if rows:
        await connection.execute(_upsert(table, connection.dialect.name), rows)


async def own(connection: AsyncConnection, subjects: Iterable[str]) -> None:
    """Writes beside orders and their items whose they are: segments ask what buyers bought without a look-up per order."""
    for part in _parts(subjects):
        for statement in _OWN:
            await connection.execute(statement, {"wanted": part})


def _owning(table: Table) -> Executable:
    owner = select(tables.owners.c.buyer).where(tables.owners.c.subject == table.c.subject).scalar_subquery()
    mine = table.c.subject.in_(bindparam("wanted", expanding=True))
    return update(table).where(mine).values(buyer=func.coalesce(owner, ""))


_OWN = (_owning(tables.orders), _owning(tables.items))


@cache
def _forget(table: Table, column: str) -> Executable:
    return delete(table).where(table.c[column] == bindparam("owner"))


@cache
def _upsert(table: Table, dialect: str) -> Executable:
    keys = [column.name for column in table.primary_key.columns]
    made: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    others = [c.name for c in table.columns if c.name not in keys and not c.info.get("reckoned")]
    return made.on_conflict_do_update(index_elements=keys, set_={name: made.excluded[name] for name in others})  # type: ignore[no-any-return]  # see above
