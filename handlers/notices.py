"""The buyer's side of touches: each asks policy for one message, on the best address, in the buyer's words."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import structs

from bot.buyers import bought_before
from bot.clock import MINUTE_MS
from bot.effects import Cancel, CloseTask, Effect, Mail, OpenTask, Say, Schedule, Skip
from bot.events import BuyerFacts, Guard, Ms, TouchAsked
from bot.handling import Handler, Trigger, Turn
from bot.orders import OPEN_REFUND, UNPAID
from bot.reasons import Rule, SkipReason
from bot.records import Buyer
from bot.touching import values
from handlers.order_lifecycle import SOURCE

ITEM = ("item", "others", "link")
VARS: dict[str, tuple[str, ...]] = {
    "order_paid": ("item", "others", "total", "number", "ship_at"),
    "order_shipped": (*ITEM, "carrier", "tracking", "eta_at"),
    "parcel_in_city": ("city", "carrier", "eta_at"),
    "parcel_out": ("carrier",),
    "parcel_pickup": ("place", "pickup"),
    "parcel_delivered": ("exchange_at", "left", "place", "pickup"),
    "refund_received": ("amount", "answer_at", "exchange"),
    "payment_reminder": (*ITEM, "total", "cut_at", "ship_at", "until_at"),
    "review_invite": ITEM,
    "cart_1": ITEM,
    "cart_2": ITEM,
    "cart_3": ITEM,
}
CASES = ("return", "parcel", "urgent", "refund", "bad_review")
CALL_BEFORE_CLOSING_MS = 30 * MINUTE_MS
ACTIVE_MS = 30 * MINUTE_MS


def _touch(turn: Turn) -> TouchAsked:
    body = turn.event.body
    assert isinstance(body, TouchAsked)
    return body


def _say(touch: TouchAsked, key: str) -> Say:
    names = VARS[touch.notice]
    filled = values(touch.vars, *names)
    if "others" in names:
        filled["others"] = int(str(filled["others"] or 0))
    return Say(
        key=key,
        vars=filled,
        purpose=touch.purpose,
        not_after=touch.not_after,
        guard=touch.guard,
        touch=touch.key,
        source=touch.source,
        order=order_of(touch),
        needs_window=touch.notice == "review_invite",
    )


def service(turn: Turn) -> Sequence[Effect]:
    """Shipped, in city, out, at the pickup point, delivered, refund acknowledged."""
    touch = _touch(turn)
    return [_say(touch, touch.notice)]


def paid(turn: Turn) -> Sequence[Effect]:
    """Thanks: fuller on the first order."""
    touch = _touch(turn)
    return [_say(touch, "order_paid" if bought_before(turn.buyer, touch) else "order_paid_first")]


def remembered(turn: Turn) -> Sequence[Effect]:
    """What is new of an order, with a notice or without: one that does not wait for payment any more needs no call."""
    touch = _touch(turn)
    call = f"call:{order_of(touch)}"
    if touch.brief is None or touch.brief.pay in UNPAID or call not in turn.buyer.timers:
        return []
    return [CloseTask(call, touch.brief.pay), Cancel(call)]


def order_of(touch: TouchAsked) -> str:
    """The id of the order that a touch is about, "" for none."""
    if touch.brief is not None:
        return touch.brief.id
    kind, _, rest = (touch.guard.subject if touch.guard is not None else "").partition(":")
    return rest.partition(":")[2] if kind == "order" else ""


def reminder(turn: Turn) -> Sequence[Effect]:
    """The payment reminder: a call for a large order where calls are consented to, else the message."""
    touch = _touch(turn)
    buyer = turn.buyer
    due = _call_until(turn, touch)
    if not due:
        return [_message(turn, touch)]
    order = order_of(touch)
    number = touch.brief.number if touch.brief is not None else order
    brief = " ".join(filter(None, (number, touch.vars.get("total"), touch.vars.get("item"))))
    data = {"touch": json.dumps(touch.vars), "key": touch.key, "not_after": str(touch.not_after), "order": order}
    if touch.guard is not None:
        data["subject"] = touch.guard.subject
    if bought_before(buyer, touch):
        data["returning"] = "1"
    call = f"call:{order}"
    return [OpenTask("phone_call", brief, key=call, order=order, due_at=due), Schedule(call, due, data)]


def _call_until(turn: Turn, touch: TouchAsked) -> Ms:
    """When the message goes if nobody has called: the slot's end, or half an hour before the order closes; 0: no call."""
    consented = any(a.consent.calls == "granted" and not a.blocked for a in turn.buyer.addresses)
    if not touch.large or not consented:
        return 0
    slot, last = turn.facts.call_slot(turn.now), touch.not_after - CALL_BEFORE_CLOSING_MS
    due = min(slot, last) if touch.not_after else slot
    return due if due > turn.now else 0


def _message(turn: Turn, touch: TouchAsked) -> Say:
    """What it promises of shipping is what holds at this minute, not when the reminder was planned."""
    key = "payment_reminder_returning" if bought_before(turn.buyer, touch) else "payment_reminder"
    said = _say(touch, key)
    promise = {"cut_at": turn.facts.ships_today_before(turn.now), "ship_at": turn.facts.ships_by(turn.now)}
    return structs.replace(said, vars={**said.vars, **promise})


def call_due(turn: Turn) -> Sequence[Effect]:
    """The slot has ended: the message goes if nobody called."""
    call, data = f"call:{turn.arg}", turn.data
    if call not in turn.buyer.tasks:
        key = f"call|{turn.arg}"
        return [Skip(key, SkipReason.CALL_MADE, Rule.REASON_HOLDS, source=SOURCE, order=turn.arg)]
    asked = TouchAsked(
        notice="payment_reminder",
        key=f"{data['key']}|message",
        vars=json.loads(data["touch"]),
        guard=Guard(data["subject"], "pay", UNPAID) if "subject" in data else None,
        not_after=int(data["not_after"]),
        source=SOURCE,
        facts=BuyerFacts(is_new="returning" not in data),
    )
    return [CloseTask(call, "nobody called", "expired"), Mail(turn.buyer.home, asked)]


def marketing(turn: Turn) -> Sequence[Effect]:
    """Cart notes and review invitations: nobody is interrupted, and nobody in trouble is asked for anything."""
    touch = _touch(turn)
    reason, rule = _untimely(turn.buyer, touch, turn.now)
    if reason:
        return [Skip(touch.key, reason, rule, "marketing", touch.source)]
    return [structs.replace(_say(touch, touch.notice), purpose="marketing")]


def case_open(buyer: Buyer) -> bool:
    """Whether something of the buyer's is open: a case, a refund, a parcel in trouble."""
    cases = any(task.kind in CASES for task in buyer.tasks.values())
    return cases or any(order.stuck or order.refund in OPEN_REFUND for order in buyer.orders)


def _untimely(buyer: Buyer, touch: TouchAsked, now: Ms) -> tuple[str, Rule]:
    """Why a marketing touch has no place now: reason and rule, or "" for none. Weighed again where it waited for its hour."""
    last = max((address.last_in for address in buyer.addresses), default=0)
    if touch.since and buyer.last_order_at > touch.since:
        return SkipReason.ORDERED_SINCE, Rule.REASON_HOLDS
    if touch.notice.startswith("cart_") and now - last < ACTIVE_MS:
        return SkipReason.BUYER_ACTIVE, Rule.CONVERSATION
    if case_open(buyer):
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
        Trigger("touch", ""): remembered,
        Trigger("touch", "order_paid"): paid,
        Trigger("touch", "payment_reminder"): reminder,
        Trigger("timer", "call"): call_due,
        **{Trigger("touch", notice): marketing for notice in ("review_invite", "cart_1", "cart_2", "cart_3")},
    },
)
