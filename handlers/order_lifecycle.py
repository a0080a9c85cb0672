"""An order is placed, paid, cancelled or closed: thanks, the payment reminder's timer, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from bot import subjects
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.effects import Cancel, Effect, Mail, Schedule, Skip, Tell
from bot.events import Guard, Ms, ShopEvent, TouchAsked
from bot.handling import Facts, Handler, Trigger, Turn
from bot.orders import FRESH_MS, UNPAID, is_fresh, is_paid, waits_for_payment
from bot.reasons import Rule, SkipReason
from bot.records import Order
from bot.touching import item_of, key_of, others_of, touch

FIRST_AFTER_MS = 2 * HOUR_MS
RETURNING_AFTER_MS = 3 * HOUR_MS
LIFE_SHARE = 0.6
BEFORE_CLOSING_MS = 20 * MINUTE_MS
NOT_WITHIN_MS = 10 * MINUTE_MS
SHORTEST_LIFE_MS = 30 * MINUTE_MS
REMINDER = "payment_reminder"
SOURCE = "journey:payment_reminder/1"


def remind_at(order: Order, after: Ms) -> Ms:
    """When to remind: `after` the placing, at 60 % of the order's life, or 20 min before it closes, whichever is first.

    Never within 10 minutes of the placing; 0 for an order that lives less than 30 minutes.
    """
    at = order.placed_at + after
    if order.pay_expires_at:
        life = order.pay_expires_at - order.placed_at
        if life < SHORTEST_LIFE_MS:
            return 0
        at = min(at, order.placed_at + int(life * LIFE_SHARE), order.pay_expires_at - BEFORE_CLOSING_MS)
    return max(at, order.placed_at + NOT_WITHIN_MS)


def changed(turn: Turn) -> Sequence[Effect]:
    """Any order event: what follows depends on what the order became, not on the event's name."""
    order = turn.order
    effects: list[Effect] = []
    if "checkout" in turn.became:
        body = ShopEvent(kind="order.created", shop=order.shop, occurred_at=turn.now)
        effects.append(Mail(subjects.cart(order.shop, order.checkout), body))
    effects += _reminder_effects(turn, order)
    if "pay:paid" in turn.became and is_fresh(turn.event, "payment", turn.now):
        effects.append(Tell(_thanks(turn, order)))
    return effects


def _reminder_effects(turn: Turn, order: Order) -> list[Effect]:
    """The reminder's timer as it follows from what is known now: facts come in any order, and may change."""
    planned = REMINDER in order.timers
    free = order.total is not None and order.total.amount <= 0
    if not waits_for_payment(order) or free:
        ended = any(became.startswith(("pay:", "closed:")) for became in turn.became)
        return [Cancel(REMINDER)] if planned or ended else []
    if not order.placed_at or key_of(order, REMINDER) in order.told:
        return []
    if not is_fresh(turn.event, "order", turn.now) or turn.now - order.placed_at > FRESH_MS["order"]:
        return []
    returning = order.buyer is not None and order.buyer.is_new is False
    at = remind_at(order, RETURNING_AFTER_MS if returning else FIRST_AFTER_MS)
    closes = order.pay_expires_at and order.pay_expires_at - BEFORE_CLOSING_MS < turn.now
    if at and not closes:
        return [Schedule(REMINDER, max(at, turn.now))]
    if planned or "created" in turn.became:
        too_soon = _skip(order, SkipReason.CLOSES_TOO_SOON, Rule.CLOSES_TOO_SOON)
        return [Cancel(REMINDER), too_soon] if planned else [too_soon]
    return []


def _skip(order: Order, reason: SkipReason, rule: Rule) -> Skip:
    return Skip(key_of(order, REMINDER), reason, rule, source=SOURCE, order=order.id)


def _thanks(turn: Turn, order: Order) -> TouchAsked:
    paid_at = order.paid_at or turn.now
    return touch(
        order,
        "order_paid",
        values={
            "item": item_of(order.items),
            "others": others_of(order.items),
            "total": order.total,
            "number": order.number,
            "ship_at": order.ship_by or turn.facts.ships_by(paid_at),
        },
        guard=Guard(order.subject, "pay", ("paid",)),
        not_after=paid_at + DAY_MS,
    )


def due(turn: Turn) -> Sequence[Effect]:
    """The reminder's time has come: ask for it if the order still waits."""
    order = turn.order
    if is_paid(order) or not waits_for_payment(order):
        return [_skip(order, SkipReason.REASON_GONE, Rule.REASON_HOLDS)]
    return [Tell(_reminder(turn.facts, order))]


def _reminder(facts: Facts, order: Order) -> TouchAsked:
    known_new = order.buyer is not None and order.buyer.is_new is True
    later = remind_at(order, RETURNING_AFTER_MS)
    return touch(
        order,
        REMINDER,
        values={
            "item": item_of(order.items),
            "others": others_of(order.items),
            "total": order.total,
            "number": order.number,
            "link": order.pay_url,
            "until_at": order.pay_expires_at,
        },
        guard=Guard(order.subject, "pay", UNPAID),
        not_after=order.pay_expires_at or order.placed_at + 2 * DAY_MS,
        not_before_returning=0 if known_new else later,
        large=_large(facts, order),
    )


def _large(facts: Facts, order: Order) -> bool:
    """Whether the order is worth a call: the limit is an amount of the brand's currency."""
    total, limit = order.total, facts.large_order
    return limit is not None and total is not None and total.currency == facts.currency and total.amount >= limit


KINDS = (
    "order.created",
    "order.paid",
    "order.updated",
    "order.cancelled",
    "order.closed_unpaid",
    "order.completed",
    "payment.failed",
)
HANDLER = Handler(
    name="order_lifecycle",
    runs={
        **{Trigger("shop", kind, "order"): changed for kind in KINDS},
        Trigger("timer", REMINDER, "order"): due,
    },
)
