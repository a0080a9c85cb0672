"""Reads of what is now, for people: the REST API, the console, the sandbox. Never on the hot path.

What has been is the ledger's to tell (`ledger/lookups.py`); the newest messages and decisions are found here as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bot import ids, journal, keys, orders, subjects
from bot.codec import load_message
from bot.events import Ms
from bot.journal import DecisionRecord
from bot.messages import OutboundMessage
from bot.records import Buyer, Order, Task
from bot.store import Store

PAGE = 200
MOST_SCANNED = 20_000
CLOCKS_DIFFER_MS = 5_000
ROW = ("b", "s", "r", "h", "u", "p")  # the fields of a message's row that tell of it
ERASED = b"erased:"  # in the index, before the id that stays
Place = tuple[Ms, str]
"""Where a row stands in a list that is sorted by time, then id: a page goes on from just before one."""
NEWEST: Place = (1 << 52, "")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with its state."""

    message: OutboundMessage
    state: str
    reason: str
    history: tuple[tuple[str, Ms, str], ...]
    updated_at: Ms
    parts: int = 0  # the provider's count, else as planned


class Queries:
    """Look-ups and lists."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- buyers ---------------------------------------------------------------------------------------------------

    async def buyer_at(self, subject: str) -> Buyer | None:
        """The buyer whom a subject leads to (links followed)."""
        record = await self._store.resolve(subject)
        return record if isinstance(record, Buyer) else None

    async def buyer(self, id: str) -> Buyer | None:
        """A buyer by id; a merged id leads to the survivor (compare the ids to answer 308)."""
        partition = ids.partition_in(id)
        if partition is None or partition >= self._store.partitions:
            return None
        for _ in range(2):  # once more where an erasure took the record in between
            subject = await self._store.command("HGET", keys.index(partition), f"b:{id}")
            if subject and subject.startswith(ERASED):
                return Buyer(id=subject.removeprefix(ERASED).decode(), home="", created_at=0, erased=True)
            found = await self.buyer_at(subject.decode()) if subject else None
            if found is not None:
                return found
        return None

    async def buyer_by_phone(self, phone: str) -> Buyer | None:
        """By E.164 number."""
        return await self.buyer_at(subjects.phone(phone))

    async def buyer_by_address(self, account: str, id: str) -> Buyer | None:
        """By channel account and id there."""
        return await self.buyer_at(subjects.home(subjects.address(account, id)))

    async def buyer_by_member_no(self, number: str) -> Buyer | None:
        """By member number; numbers of merged cards resolve too."""
        digits = number.replace(" ", "").replace("-", "")
        partition = ids.member_partition(digits)
        if partition is None or partition >= self._store.partitions:
            return None
        # After a merge the number is indexed at the survivor's home as well; the older entry leads there by its link.
        subject = await self._store.command("HGET", keys.index(partition), f"m:{digits}")
        return await self.buyer_at(subject.decode()) if subject else None

    async def every_buyer(self, partition: int) -> AsyncIterator[list[Buyer]]:
        """All buyers of a partition, some at a time."""
        names = await self._buyer_ids(partition)
        for start in range(0, len(names), PAGE):
            yield await self._at_home(partition, names[start : start + PAGE])

    async def _buyer_ids(self, partition: int) -> list[str]:
        position, names = 0, set[str]()
        while True:
            position, fields = await self._store.command(
                "HSCAN", keys.index(partition), position, "MATCH", "b:*", "COUNT", 1000
            )
            names.update(name[2:].decode() for name in fields)
            if int(position) == 0:
                return sorted(names)

    async def _at_home(self, partition: int, names: Sequence[str]) -> list[Buyer]:
        """The buyers of these ids that are still their own: merged and erased ones are left out."""
        subjects_found = await self._store.command("HMGET", keys.index(partition), *(f"b:{name}" for name in names))
        homes = [value.decode() for value in subjects_found if value]
        records = await self._store.records(homes)
        buyers = (records.get(home) for home in homes)
        wanted = set(names)
        found = [b for b in buyers if isinstance(b, Buyer) and not b.erased and b.id in wanted]
        return sorted(found, key=lambda buyer: buyer.id)

    # --- orders ---------------------------------------------------------------------------------------------------

    async def order(self, shop: str, id: str) -> Order | None:
        """One order of a shop."""
        record = await self._store.record(subjects.order(shop, id))
        return record if isinstance(record, Order) else None

    async def buyers_of(self, orders_wanted: Iterable[str]) -> dict[str, str]:
        """Whose orders these are, by their subjects: the buyers' ids, for those that are known by now."""
        found: dict[str, str] = {}
        for subject, order in (await self._store.records(orders_wanted)).items():
            home = orders.identity(order.buyer, order.shop) if isinstance(order, Order) else ""
            buyer = await self.buyer_at(home) if home else None
            if buyer is not None and not buyer.erased:
                found[subject] = buyer.id
        return found

    # --- messages -------------------------------------------------------------------------------------------------

    async def message(self, id: str) -> StoredMessage | None:
        """One message by id."""
        partition = ids.partition_in(id)
        if partition is None or partition >= self._store.partitions:
            return None
        return _stored(await self._store.command("HMGET", keys.message(partition, id), *ROW))

    async def messages(
        self,
        keep: Callable[[StoredMessage], bool],
        *,
        partitions: Sequence[int] | None = None,
        before: Place = NEWEST,
        limit: int = 50,
    ) -> list[StoredMessage]:
        """Messages that `keep` accepts, newest first, from just before a place (created at, id)."""
        found: list[StoredMessage] = []
        for partition in partitions if partitions is not None else range(self._store.partitions):
            kept, names = 0, await self._message_ids(partition, before[0])
            while names and kept < limit:
                part, names = names[:PAGE], names[PAGE:]
                for one in await self._rows(partition, part):
                    if one is not None and message_place(one) < before and keep(one) and kept < limit:
                        found.append(one)
                        kept += 1
        found.sort(key=message_place, reverse=True)
        return found[:limit]

    async def _message_ids(self, partition: int, at: Ms) -> list[str]:
        names = await self._store.command(
            "ZREVRANGEBYSCORE", keys.messages(partition), at, "-inf", "LIMIT", 0, MOST_SCANNED
        )
        return [name.decode() for name in names]

    async def _rows(self, partition: int, names: Sequence[str]) -> list[StoredMessage | None]:
        wanted = [("HMGET", keys.message(partition, name), *ROW) for name in names]
        return [_stored(values) for values in await self._store.together(wanted)]

    async def messages_by_id(self, names: Sequence[str]) -> dict[str, StoredMessage]:
        """The messages of these ids that are kept here, in one round trip."""
        places = [(partition, name) for name in names if (partition := ids.partition_in(name)) is not None]
        wanted = [("HMGET", keys.message(partition, name), *ROW) for partition, name in places]
        found = (_stored(values) for values in await self._store.together(wanted))
        return {one.message.id: one for one in found if one is not None}

    # --- journal --------------------------------------------------------------------------------------------------

    async def entries(self, partition: int, *, until: str = "+") -> AsyncIterator[tuple[str, bytes, bytes]]:
        """A partition's journal, newest first, down from a stream id (with it): stream id, kind, body."""
        position, inclusive = until, ""
        while True:
            page = await self._store.command(
                "XREVRANGE", keys.journal(partition), f"{inclusive}{position}", "-", "COUNT", PAGE
            )
            for entry, fields in page:
                yield entry.decode(), fields[b"k"], fields[b"b"]
            if len(page) < PAGE:
                return
            position, inclusive = page[-1][0].decode(), "("

    async def decisions(
        self,
        keep: Callable[[DecisionRecord], bool],
        *,
        partitions: Sequence[int] | None = None,
        after: Ms = 0,
        before: Place = NEWEST,
        limit: int = 50,
    ) -> list[DecisionRecord]:
        """Decisions that `keep` accepts, newest first, made after `after` and from just before a place (at, message)."""
        found: list[DecisionRecord] = []
        for partition in partitions if partitions is not None else range(self._store.partitions):
            found.extend(await self._decided(partition, keep, after, before, limit))
        found.sort(key=decision_place, reverse=True)
        return found[:limit]

    async def _decided(
        self, partition: int, keep: Callable[[DecisionRecord], bool], after: Ms, before: Place, limit: int
    ) -> list[DecisionRecord]:
        found: list[DecisionRecord] = []
        enough, seen = 0, 0
        async for _, kind, body in self.entries(partition):
            seen += 1
            if seen > MOST_SCANNED:
                break
            if kind != b"turn":
                continue
            turn = journal.load_turn(body)
            # Turns of one moment belong to one page, and a new owner's clock may be a little behind the last one's.
            if turn.at <= after or turn.at < enough - CLOCKS_DIFFER_MS:
                break
            found.extend(d for d in turn.decisions if decision_place(d) < before and keep(d))
            if not enough and len(found) >= limit:
                enough = turn.at
        return found

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def tasks_by_id(self, names: Sequence[str]) -> dict[str, Task]:
        """The tasks of these ids, in one round trip."""
        places = [(partition, name) for name in names if (partition := ids.partition_in(name)) is not None]
        values = await self._store.together([("HGET", keys.tasks(partition), name) for partition, name in places])
        found = (msgspec.msgpack.decode(value, type=Task) for value in values if value)
        return {task.id: task for task in found}

    async def task(self, id: str) -> Task | None:
        """One task by id."""
        partition = ids.partition_in(id)
        if partition is None or partition >= self._store.partitions:
            return None
        value = await self._store.command("HGET", keys.tasks(partition), id)
        return msgspec.msgpack.decode(value, type=Task) if value else None

    # --- the ledger -----------------------------------------------------------------------------------------------

    async def unprojected(self) -> Ms:
        """The age of the oldest journal entry that the ledger does not hold yet, 0 where it holds all."""
        marks = await self._store.command("HGETALL", keys.LEDGER_MARKS)
        after = [marks.get(str(p).encode(), b"").decode() for p in range(self._store.partitions)]
        wanted = [
            ("XRANGE", keys.journal(p), f"({mark}" if mark else "-", "+", "COUNT", 1) for p, mark in enumerate(after)
        ]
        oldest = [int(page[0][0].partition(b"-")[0]) for page in await self._store.together(wanted) if page]
        seconds, micros = await self._store.command("TIME")
        return max(0, int(seconds) * 1000 + int(micros) // 1000 - min(oldest)) if oldest else 0

    async def ends(self, partitions: Sequence[int] | None = None) -> dict[int, str]:
        """The newest entry of every journal: what the ledger must hold to know all that has been until now (None: of all)."""
        wanted = list(partitions if partitions is not None else range(self._store.partitions))
        pages = await self._store.together([("XREVRANGE", keys.journal(p), "+", "-", "COUNT", 1) for p in wanted])
        return {p: page[0][0].decode() for p, page in zip(wanted, pages, strict=True) if page}

    async def projection(self) -> dict[str, str]:
        """What the projector last told of itself."""
        return {
            name.decode(): value.decode()
            for name, value in (await self._store.command("HGETALL", keys.LEDGER_STATE)).items()
        }

    # --- the whole ------------------------------------------------------------------------------------------------

    async def served(self) -> int:
        """Partitions that have an owner now."""
        seconds, micros = await self._store.command("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        wanted = [("HGET", keys.lease(partition), "u") for partition in range(self._store.partitions)]
        return sum(until is not None and int(until) > now for until in await self._store.together(wanted))


def message_place(found: StoredMessage) -> Place:
    """Where a message stands in a list."""
    return found.message.created_at, found.message.id


def decision_place(found: DecisionRecord) -> Place:
    """Where a decision stands in a list."""
    return found.at, found.message


def _stored(values: Sequence[bytes | None]) -> StoredMessage | None:
    body, state, reason, history, updated, parts = values
    if body is None or state is None:
        return None
    lines = []
    for line in (history or b"").decode().splitlines():
        word, at, *rest = line.split(" ", 2)
        lines.append((word, int(at), rest[0].strip() if rest else ""))
    message = load_message(body)
    counted = int(parts or message.parts)
    return StoredMessage(message, state.decode(), (reason or b"").decode(), tuple(lines), int(updated or 0), counted)


def order_of(found: DecisionRecord) -> str:
    """The subject of the order that a decision is about, "" for none: notices are named `shop|notice|order|…`."""
    shop, _, rest = found.key.partition("|")
    return subjects.order(shop, found.order) if found.order and rest else ""


def as_dict(decision: DecisionRecord) -> dict[str, Any]:
    """A decision with every field, defaults too."""
    plain = {name: getattr(decision, name) for name in decision.__struct_fields__ if name != "rules"}
    rules = [{name: getattr(rule, name) for name in rule.__struct_fields__} for rule in decision.rules]
    return {**plain, "rules": rules}
