"""Loads the rows that a batch may change, and writes what has become of them. Plain statements that both databases know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, Dialect, Executable, Table, bindparam, delete, func, insert, select, update
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


async def load(
    connection: AsyncConnection, wanted: Wanted, currency: str, *, cut: frozenset[int], anew: bool = False
) -> State:
    """The rows by their keys, and all that losers of merges hold that is new to the ledger. `cut`: see State."""
    state = State(currency, cut, anew)
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


async def save(connection: AsyncConnection, state: State, *, clean: bool = False) -> None:
    """Writes what was changed; `clean`: texts without NUL, which PostgreSQL does not take."""
    ways = [row for rows in state.ways.values() for row in rows]
    await _many(connection, _unless_known(tables.ways, connection.dialect.name), tables.ways, ways)
    for held in state.held:
        await upsert(connection, held.table, _cleaned(list(held.dirty.values()), clean=clean))
    for table, column, owned in state.parts:
        if owned:
            await _many(connection, _forget(table, column), table, [{column: owner} for owner in owned])
            await add(connection, table, _cleaned([row for rows in owned.values() for row in rows], clean=clean))
    for table, added in state.added:
        await add(connection, table, _cleaned(added, clean=clean))
    await own(connection, {*state.owners.dirty, *state.orders.dirty})


def _cleaned(rows: list[Row], *, clean: bool) -> list[Row]:
    if not clean:
        return rows
    return [{n: v.replace("\0", "\ufffd") if isinstance(v, str) else v for n, v in row.items()} for row in rows]


async def add(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """New rows, each with every column."""
    await _many(connection, _insert(table), table, rows)


async def upsert(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Rows by their keys, new or not, each with every column; what is reckoned elsewhere stays as it is."""
    await _many(connection, _upsert(table, connection.dialect.name), table, rows)


async def _many(connection: AsyncConnection, statement: ClauseElement, table: Table, rows: Sequence[Row]) -> None:
    """One statement for all rows, by the driver itself: the library's own way took a third of a batch's time."""
    if rows:
        words, names = _spelled(statement, connection.dialect)
        values: Iterable[tuple[Any, ...]] = (
            map(itemgetter(*names), rows) if len(names) > 1 else ((row[names[0]],) for row in rows)
        )
        if exact := [n for n, name in enumerate(names) if isinstance(table.c[name].type, tables.Amount)]:
            values = (_scaled(row, exact) for row in values)
        await connection.exec_driver_sql(words, list(values))


def _scaled(row: tuple[Any, ...], exact: Sequence[int]) -> tuple[Any, ...]:
    cells = list(row)
    for n in exact:
        cells[n] = tables.scaled(cells[n])
    return tuple(cells)


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
def _spelled(statement: ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """A statement in the database's own words, and the columns of its parameters in their order."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ())  # type: ignore[attr-defined]  # both dialects are positional


@cache
def _forget(table: Table, column: str) -> ClauseElement:
    return delete(table).where(table.c[column] == bindparam(column))


@cache
def _insert(table: Table) -> ClauseElement:
    return insert(table)


@cache
def _unless_known(table: Table, dialect: str) -> ClauseElement:
    made: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return made.on_conflict_do_nothing()  # type: ignore[no-any-return]  # see above


@cache
def _upsert(table: Table, dialect: str) -> ClauseElement:
    keys = [column.name for column in table.primary_key.columns]
    made: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    others = [c.name for c in table.columns if c.name not in keys and not c.info.get("reckoned")]
    return made.on_conflict_do_update(index_elements=keys, set_={name: made.excluded[name] for name in others})  # type: ignore[no-any-return]  # see above
