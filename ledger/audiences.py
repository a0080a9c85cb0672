"""Audiences of broadcasts: frozen when one starts, read page by page, thrown away; and what a preview tells before.

    audiences = LedgerAudiences(url, moment=…, accounts=…, views=…)
    await audiences.freeze(broadcast, positions)      → its size; NotYetError, SegmentError, LedgerError
    await audiences.page(id, partition, after, limit) → Recipients in the order of their ids
    await audiences.forget(id)
    await audiences.preview(broadcast, sample=10)     → Preview: counts by locale, account, reason, switch; see there

The audience is `segment` (saved) and `where`, both, without whom the exclusions leave out. A variant with a `where` of its own takes
whom that holds; the others share the rest by weight, by a hash of broadcast and buyer: the same again for the same two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlalchemy import URL, delete, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.broadcasts import Broadcast, Recipient
from bot.errors import NotYetError
from bot.events import Ms
from bot.ports import Capabilities
from bot.products import ItemView
from ledger import tables
from ledger.database import open_engine, reading, writing
from ledger.forecast import Preview, Who, foreseen, variant_of
from ledger.lanes import Lanes
from ledger.places import after as comes_after
from ledger.segments.conditions import Condition, Group, SegmentError, parse_text
from ledger.segments.exclusions import Pitched, excluded, fault_of
from ledger.segments.kinds import Moment
from ledger.segments.preview import roomy

Views = Callable[[Sequence[str]], Awaitable[Mapping[str, ItemView]]]


class LedgerAudiences:
    """The port `bot.broadcasts.Audiences` over the ledger, and previews."""

    def __init__(
        self,
        url: URL,
        *,
        moment: Callable[[], Moment],
        accounts: Mapping[str, Capabilities],
        views: Views,
        marketing_per_week: int = 2,
        marketing_per_day: int = 1,
    ) -> None:
        self._moment, self._accounts, self._views = moment, accounts, views
        self._caps = (marketing_per_week, marketing_per_day)
        self._reader, self._writer = open_engine(url), open_engine(url, writer=True)

    async def close(self) -> None:
        """Closes its connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    # --- frozen ---------------------------------------------------------------------------------------------------------

    async def freeze(self, broadcast: Broadcast, positions: Mapping[int, str]) -> int:
        """Writes the audience down in one transaction; a frozen one is left as it is. Its size.

        Raises NotYetError while a partition is not projected up to its position, SegmentError for conditions that are none (a saved
        segment that is gone, too), LedgerError.
        """
        moment, pitched = self._moment(), await self._pitched(broadcast)
        async with writing(self._writer) as connection:
            if (size := await _size(connection, broadcast.id)) is not None:
                return size
            await _covers(connection, positions)
            who = await self._who(connection, broadcast, pitched)
            await roomy(connection)
            buyers = tables.buyers.c
            rows = select(
                literal(broadcast.id), buyers.partition, buyers.id, buyers.home, variant_of(broadcast, moment)
            ).where(who.where(moment))
            names = ["broadcast", "partition", "buyer", "home", "variant"]
            await connection.execute(insert(tables.audiences).from_select(names, rows))
            mine = select(func.count()).where(tables.audiences.c.broadcast == broadcast.id)
            size = int((await connection.execute(mine)).scalar_one())
            mark = {"broadcast": broadcast.id, "size": size, "at": moment.now}
            await connection.execute(insert(tables.frozen), mark)
            return size

    async def page(self, broadcast: str, partition: int, after: str, limit: int) -> Sequence[Recipient]:
        """The next recipients of a partition, in the order of their ids."""
        rows = tables.audiences.c
        mine = select(rows.buyer, rows.home, rows.variant).where(
            rows.broadcast == broadcast, rows.partition == partition, rows.buyer > after
        )
        async with reading(self._reader) as connection:
            found = await connection.execute(mine.order_by(rows.buyer).limit(limit))
            return [Recipient(row.buyer, row.home, row.variant) for row in found]

    async def forget(self, broadcast: str) -> None:
        """Throws a frozen audience away."""
        async with writing(self._writer) as connection:
            await connection.execute(delete(tables.audiences).where(tables.audiences.c.broadcast == broadcast))
            await connection.execute(delete(tables.frozen).where(tables.frozen.c.broadcast == broadcast))

    # --- before ---------------------------------------------------------------------------------------------------------

    async def preview(self, broadcast: Broadcast, *, sample: int = 10) -> Preview:
        """What would become of it now: see Preview. Raises SegmentError, LedgerError."""
        moment, pitched = self._moment(), await self._pitched(broadcast)
        lanes = Lanes(broadcast, self._accounts, moment, self._caps)
        async with reading(self._reader) as connection:
            who = await self._who(connection, broadcast, pitched)
            await roomy(connection)
            found = await foreseen(connection, broadcast, lanes, who, moment, sample=sample)
            found.as_of = await projected_until(connection)
            return found

    # --- who ------------------------------------------------------------------------------------------------------------

    async def _pitched(self, broadcast: Broadcast) -> Pitched:
        if not broadcast.items:
            return Pitched()
        return Pitched(broadcast.items, await self._views(broadcast.items))

    async def _who(self, connection: AsyncConnection, broadcast: Broadcast, pitched: Pitched) -> Who:
        parts: list[Condition] = [parse_text(broadcast.where)]
        if broadcast.segment:
            saved = select(tables.segments.c.definition).where(tables.segments.c.id == broadcast.segment)
            definition = (await connection.execute(saved)).scalar_one_or_none()
            if definition is None:
                raise SegmentError([("segment", "there is no segment with this id")])
            parts.append(parse_text(definition, path="segment"))
        faults = [(f"exclude[{n}]", words) for n, name in enumerate(broadcast.exclude) if (words := fault_of(name))]
        if faults:
            raise SegmentError(faults)
        return Who(Group("all", tuple(parts)), excluded(broadcast.exclude, pitched))


# --- questions --------------------------------------------------------------------------------------------------------


async def _size(connection: AsyncConnection, broadcast: str) -> int | None:
    mark = select(tables.frozen.c.size).where(tables.frozen.c.broadcast == broadcast)
    return (await connection.execute(mark)).scalar_one_or_none()


async def _covers(connection: AsyncConnection, positions: Mapping[int, str]) -> None:
    rows = tables.positions.c
    known = {p: last for p, last in await connection.execute(select(rows.partition, rows.last_id))}  # noqa: C416  # rows are no pairs to mypy
    behind = [p for p, last in positions.items() if comes_after(last, known.get(p, ""))]
    if behind:
        raise NotYetError(f"the ledger has yet to take in the last entries of {len(behind)} partitions")


async def projected_until(connection: AsyncConnection) -> Ms:
    """Up to when the ledger knows what happened at least: the newest entry of any partition; 0 for an empty one."""
    found = (await connection.execute(select(tables.positions.c.last_id))).scalars()
    return max((int(last.partition("-")[0] or 0) for last in found), default=0)
