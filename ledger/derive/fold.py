"""Leads each entry to the rules of its subjects."""

from __future__ import annotations

from bot.events import Absorbed, TouchAsked
from bot.journal import SendEntry, UnplannedEntry
from bot.records import Buyer, Link, Order
from ledger.derive import buyers, lines, messages, orders, tasks
from ledger.derive.entries import Entry, Status, Turn
from ledger.derive.state import State, Wanted


def wanted(entry: Entry, into: Wanted) -> None:
    """Adds the keys of the rows that the entry may change."""
    body = entry.body
    if isinstance(body, SendEntry | Status):
        into.messages.add(body.id)
    elif isinstance(body, Turn):
        _wanted(body, into)
    elif isinstance(body, UnplannedEntry):
        into.messages.update(messages.unplanned_id(entry, body, buyer) for buyer in body.buyers)


def _wanted(body: Turn, into: Wanted) -> None:
    into.messages.update(message.id for message in body.messages)
    into.tasks.update(task.id for task in body.tasks)
    record = body.record
    if isinstance(record, Buyer):
        into.buyers.add(record.id)
        into.buyers.update(record.merged)
        into.merged.update(record.merged)
        into.coupons.update(coupon.code for coupon in record.coupons)
        into.owners.update(map(orders.subject_of, record.orders))
        if told := _told(body):
            into.owners.add(told)
    elif isinstance(record, Link) and record.buyer:
        into.buyers.add(record.buyer)


def fold(entry: Entry, state: State) -> None:
    """Changes the rows as the entry says. All that `wanted` named must be loaded."""
    body = entry.body
    if isinstance(body, SendEntry):
        messages.sent(entry, body, state)
        lines.sent(entry, body, state)
    elif isinstance(body, Status):
        messages.moved(entry, body, state)
    elif isinstance(body, Turn):
        _turn(entry, body, state)
    elif isinstance(body, UnplannedEntry):
        messages.unplanned(entry, body, state)
        lines.unplanned(entry, body, state)


def _turn(entry: Entry, turn: Turn, state: State) -> None:
    record = turn.record
    if isinstance(record, Buyer):
        fresh = state.buyers.get(record.id) is None or not state.buyers.rows[record.id]["home"]
        buyers.merge(entry, record, state)
        buyers.put(entry, turn, record, state)
        buyers.coupons(turn, record, state)
        if fresh or (turn.event is not None and isinstance(turn.event.body, Absorbed)):
            orders.remembered(record, state)
        if told := _told(turn):
            orders.told(entry, record, told, state)
    elif isinstance(record, Link) and record.buyer:
        buyers.left(entry, turn, record, state)
    elif isinstance(record, Order):
        orders.put(turn, record, state)
    messages.planned(entry, turn, state)
    tasks.put(entry, turn, state)
    lines.decisions(entry, turn, state)
    lines.consents(entry, turn, state)
    lines.turn(entry, turn, state)


def _told(turn: Turn) -> str:
    """The order that sent word to this buyer, "" where the turn was about something else."""
    body = turn.event.body if turn.event is not None else None
    return orders.subject_of(body.brief) if isinstance(body, TouchAsked) and body.brief is not None else ""
