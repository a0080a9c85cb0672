"""An order is placed, paid, cancelled or closed: thanks, the payment reminder's timer, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from bot import subjects
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.effects import Cancel, Effect, Mail, Schedule, Skip, Tell
from bot.events import Guard, Ms, ShopEvent, TouchAsked
from bot.handling import Facts, Handler, Trigger, Turn
from bot.orders import PAID, is_fresh, is_paid, waits_for_payment
from bot.reasons import Rule, SkipReason
from bot.records import Order
from bot.touching import item_of, key_of, others_of, touch

FIRST_AFTER_MS = 2 * HOUR_MS
RETURNING_AFTER_MS = 3 * HOUR_MS
LIFE_SHARE = 0.6
BEFORE_CLOSING_MS = 20 * MINUTE_MS
NOT_WITHIN_MS = 10 * MINUTE_MS
SHORTEST_LIFE_MS = 30 * MINUTE_MS
UNPAID = ("unpaid", "authorized", "partially_paid")


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


def _order(turn: Turn) -> Order:
    assert isinstance(turn.record, Order)
    return turn.record


def changed(turn: Turn) -> Sequence[Effect]:
    """Any order event: what follows depends on what the order became, not on the event's name."""
    order = _order(turn)
    effects: list[Effect] = []
    if "checkout" in turn.became:
        body = ShopEvent(kind="order.created", shop=order.shop, occurred_at=turn.now)
        effects.append(Mail(subjects.cart(order.shop, order.checkout), body))
    if "created" in turn.became:
        effects += _placed(turn, order)
    if any(became.removeprefix("pay:") in PAID for became in turn.became if became.startswith("pay:")):
        effects.append(Cancel("payment_reminder"))
        if "pay:paid" in turn.became and is_fresh(turn.event, "payment", turn.now):
            effects.append(Tell(_thanks(turn, order)))
    if any(became.startswith("closed:") for became in turn.became):
        effects.append(Cancel("payment_reminder"))
    return effects


def _placed(turn: Turn, order: Order) -> list[Effect]:
    effects: list[Effect] = []
    if not waits_for_payment(order) or (order.total is not None and order.total.amount <= 0):
        return effects
    returning = order.buyer is not None and order.buyer.is_new is False
    at = remind_at(order, RETURNING_AFTER_MS if returning else FIRST_AFTER_MS)
    closed = order.pay_expires_at and order.pay_expires_at - BEFORE_CLOSING_MS < turn.now
    if at == 0 or closed:
        key = key_of(order, "payment_reminder")
        skip = Skip(
            key, SkipReason.CLOSES_TOO_SOON, Rule.CLOSES_TOO_SOON, source="journey:payment_reminder/1", order=order.id
        )
        return [*effects, skip]
    if not is_fresh(turn.event, "order", turn.now):
        return effects
    return [*effects, Schedule("payment_reminder", max(at, turn.now))]


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
    order = _order(turn)
    if is_paid(order) or not waits_for_payment(order):
        key = key_of(order, "payment_reminder")
        return [
            Skip(key, SkipReason.REASON_GONE, Rule.REASON_HOLDS, source="journey:payment_reminder/1", order=order.id)
        ]
    return [Tell(_reminder(turn.facts, order, turn.now))]


def _reminder(facts: Facts, order: Order, now: Ms) -> TouchAsked:
    known_new = order.buyer is not None and order.buyer.is_new is True
    later = remind_at(order, RETURNING_AFTER_MS)
    large = facts.large_order is not None and order.total is not None and order.total.amount >= facts.large_order
    return touch(
        order,
        "payment_reminder",
        values={
            "item": item_of(order.items),
            "others": others_of(order.items),
            "total": order.total,
            "number": order.number,
            "link": order.pay_url,
            "until_at": order.pay_expires_at,
            "cut_at": facts.ships_today_before(now),
            "ship_at": facts.ships_by(now),
        },
        guard=Guard(order.subject, "pay", UNPAID),
        not_after=order.pay_expires_at or order.placed_at + 2 * DAY_MS,
        not_before_returning=0 if known_new else later,
        large=large,
    )


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
        Trigger("timer", "payment_reminder", "order"): due,
    },
)
