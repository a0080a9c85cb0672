"""What happened to one buyer, newest first, from the journals of every partition that ever kept the buyer.

Until the ledger exists: a merge leaves the older history of the loser in its own partition, so several journals are read
side by side. Lines are ordered by the time they tell, then by the place of their entry, so a page can go on exactly where
the last one ended.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec

from bot import ids, journal
from bot.clock import rfc3339
from bot.codec import load_event
from bot.errors import GatewayError
from bot.events import Event, MessageReceived, Tapped
from bot.journal import SendEntry, TurnEntry
from bot.queries import CLOCKS_DIFFER_MS, MOST_SCANNED, Queries
from bot.records import Buyer, Task

Mark = tuple[int, int, int, int, int]
"""A line's place: the ms that it tells, partition, ms and number of its entry in the stream, number within the entry."""
Line = dict[str, Any]
_END: Mark = (1 << 62, 0, 0, 0, 0)
_CURSOR = re.compile(r"(\d{1,15})\.(\d{1,4})\.(\d{1,15})-(\d{1,15})\.(\d{1,4})", re.ASCII)
_sends = msgspec.msgpack.Decoder(SendEntry)


def mark_of(cursor: str) -> Mark | None:
    """The place that a cursor names, None for one that no timeline gave."""
    found = _CURSOR.fullmatch(cursor)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]), int(found[4]), int(found[5]))


async def timeline(
    queries: Queries, buyer: Buyer, *, before: Mark | None = None, limit: int = 50
) -> tuple[list[Line], str]:
    """`{"at", "kind", "summary", "ref"}` lines and the cursor of the next page ("" at the end)."""
    known = {buyer.id, *buyer.merged}
    partitions = sorted({p for p in map(ids.partition_in, known) if p is not None})
    sources = [_lines(queries, partition, known, before or _END) for partition in partitions]
    heads = [await anext(source, None) for source in sources]
    found: list[Line] = []
    last: Mark = _END
    while any(heads):
        newest = max(range(len(heads)), key=lambda i: (heads[i] or ((-1, 0, 0, 0, 0), None))[0])
        head = heads[newest]
        assert head is not None
        if len(found) == limit:
            return found, _cursor(last)
        last, line = head
        if line is None:  # much was read, little was found: the page ends here and the next goes on
            return found, _cursor(last)
        found.append(line)
        heads[newest] = await anext(sources[newest], None)
    return found, ""


def _cursor(mark: Mark) -> str:
    at, partition, ms, number, index = mark
    return f"{at}.{partition}.{ms}-{number}.{index}"


async def _lines(
    queries: Queries, partition: int, known: Collection[str], before: Mark
) -> AsyncIterator[tuple[Mark, Line | None]]:
    """The lines of one journal from just before a place, sorted.

    Entries stand in the order in which they were written, by processes whose clocks differ a little and whose turns and
    calls overlap: a line waits until what is read is older than it by more than that.
    """
    waiting: list[tuple[tuple[int, ...], Mark, Line]] = []  # newest first
    seen, at = 0, before[0]
    until = "+" if before is _END else f"{before[2] + 2 * CLOCKS_DIFFER_MS}"
    async for entry, kind, body in queries.entries(partition, until=until):
        ms, number = map(int, entry.split("-"))
        at, lines = _of(kind, body, known) or (at, [])
        for index, line in enumerate(lines):
            mark = (at, partition, ms, number, index)
            if mark < before:
                heapq.heappush(waiting, (tuple(-part for part in mark), mark, line))
        while waiting and waiting[0][1][0] > at + CLOCKS_DIFFER_MS:
            _, mark, line = heapq.heappop(waiting)
            yield mark, line
        seen += 1
        if seen >= MOST_SCANNED:
            yield (at + CLOCKS_DIFFER_MS + 1, 0, ms, number, 0), None
            return
    while waiting:
        _, mark, line = heapq.heappop(waiting)
        yield mark, line


def _of(kind: bytes, body: bytes, known: Collection[str]) -> tuple[int, list[Line]] | None:
    """What time a journal entry tells, and its lines, oldest first; None for one that tells nothing of a buyer."""
    if kind == b"turn":
        turn = journal.load_turn(body)
        return turn.at, _turn_lines(turn) if turn.buyer in known else []
    if kind != b"send":
        return None
    send = _sends.decode(body)
    if send.buyer not in known or send.state == "queued":
        return send.at, []
    why = f" ({send.reason})" if send.reason else ""
    return send.at, [_line(send.at, f"message.{send.state}", f"{send.purpose} on {send.account}{why}", send.id)]


def _line(at: int, kind: str, summary: str, ref: str | None = None) -> Line:
    return {"at": rfc3339(at), "kind": kind, "summary": summary, "ref": ref}


def _turn_lines(turn: TurnEntry) -> list[Line]:
    lines = _event_line(turn)
    lines += [_line(turn.at, note.kind, note.summary) for note in turn.notes]
    for decision in turn.decisions:
        why = f" ({decision.reason})" if decision.reason else ""
        summary = f"{decision.outcome}: {decision.key or decision.source}{why}"
        lines.append(_line(turn.at, f"decision.{decision.outcome}", summary, decision.message))
    for stored in turn.tasks:
        if stored:
            task = msgspec.msgpack.decode(stored, type=Task)
            lines.append(_line(turn.at, "task", f"{task.kind} {task.state}", task.id))
    return lines


def _event_line(turn: TurnEntry) -> list[Line]:
    event = _event(turn.event)
    body = event.body if event is not None else None
    if isinstance(body, MessageReceived | Tapped):
        said = body.text if isinstance(body, MessageReceived) else body.title
        return [_line(turn.at, "message.received", said[:200] or "(no text)")]
    return [_line(turn.at, "event", turn.handler)] if turn.handler else []


def _event(stored: bytes) -> Event | None:
    try:
        return load_event(stored) if stored else None
    except GatewayError:
        return None
