"""The buyer's side of touches: each asks policy for one message, on the best address, in the buyer's words."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.clock import MINUTE_MS
from bot.effects import Cancel, CloseTask, Effect, OpenTask, Say, Schedule, Skip
from bot.events import Guard, Ms, TouchAsked
from bot.handling import Handler, Trigger, Turn
from bot.orders import OPEN_REFUND
from bot.reasons import Rule, SkipReason
from bot.records import Buyer
from bot.touching import values

ITEM = ("item", "others", "link")
VARS: dict[str, tuple[str, ...]] = {
    "order_paid": ("item", "others", "total", "number", "ship_at"),
    "order_shipped": (*ITEM, "carrier", "tracking", "eta_at"),
    "parcel_in_city": ("city", "carrier", "eta_at"),
    "parcel_out": ("carrier",),
    "parcel_pickup": ("place", "pickup"),
    "parcel_delivered": ("exchange_at", "left", "place", "pickup"),
    "refund_received": ("amount", "answer_at"),
    "payment_reminder": (*ITEM, "total", "cut_at", "ship_at", "until_at"),
    "review_invite": ITEM,
    "cart_1": ITEM,
    "cart_2": ITEM,
    "cart_3": ITEM,
}
CASES = ("return", "parcel", "urgent", "refund", "bad_review")
UNPAID = ("unpaid", "authorized", "partially_paid")
ACTIVE_MS = 30 * MINUTE_MS


def _touch(turn: Turn) -> TouchAsked:
    body = turn.event.body
    assert isinstance(body, TouchAsked)
    return body


def _say(touch: TouchAsked, key: str, purpose: str, order: str = "") -> Say:
    names = VARS[touch.notice]
    filled = values(touch.vars, *names)
    if "others" in names:
        filled["others"] = int(str(filled["others"] or 0))
    return Say(
        key=key,
        vars=filled,
        purpose="marketing" if purpose == "marketing" else "service",
        not_after=touch.not_after,
        guard=touch.guard,
        touch=touch.key,
        source=touch.source,
        order=order or (touch.brief.id if touch.brief is not None else ""),
        needs_window=touch.notice == "review_invite",
    )


def service(turn: Turn) -> Sequence[Effect]:
    """Shipped, in city, out, at the pickup point, delivered, refund acknowledged."""
    touch = _touch(turn)
    return [_say(touch, touch.notice, "service")]


def _earlier_orders(buyer: Buyer, touch: TouchAsked) -> bool:
    this = touch.brief.id if touch.brief is not None else ""
    return any(order.pay == "paid" and order.id != this for order in buyer.orders)


def paid(turn: Turn) -> Sequence[Effect]:
    """Thanks: fuller on the first order. A call that was planned is not needed any more."""
    touch = _touch(turn)
    key = "order_paid" if _earlier_orders(turn.buyer, touch) else "order_paid_first"
    order = touch.brief.id if touch.brief is not None else ""
    ended: list[Effect] = [CloseTask(f"call:{order}", "paid"), Cancel(f"call:{order}")]
    return [*ended, _say(touch, key, "service")]


def reminder(turn: Turn) -> Sequence[Effect]:
    """The payment reminder: a call for a large order where calls are consented to, else the message."""
    touch = _touch(turn)
    buyer = turn.buyer
    order = touch.brief.id if touch.brief is not None else ""
    calls = any(address.consent.calls == "granted" for address in buyer.addresses)
    if touch.large and calls:
        slot = turn.facts.call_slot(turn.now)
        last = touch.not_after - 30 * MINUTE_MS
        due = min(slot, last) if touch.not_after else slot
        if due > turn.now:
            number = touch.brief.number if touch.brief is not None else order
            brief = f"{number} {touch.vars.get('total', '')} {touch.vars.get('item', '')}".strip()
            data = {
                "touch": json.dumps(touch.vars),
                "key": touch.key,
                "not_after": str(touch.not_after),
                "order": order,
            }
            if touch.guard is not None:
                data["subject"] = touch.guard.subject
            return [
                OpenTask("phone_call", brief, key=f"call:{order}", order=order, due_at=due),
                Schedule(f"call:{order}", due, data),
            ]
    return [_message(buyer, touch, order)]


def _message(buyer: Buyer, touch: TouchAsked, order: str) -> Say:
    returning = any(known.pay == "paid" and known.id != order for known in buyer.orders)
    return _say(touch, "payment_reminder_returning" if returning else "payment_reminder", "service", order)


def call_due(turn: Turn) -> Sequence[Effect]:
    """The slot has ended: the message goes if nobody called."""
    task = turn.buyer.tasks.get(f"call:{turn.arg}")
    key = f"call|{turn.arg}"
    if task is None and not turn.again:
        return [Skip(key, SkipReason.CALL_MADE, Rule.REASON_HOLDS, source="journey:payment_reminder/1", order=turn.arg)]
    touch = TouchAsked(
        notice="payment_reminder",
        key=turn.data["key"],
        vars=json.loads(turn.data["touch"]),
        guard=Guard(turn.data["subject"], "pay", UNPAID) if "subject" in turn.data else None,
        not_after=int(turn.data["not_after"]),
        source="journey:payment_reminder/1",
    )
    return [CloseTask(f"call:{turn.arg}", "nobody called", "expired"), _message(turn.buyer, touch, turn.arg)]


def marketing(turn: Turn) -> Sequence[Effect]:
    """Cart notes and review invitations: nobody is interrupted, and nobody in trouble is asked for anything."""
    touch = _touch(turn)
    reason, rule = _untimely(turn.buyer, touch, turn.now)
    if reason:
        return [Skip(touch.key, reason, rule, "marketing", touch.source)]
    return [_say(touch, touch.notice, "marketing")]


def _untimely(buyer: Buyer, touch: TouchAsked, now: Ms) -> tuple[str, Rule]:
    """Why a marketing touch has no place now: reason and rule, or "" for none. Weighed again where it waited for its hour."""
    last = max((address.last_in for address in buyer.addresses), default=0)
    if touch.since and buyer.last_order_at > touch.since:
        return SkipReason.ORDERED_SINCE, Rule.REASON_HOLDS
    if touch.notice.startswith("cart_") and now - last < ACTIVE_MS:
        return SkipReason.BUYER_ACTIVE, Rule.CONVERSATION
    cases = any(task.kind in CASES for task in buyer.tasks.values())
    if cases or any(order.stuck or order.refund in OPEN_REFUND for order in buyer.orders):
        return SkipReason.CASE_OPEN, Rule.CONVERSATION
    return "", Rule.REASON_HOLDS


HANDLER = Handler(
    name="notices",
    runs={
        **{
            Trigger("touch", notice): service
            for notice in (
                "order_shipped",
                "parcel_in_city",
                "parcel_out",
                "parcel_pickup",
                "parcel_delivered",
                "refund_received",
            )
        },
        Trigger("touch", "order_paid"): paid,
        Trigger("touch", "payment_reminder"): reminder,
        Trigger("timer", "call"): call_due,
        **{Trigger("touch", notice): marketing for notice in ("review_invite", "cart_1", "cart_2", "cart_3")},
    },
    says=frozenset({*VARS, "order_paid_first", "payment_reminder_returning"}),
)
