"""What happened to one buyer, newest first, from the journals of every partition that ever kept the buyer.

Until the ledger exists: a merge leaves the older history of the loser in its own partition, so several journals are read
side by side. Lines are ordered by the server's time of their entry, so a page can go on exactly where the last one ended.
"""

from __future__ import annotations

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
from bot.queries import MOST_SCANNED, Queries
from bot.records import Buyer, Task

Mark = tuple[int, int, int, int]
"""A line's place: ms and number of its entry in the stream, partition, number within the entry."""
Line = dict[str, Any]
_END: Mark = (1 << 62, 0, 0, 0)
_CURSOR = re.compile(r"(\d{1,15})-(\d{1,15})\.(\d{1,3})\.(\d{1,4})", re.ASCII)
_sends = msgspec.msgpack.Decoder(SendEntry)


def mark_of(cursor: str) -> Mark | None:
    """The place that a cursor names, None for one that no timeline gave."""
    found = _CURSOR.fullmatch(cursor)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]), int(found[4]))


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
        newest = max(range(len(heads)), key=lambda i: heads[i] or ((-1, 0, 0, 0), None))
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
    return f"{mark[0]}-{mark[1]}.{mark[2]}.{mark[3]}"


async def _lines(
    queries: Queries, partition: int, known: Collection[str], before: Mark
) -> AsyncIterator[tuple[Mark, Line | None]]:
    until = "+" if before is _END else f"{before[0]}-{before[1]}"
    seen = 0
    async for entry, kind, body in queries.entries(partition, until=until):
        ms, number = map(int, entry.split("-"))
        lines = _of(kind, body, known)
        for index in range(len(lines) - 1, -1, -1):
            mark = (ms, number, partition, index)
            if mark < before:
                yield mark, lines[index]
        seen += 1
        if seen >= MOST_SCANNED:
            yield (ms, number, partition, 0), None
            return


def _of(kind: bytes, body: bytes, known: Collection[str]) -> list[Line]:
    """The lines of one journal entry, oldest first."""
    if kind == b"turn":
        turn = journal.load_turn(body)
        return _turn_lines(turn) if turn.buyer in known else []
    if kind == b"send":
        send = _sends.decode(body)
        why = f" ({send.reason})" if send.reason else ""
        if send.buyer in known and send.state != "queued":
            return [_line(send.at, f"message.{send.state}", f"{send.purpose} on {send.account}{why}", send.id)]
    return []


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
