"""A parcel moves: shipped, in the buyer's city, out for delivery, delivered, in trouble; and the review invitation after it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS, HOUR_MS
from bot.effects import Cancel, Effect, OpenTask, Schedule, Skip, Tell
from bot.events import Guard, TouchAsked
from bot.handling import Handler, Trigger, Turn
from bot.orders import is_fresh
from bot.reasons import Rule, SkipReason
from bot.records import Order, Shipment
from bot.touching import item_of, key_of, others_of, touch
from handlers import order_lifecycle

REVIEW_AFTER_MS = 3 * DAY_MS
EXCHANGE_DAYS = 7
OPEN_REFUND = ("requested", "approved")


def _order(turn: Turn) -> Order:
    assert isinstance(turn.record, Order)
    return turn.record


def moved(turn: Turn) -> Sequence[Effect]:
    """A shipment event: at most one notice, for the furthest that the parcel has come."""
    order = _order(turn)
    # A shipment event may be the first to say that the order exists or is paid.
    effects: list[Effect] = list(order_lifecycle.changed(turn))
    shipped = {b.removeprefix("shipped:") for b in turn.became if b.startswith("shipped:")}
    for became in turn.became:
        kind, _, rest = became.partition(":")
        state, _, id = rest.partition(":")
        if kind == "ship":
            effects += _state(turn, order, id, state, first=id in shipped)
        elif kind == "exception":
            brief = f"{order.number or order.id}: {_shipment(order, rest).exception}"
            effects.append(OpenTask("parcel", brief, key=f"parcel:{rest}", order=order.id))
    return effects


def _shipment(order: Order, id: str) -> Shipment:
    return next(s for s in order.shipments if s.id == id)


def _state(turn: Turn, order: Order, id: str, state: str, *, first: bool) -> list[Effect]:
    fresh = is_fresh(turn.event, "delivered" if state == "delivered" else "shipment", turn.now)
    if state == "returned":
        return [Cancel(f"review:{id}")]
    effects: list[Effect] = []
    if state == "delivered":
        at = (_shipment(order, id).delivered_at or turn.now) + REVIEW_AFTER_MS
        effects.append(Schedule(f"review:{id}", max(at, turn.now)))
    notice = {"arrived_city": "parcel_in_city", "out_for_delivery": "parcel_out", "delivered": "parcel_delivered"}.get(
        state, ""
    )
    if not notice and state != "cancelled" and (first or state == "accepted"):
        notice = "order_shipped"
    if notice and fresh:
        effects.append(Tell(_notice(turn, order, id, notice)))
    return effects


_HOLDS = {
    "order_shipped": ("label", "accepted", "in_transit", "arrived_city"),
    "parcel_in_city": ("arrived_city",),
    "parcel_out": ("out_for_delivery",),
    "parcel_delivered": ("delivered",),
}
_USEFUL_MS = {
    "order_shipped": 2 * DAY_MS,
    "parcel_in_city": DAY_MS,
    "parcel_out": 12 * HOUR_MS,
    "parcel_delivered": 3 * DAY_MS,
}


def _notice(turn: Turn, order: Order, id: str, notice: str) -> TouchAsked:
    shipment = _shipment(order, id)
    return touch(
        order,
        notice,
        parts=(id,),
        values={
            "item": item_of(order.items),
            "others": others_of(order.items),
            "carrier": shipment.carrier,
            "tracking": shipment.tracking_no,
            "link": shipment.tracking_url,
            "city": shipment.city or order.city,
            "eta_at": shipment.eta,
            "exchange_at": (shipment.delivered_at or turn.now) + EXCHANGE_DAYS * DAY_MS,
            "place": shipment.place,
            "pickup": shipment.pickup_code,
        },
        guard=Guard(order.subject, f"ship:{id}", _HOLDS[notice]),
        not_after=turn.now + _USEFUL_MS[notice],
    )


def review_due(turn: Turn) -> Sequence[Effect]:
    """Three days after delivery: a neutral invitation, unless something is open."""
    order = _order(turn)
    shipment = next((s for s in order.shipments if s.id == turn.arg), None)
    trouble = (
        any(case.lane.state in OPEN_REFUND for case in order.refunds)
        or order.reviewed
        or shipment is None
        or shipment.lane.state != "delivered"
        or bool(shipment.exception)
    )
    if trouble:
        key = key_of(order, "review_invite")
        return [Skip(key, SkipReason.REASON_GONE, Rule.REASON_HOLDS, "marketing", "journey:review_invite/1", order.id)]
    asked = touch(
        order,
        "review_invite",
        values={"item": item_of(order.items), "others": others_of(order.items), "link": order.status_url},
        guard=Guard(order.subject, f"ship:{turn.arg}", ("delivered",)),
        not_after=turn.now + 7 * DAY_MS,
    )
    return [Tell(asked)]


HANDLER = Handler(
    name="shipping",
    runs={
        Trigger("shop", "shipment.created", "order"): moved,
        Trigger("shop", "shipment.updated", "order"): moved,
        Trigger("timer", "review", "order"): review_due,
    },
)
