"""Rows of messages and of the states that they went through.

A message lives in one partition, so that its entries come in their order. A state only moves to a higher rank, as in
`bot/lua/commit.lua` and `settle.lua`; what waits for another attempt is queued again.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from bot import ids, subjects
from bot.broadcasts import SOURCE
from bot.costs import cost
from bot.events import Money, Ms
from bot.journal import SendEntry, UnplannedEntry
from bot.messages import OutboundMessage
from bot.reasons import SkipReason
from ledger import tables
from ledger.derive.entries import Entry, Status, Turn
from ledger.derive.keys import broadcast_of, order_subject
from ledger.derive.state import Row, State, blank

RANK = {"queued": 0, "sending": 1, "in_doubt": 2, "sent": 3, "failed": 4, "delivered": 5, "read": 6, "skipped": 7}


def moves(before: str, state: str) -> bool:
    """Whether a message goes from one state to another ("" before: it is new)."""
    if not before:
        return True
    again = state in ("queued", "in_doubt") and RANK.get(before, 0) <= RANK["in_doubt"]
    return again or RANK.get(state, -1) > RANK.get(before, 0)


def planned(entry: Entry, turn: Turn, state: State) -> None:
    """The messages of a turn: queued, or skipped by its decision. One that waited comes again, with its words."""
    skipped = {d.message: d.reason for d in turn.entry.decisions if d.outcome == "skip"}
    for message in turn.messages:
        before = _row(message.id, entry, state)
        if state.anew and before["rooted"]:
            continue
        row = {**before, **_details(message)}
        row["parts"] = row["parts"] or message.parts
        row["cost"] = _cost(message.price, row["parts"])
        reason = skipped.get(message.id)
        _move(entry, row, state, "queued" if reason is None else "skipped", message.created_at, reason or "")
        state.messages.put(message.id, row)


def unplanned_id(entry: Entry, told: UnplannedEntry, buyer: str) -> str:
    """What the message is called that a cancelled broadcast did not plan for a buyer."""
    return ids.derived("m", entry.partition, f"unplanned|{told.broadcast}|{buyer}")


def unplanned(entry: Entry, told: UnplannedEntry, state: State) -> None:
    """The messages that a cancelled broadcast had not come to: each is skipped."""
    for buyer in told.buyers:
        before = _row(unplanned_id(entry, told, buyer), entry, state)
        if state.anew and before["rooted"]:
            continue
        row = {
            **before,
            "buyer": buyer,
            "purpose": told.purpose,
            "key": f"broadcast/{told.broadcast}",
            "source": f"{SOURCE}{told.broadcast}",
            "broadcast": told.broadcast,
            "created_at": told.at,
        }
        _move(entry, row, state, "skipped", told.at, SkipReason.CANCELLED)
        state.messages.put(row["id"], row)


def sent(entry: Entry, send: SendEntry, state: State) -> None:
    """The outcome of a provider call."""
    if _stands(send.id, entry, state):
        return
    row = dict(_row(send.id, entry, state))
    _bill(row, send.parts)
    _move(entry, row, state, send.state, send.at, send.reason, send.code)
    state.messages.put(send.id, row)


def moved(entry: Entry, status: Status, state: State) -> None:
    """What a callback told."""
    if _stands(status.id, entry, state):
        return
    row = dict(_row(status.id, entry, state))
    _bill(row, status.parts)
    reason, _, code = status.reason.partition(":")
    _move(entry, row, state, status.state, status.at, reason, code)
    state.messages.put(status.id, row)


def _stands(id: str, entry: Entry, state: State) -> bool:
    """Whether news of a message changes nothing: it is gone by age, or stands as it was left before a rebuild."""
    row = state.messages.get(id)
    return entry.partition in state.cut if row is None else state.anew and row["rooted"]


def _row(id: str, entry: Entry, state: State) -> Row:
    return state.messages.get(id) or blank(tables.messages, id=id, partition=entry.partition)


def _details(message: OutboundMessage) -> Row:
    text = getattr(message.content, "text", "") or getattr(message.content, "alt", "")
    price = message.price
    return {
        "buyer": message.buyer,
        "account": message.account,
        "address": message.to,
        "purpose": message.purpose,
        "key": message.key,
        "source": message.source,
        "broadcast": broadcast_of(message),
        "order_id": message.order,
        "order_subject": _order(message),
        "text": "" if message.purpose == "code" else text,
        "created_at": message.created_at,
        "price": f"{price.amount} {price.currency}" if price is not None else "",
        "touch": message.touch,
        "topic": message.topic,
        "locale": message.locale,
        "again_of": message.again_of,
    }


def _order(message: OutboundMessage) -> str:
    """The order that it is about: by its key, or, where nobody was known yet, the record that planned it."""
    planned_by_order = not message.buyer and subjects.kind(message.home) == "order"
    return message.home if planned_by_order else order_subject(message.touch or message.key, message.order)


def _bill(row: Row, parts: int) -> None:
    if parts:
        row["parts"] = parts
        row["cost"] = _cost(_price(row["price"]), parts)


def _price(text: str) -> Money | None:
    amount, _, currency = text.partition(" ")
    try:
        return Money(Decimal(amount), currency) if text else None
    except InvalidOperation:
        return None


def _cost(price: Money | None, parts: int) -> str:
    found = cost(price, parts)
    return f"{found.amount} {found.currency}" if found is not None else ""


def _move(entry: Entry, row: Row, state: State, to: str, at: Ms, reason: str, code: str = "") -> None:
    if not moves(row["state"], to):
        return
    row |= {"state": to, "reason": reason, "code": code, "updated_at": at}
    line = 0
    if state.history:
        last = state.history[-1]
        if (last["partition"], last["ms"], last["seq"]) == (entry.partition, entry.ms, entry.seq):
            line = last["line"] + 1
    state.history.append(
        {
            "partition": entry.partition,
            "ms": entry.ms,
            "seq": entry.seq,
            "line": line,
            "message": row["id"],
            "state": to,
            "reason": reason,
            "code": code,
            "at": at,
        }
    )
