"""Reads for people: the REST API, the console, the sandbox. Never on the hot path.

Until the ledger exists, timelines and lists come from the journals in Redis: newest first, paged by stream position,
over the partitions that can hold an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from bot import ids, journal, keys, subjects
from bot.clock import rfc3339
from bot.codec import load_message
from bot.events import Ms
from bot.journal import DecisionRecord, TurnEntry
from bot.messages import OutboundMessage
from bot.records import Buyer, Order, Task
from bot.store import Store

T = TypeVar("T")
PAGE = 200
MOST_SCANNED = 20_000


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
        subject = await self._store.command("HGET", keys.index(partition), f"b:{id}")
        return await self.buyer_at(subject.decode()) if subject else None

    async def buyer_by_phone(self, phone: str) -> Buyer | None:
        """By E.164 number."""
        return await self.buyer_at(subjects.phone(phone))

    async def buyer_by_address(self, account: str, id: str) -> Buyer | None:
        """By channel account and id there."""
        return await self.buyer_at(subjects.address(account, id))

    async def buyer_by_member_no(self, number: str) -> Buyer | None:
        """By member number; numbers of merged cards resolve too."""
        digits = number.replace(" ", "").replace("-", "")
        partition = ids.member_partition(digits)
        if partition is None or partition >= self._store.partitions:
            return None
        # After a merge the number is indexed at the survivor's home as well; the older entry leads there by its link.
        subject = await self._store.command("HGET", keys.index(partition), f"m:{digits}")
        return await self.buyer_at(subject.decode()) if subject else None

    async def buyers(self, *, after: str = "", limit: int = 50) -> tuple[list[Buyer], str]:
        """All buyers in no particular order, paged."""
        partition, _, cursor = after.partition(".")
        p, position = int(partition or 0), int(cursor or 0)
        found: list[Buyer] = []
        while p < self._store.partitions:
            position, fields = await self._hscan(p, position, limit)
            for name, subject in fields:
                if name.startswith(b"b:"):
                    buyer = await self._store.record(subject.decode())
                    if isinstance(buyer, Buyer) and buyer.id == name[2:].decode():
                        found.append(buyer)
            if position == 0:
                p += 1
            if len(found) >= limit:
                break
        return found, f"{p}.{position}" if p < self._store.partitions else ""

    async def _hscan(self, partition: int, position: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        nxt, found = await self._store.command("HSCAN", keys.index(partition), position, "COUNT", count)
        return int(nxt), list(found.items())

    # --- orders ---------------------------------------------------------------------------------------------------

    async def order(self, shop: str, id: str) -> Order | None:
        """One order of a shop."""
        record = await self._store.record(subjects.order(shop, id))
        return record if isinstance(record, Order) else None

    # --- messages -------------------------------------------------------------------------------------------------

    async def message(self, id: str) -> StoredMessage | None:
        """One message by id."""
        partition = ids.partition_in(id)
        if partition is None or partition >= self._store.partitions:
            return None
        return _stored(await self._store.command("HMGET", keys.message(partition, id), "b", "s", "r", "h", "u", "p"))

    async def messages(
        self,
        keep: Callable[[StoredMessage], bool],
        *,
        partitions: Sequence[int] | None = None,
        before: Ms = 0,
        limit: int = 50,
    ) -> list[StoredMessage]:
        """Messages that `keep` accepts, newest first, created before `before`."""
        found: list[StoredMessage] = []
        for partition in partitions if partitions is not None else range(self._store.partitions):
            high = f"({before}" if before else "+inf"
            names = await self._store.command(
                "ZREVRANGEBYSCORE", keys.messages(partition), high, "-inf", "LIMIT", 0, MOST_SCANNED
            )
            kept = 0
            for name in names:
                one = await self.message(name.decode())
                if one is not None and keep(one):
                    found.append(one)
                    kept += 1
                    if kept >= limit:
                        break
        found.sort(key=lambda m: m.message.created_at, reverse=True)
        return found[:limit]

    # --- journal --------------------------------------------------------------------------------------------------

    async def turns(
        self, partition: int, *, before: str = "+", most: int = MOST_SCANNED
    ) -> AsyncIterator[tuple[str, TurnEntry]]:
        """The turns of a partition, newest first, from just before a stream id."""
        position, seen = before, 0
        while seen < most:
            start = position if position == "+" else f"({position}"
            page = await self._store.command("XREVRANGE", keys.journal(partition), start, "-", "COUNT", PAGE)
            if not page:
                return
            for entry, fields in page:
                position = entry.decode()
                seen += 1
                if fields.get(b"k") == b"turn":
                    yield position, journal.load_turn(fields[b"b"])

    async def timeline(self, buyer: Buyer, *, before: str = "+", limit: int = 50) -> tuple[list[dict[str, Any]], str]:
        """What happened to a buyer, newest first: `{"at", "kind", "summary", "ref"}`."""
        lines: list[dict[str, Any]] = []
        ids_here = {buyer.id, *buyer.merged}
        async for position, turn in self.turns(self._store.partition(buyer.home), before=before):
            if turn.buyer in ids_here:
                lines.extend(_timeline_lines(turn))
            if len(lines) >= limit:
                return lines[:limit], position
        return lines, ""

    async def decisions(
        self,
        keep: Callable[[DecisionRecord], bool],
        *,
        partitions: Sequence[int] | None = None,
        after: Ms = 0,
        limit: int = 50,
    ) -> list[DecisionRecord]:
        """Decisions that `keep` accepts, newest first, made after `after`."""
        found: list[DecisionRecord] = []
        for partition in partitions if partitions is not None else range(self._store.partitions):
            kept = 0
            async for _, turn in self.turns(partition):
                if turn.at <= after or kept >= limit:
                    break
                wanted = [d for d in turn.decisions if keep(d)]
                kept += len(wanted)
                found.extend(wanted)
        found.sort(key=lambda d: d.at, reverse=True)
        return found[:limit]

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def tasks(self) -> list[Task]:
        """Every task, newest first."""
        found: list[Task] = []
        for partition in range(self._store.partitions):
            values = await self._store.command("HVALS", keys.tasks(partition))
            found.extend(msgspec.msgpack.decode(value, type=Task) for value in values)
        found.sort(key=lambda task: task.created_at, reverse=True)
        return found

    async def task(self, id: str) -> Task | None:
        """One task by id."""
        partition = ids.partition_in(id)
        if partition is None or partition >= self._store.partitions:
            return None
        value = await self._store.command("HGET", keys.tasks(partition), id)
        return msgspec.msgpack.decode(value, type=Task) if value else None

    # --- the whole ------------------------------------------------------------------------------------------------

    async def served(self) -> int:
        """Partitions that have an owner now."""
        seconds, micros = await self._store.command("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        count = 0
        for partition in range(self._store.partitions):
            until = await self._store.command("HGET", keys.lease(partition), "u")
            count += until is not None and int(until) > now
        return count


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


def _timeline_lines(turn: TurnEntry) -> list[dict[str, Any]]:
    at = rfc3339(turn.at)
    lines: list[dict[str, Any]] = [
        {"at": at, "kind": note.kind, "summary": note.summary, "ref": None} for note in turn.notes
    ]
    for decision in turn.decisions:
        why = f" ({decision.reason})" if decision.reason else ""
        summary = f"{decision.outcome}: {decision.key or decision.source}{why}"
        lines.append({"at": at, "kind": f"decision.{decision.outcome}", "summary": summary, "ref": decision.message})
    lines.extend(_task_line(at, body) for body in turn.tasks)
    if turn.handler:
        lines.append({"at": at, "kind": "event", "summary": turn.handler, "ref": None})
    return lines


def _task_line(at: str, body: bytes) -> dict[str, Any]:
    task = msgspec.msgpack.decode(body, type=Task)
    return {"at": at, "kind": "task", "summary": f"{task.kind} {task.state}", "ref": task.id}


def as_dict(decision: DecisionRecord) -> dict[str, Any]:
    """A decision with every field, defaults too."""
    plain = {name: getattr(decision, name) for name in decision.__struct_fields__ if name != "rules"}
    rules = [{name: getattr(rule, name) for name in rule.__struct_fields__} for rule in decision.rules]
    return {**plain, "rules": rules}
