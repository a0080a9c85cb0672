"""One batch of the projection: raw rows, derived rows and positions in one transaction, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.errors import LedgerError
from bot.events import Ms
from bot.journal import UnplannedEntry
from ledger import tables
from ledger.database import is_away, writing
from ledger.derive import Entry, Wanted, decode, fold, wanted
from ledger.derive.entries import UnreadableError
from ledger.facts import EPOCH, REBUILD, UNREADABLE, all_facts, fact, set_fact
from ledger.feed import Raw
from ledger.places import place
from ledger.scores import keep
from ledger.storing import add, load, save

MOST_AT_ONCE = 4_096  # messages whose rows are worked out together

log = structlog.get_logger()
_positions = tables.positions
_move = (
    update(_positions)
    .where(_positions.c.partition == bindparam("p"), _positions.c.last_id == bindparam("expected"))
    .values(last_id=bindparam("last"))
)


class LostError(LedgerError):
    """Another process has projected meanwhile, or the ledger belongs to another store now: look again."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a batch came to: where each partition stands now, and how many entries could not be read."""

    positions: dict[int, str]
    rows: int = 0
    unreadable: int = 0


async def project(
    engine: AsyncEngine,
    pages: Mapping[int, Sequence[Raw]],
    *,
    epoch: str,
    positions: Mapping[int, str],
    tops: Mapping[int, Ms],
    currency: str,
) -> Done:
    """Copies the pages and derives from them. `tops`: up to when a partition may hold rows already, which are skipped.

    Raises LostError if the positions are not those expected, LedgerError where the ledger is away.
    """
    last = {p: f"{page[-1][0]}-{page[-1][1]}" for p, page in pages.items()}
    async with writing(engine) as connection:
        floors = await _check(connection, epoch, {p: positions.get(p, "") for p in pages})
        fresh = [
            (p, *raw)
            for p, page in pages.items()
            for raw in await _unknown(connection, p, page, tops.get(p, 0))
            if not floors[p] or raw[:2] > place(floors[p])  # after an adoption: it is gone by age
        ]
        await add(
            connection,
            tables.journal,
            [{"partition": p, "ms": ms, "seq": seq, "kind": kind, "body": body} for p, ms, seq, kind, body in fresh],
        )
        cut = frozenset(p for p, floor in floors.items() if floor)
        unreadable = await derive(connection, fresh, currency, cut=cut)
        moved = [{"p": p, "expected": positions.get(p, ""), "last": id} for p, id in last.items()]
        await connection.execute(_move, moved)
    return Done(last, len(fresh), unreadable)


async def derive(
    connection: AsyncConnection,
    raw: Sequence[tuple[int, Ms, int, str, bytes]],
    currency: str,
    *,
    cut: frozenset[int] = frozenset(),
    anew: bool = False,
) -> int:
    """Derives rows from entries (`anew`: once more); answers how many this release cannot read: they stay raw, for a rebuild.

    `cut`: which of their partitions have lost entries by age.
    """
    entries: list[Entry] = []
    unreadable = 0
    for partition, ms, seq, kind, body in raw:
        try:
            entries.append(decode(partition, ms, seq, kind, body))
        except UnreadableError:
            unreadable += 1
    for part in _parts(entries):
        unreadable += await _derive(connection, part, currency, cut=cut, anew=anew)
    if unreadable:
        await set_fact(connection, UNREADABLE, str(int(await fact(connection, UNREADABLE) or 0) + unreadable))
    return unreadable


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """As many at once as give the rows of a batch of turns: an entry may tell of many buyers, and all its rows stand in memory."""
    part, weight = list[Entry](), 0
    for entry in entries:
        told = len(entry.body.buyers) if isinstance(entry.body, UnplannedEntry) else 1
        if part and weight + told > MOST_AT_ONCE:
            yield part
            part, weight = [], 0
        part.append(entry)
        weight += told
    if part:
        yield part


async def _derive(
    connection: AsyncConnection,
    entries: Sequence[Entry],
    currency: str,
    *,
    cut: frozenset[int],
    anew: bool,
    clean: bool = False,
) -> int:
    """All of them at once. What the database or a rule breaks on is found by halves, so that it holds up nothing else."""
    if not entries:
        return 0
    try:
        async with connection.begin_nested():
            keys = Wanted()
            for entry in entries:
                wanted(entry, keys)
            state = await load(connection, keys, currency, cut=cut, anew=anew)
            for entry in entries:
                fold(entry, state)
            await save(connection, state, clean=clean)
            await keep(connection, state.buyers.dirty)
    except Exception as error:  # whatever it is, it must not hold up all history
        if is_away(error):
            raise
        if len(entries) > 1:
            half = len(entries) // 2
            first = await _derive(connection, entries[:half], currency, cut=cut, anew=anew)
            return first + await _derive(connection, entries[half:], currency, cut=cut, anew=anew)
        if not clean:  # PostgreSQL takes no text with a NUL in it
            return await _derive(connection, entries, currency, cut=cut, anew=anew, clean=True)
        entry = entries[0]
        log.exception("entry not derived", partition=entry.partition, at=f"{entry.ms}-{entry.seq}")
        return 1
    return 0


async def _check(connection: AsyncConnection, epoch: str, expected: Mapping[int, str]) -> dict[int, str]:
    """Locks the positions; whoever else projects now waits, and finds them moved. Answers up to where entries are gone by age."""
    found = await connection.execute(
        select(_positions)
        .where(_positions.c.partition.in_(expected))
        .order_by(_positions.c.partition)
        .with_for_update()
    )
    rows = list(found)
    known = {row.partition: row.last_id for row in rows}
    facts = await all_facts(connection)
    if known != expected or facts.get(EPOCH, "") != epoch or REBUILD in facts:
        raise LostError("another process projects, or its tables are being derived anew")
    return {row.partition: row.floor for row in rows}


async def _unknown(connection: AsyncConnection, partition: int, page: Sequence[Raw], top: Ms) -> Sequence[Raw]:
    """The entries that the ledger does not hold yet: after an adoption some may be there."""
    first = page[0][0]
    if first > top:
        return page
    journal = tables.journal.c
    found = await connection.execute(
        select(journal.ms, journal.seq).where(
            journal.partition == partition, journal.ms >= first, journal.ms <= page[-1][0]
        )
    )
    known = {(row.ms, row.seq) for row in found}
    return [raw for raw in page if raw[:2] not in known]


async def prepare(engine: AsyncEngine, partitions: int) -> tuple[dict[int, str], dict[int, Ms]]:
    """A position for each partition; answers them, and up to when each partition holds rows."""
    async with writing(engine) as connection:
        found = await connection.execute(select(_positions))
        positions = {row.partition: row.last_id for row in found}
        missing = [{"partition": p, "last_id": "", "floor": ""} for p in range(partitions) if p not in positions]
        await add(connection, tables.positions, missing)
        positions |= {row["partition"]: "" for row in missing}
        newest = select(tables.journal.c.ms).where(tables.journal.c.partition == _positions.c.partition)
        newest = newest.order_by(tables.journal.c.ms.desc()).limit(1)
        tops = await connection.execute(select(_positions.c.partition, newest.scalar_subquery()))
        return positions, {partition: ms or 0 for partition, ms in tops}
