"""Turns, outcomes and buried entries as the arguments that `lua/commit.lua`, `lua/settle.lua` and `lua/bury.lua` take."""

from __future__ import annotations

from typing import Any

from bot import keys
from bot.change import Change, Settlement
from bot.codec import CodecError, load_event
from bot.events import BroadcastDue, Forwarded


def outcome_args(item: Settlement) -> list[Any]:
    """One outcome."""
    return [
        keys.tag(item.partition), item.id, item.attempt, item.state, item.reason, item.provider, item.again_at or "",
        item.hold_until or "", "1" if item.unread else "", item.at, item.journal, item.parts or "",
    ]  # fmt: skip


def turn_args(change: Change, position: int) -> list[Any]:
    """One turn; `position` is that of its partition among the keys of the call, from 1."""
    args: list[Any] = [
        position,
        change.lane,
        change.entry,
        change.digest,
        change.subject,
        change.record,
        change.journal,
        len(change.timers),
    ]
    for timer in change.timers:
        args += timer
    args.append(len(change.messages))
    for m in change.messages:
        args += [m.id, m.account, m.to, m.lane, m.state, m.reason, m.created_at, m.purpose, m.body]
        args += [m.claim_at or "", m.bc]
    args.append(len(change.mails))
    for letter in change.mails:
        args += [keys.tag(letter.partition), letter.subject, letter.digest, letter.body, "i"]
    args.append(len(change.index))
    for pair in change.index:
        args += pair
    args.append(len(change.tasks))
    for task in change.tasks:
        args += task
    args.append(len(change.statuses))
    for s in change.statuses:
        args += [s.how, s.what, s.state, s.at, s.reason, s.provider, s.parts or ""]
    args.append(len(change.rows))
    for row in change.rows:
        args += row
    return args


def passed_on(body: bytes) -> str:
    """The broadcast of an event that a link or a merge passed on, "" for any other."""
    try:
        event = load_event(body)
        while isinstance(event.body, Forwarded):
            event = load_event(event.body.event)
    except CodecError:
        return ""
    due = event.body
    return due.broadcast if isinstance(due, BroadcastDue) and due.moved else ""
