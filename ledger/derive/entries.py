"""Journal entries as they are read back. Raises UnreadableError for what a newer release wrote, or what is damaged."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from bot.codec import load_event, load_message, load_record
from bot.errors import GatewayError
from bot.events import Event, Ms
from bot.journal import BroadcastEntry, SendEntry, TurnEntry, UnplannedEntry, load_turn
from bot.messages import OutboundMessage
from bot.records import Record, Task

_sends = msgspec.msgpack.Decoder(SendEntry)
_broadcasts = msgspec.msgpack.Decoder(BroadcastEntry)
_unplanned = msgspec.msgpack.Decoder(UnplannedEntry)
_tasks = msgspec.msgpack.Decoder(Task)


class UnreadableError(GatewayError):
    """An entry that this release cannot read."""


@dataclass(slots=True)
class Turn:
    """A turn, its parts decoded. `event` is None for one that cannot be read: the rest counts all the same."""

    entry: TurnEntry
    record: Record | None = None
    event: Event | None = None
    messages: list[OutboundMessage] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)


@dataclass(slots=True)
class Status:
    """What became of a message, by a callback; `parts` 0 where it does not say."""

    id: str
    state: str
    at: Ms
    reason: str = ""
    parts: int = 0


Body = Turn | SendEntry | Status | BroadcastEntry | UnplannedEntry


@dataclass(slots=True)
class Entry:
    """One entry of a partition's journal, with its place in the stream."""

    partition: int
    ms: Ms
    seq: int
    body: Body


def decode(partition: int, ms: Ms, seq: int, kind: str, body: bytes) -> Entry:
    """An entry from its stored form. Raises UnreadableError."""
    try:
        return Entry(partition, ms, seq, _body(kind, body))
    except (GatewayError, msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
        raise UnreadableError(f"{kind[:20]}: {type(error).__name__}") from error


def _body(kind: str, body: bytes) -> Body:
    if kind == "turn":
        return _turn(load_turn(body))
    if kind == "send":
        return _sends.decode(body)
    if kind == "status":
        id, state, at, reason, *parts = msgspec.msgpack.decode(body)
        return Status(str(id), str(state), int(at), str(reason), int(parts[0] or 0) if parts else 0)
    if kind == "broadcast":
        return _broadcasts.decode(body)
    if kind == "unplanned":
        return _unplanned.decode(body)
    raise UnreadableError("an unknown kind")


def _turn(entry: TurnEntry) -> Turn:
    return Turn(
        entry,
        load_record(entry.record) if entry.record else None,
        _event(entry.event),
        [load_message(body) for body in entry.messages],
        [_tasks.decode(body) for body in entry.tasks if body],
    )


def _event(stored: bytes) -> Event | None:
    try:
        return load_event(stored) if stored else None
    except GatewayError:
        return None
