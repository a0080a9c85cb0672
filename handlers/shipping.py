"""A parcel moves: shipped, in the buyer's city, out for delivery, delivered, in trouble; and the review invitation after it."""

from __future__ import annotations

from collections.abc import Sequence

from bot import subjects
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.effects import Cancel, CloseTask, Effect, Hold, Mail, OpenTask, Schedule, Skip, Tell
from bot.events import Guard, Ms, OrderFacts, ShopEvent, TouchAsked
from bot.handling import Handler, Trigger, Turn
from bot.hours import day_start
from bot.messages import Purpose
from bot.orders import at_pickup_point, is_fresh, may_invite_review
from bot.reasons import Rule, SkipReason
from bot.records import Order, Shipment
from bot.touching import item_of, key_of, others_of, touch
from handlers import order_lifecycle

REVIEW_AFTER_MS = 3 * DAY_MS
EXCHANGE_DAYS = 7
IN_CITY_HOLD_MS = 30 * MINUTE_MS
"""A parcel that goes out for delivery that soon gets the one notice, not both."""
ENDED = ("delivered", "returned", "cancelled")


def moved(turn: Turn) -> Sequence[Effect]:
    """A shipment event: at most one notice, for the furthest that the parcel has come."""
    order = turn.order
    # A shipment event may be the first to say that the order exists or is paid.
    effects: list[Effect] = list(order_lifecycle.changed(turn))
    shipped = {b.removeprefix("shipped:") for b in turn.became if b.startswith("shipped:")}
    for id in sorted(shipped):  # scans that name no order go to the parcel: it learns whose it is
        linked = ShopEvent(kind="shipment.linked", shop=order.shop, occurred_at=turn.now, order=OrderFacts(id=order.id))
        effects.append(Mail(subjects.parcel(order.shop, id), linked))
    for became in turn.became:
        kind, _, rest = became.partition(":")
        state, _, id = rest.partition(":")
        if kind == "ship":
            effects += _state(turn, order, id, state, first=id in shipped)
        elif kind == "pickup" and is_fresh(turn.event, "shipment", turn.now):
            effects.append(Tell(_notice(turn, order, rest, "parcel_pickup")))
        elif kind == "exception":
            brief = f"{order.number or order.id}: {_shipment(order, rest).exception}"
            effects.append(OpenTask("parcel", brief, key=f"parcel:{rest}", order=order.id))
        elif kind == "cleared":
            effects.append(CloseTask(f"parcel:{rest}", "the parcel goes on"))
    return effects


def _shipment(order: Order, id: str) -> Shipment:
    return next(s for s in order.shipments if s.id == id)


def _state(turn: Turn, order: Order, id: str, state: str, *, first: bool) -> list[Effect]:
    fresh = is_fresh(turn.event, "delivered" if state == "delivered" else "shipment", turn.now)
    effects: list[Effect] = []
    if f"in_city:{id}" in order.timers and state != "arrived_city":
        effects += [Cancel(f"in_city:{id}"), _skipped(order, "parcel_in_city", id)]
    if state == "returned":
        return [*effects, Cancel(f"review:{id}")]
    if state == "delivered":
        at = (_shipment(order, id).delivered_at or turn.now) + REVIEW_AFTER_MS
        effects.append(Schedule(f"review:{id}", max(at, turn.now)))
    if not fresh:
        return effects
    if state == "arrived_city":
        until = turn.now + IN_CITY_HOLD_MS
        key, source = key_of(order, "parcel_in_city", id), "journey:parcel_in_city/1"
        held = Hold(key, Rule.IN_CITY_HOLD, until, source=source, order=order.id)
        return [*effects, Schedule(f"in_city:{id}", until), held]
    if notice := _notice_of(_shipment(order, id), state, first=first):
        effects.append(Tell(_notice(turn, order, id, notice)))
    return effects


def _notice_of(shipment: Shipment, state: str, *, first: bool) -> str:
    if state == "out_for_delivery":
        return "parcel_pickup" if at_pickup_point(shipment) else "parcel_out"
    if state == "delivered":
        return "parcel_delivered"
    return "order_shipped" if state != "cancelled" and (first or state == "accepted") else ""


def in_city_due(turn: Turn) -> Sequence[Effect]:
    """Half an hour in the buyer's city and not out for delivery yet: the buyer can plan for it."""
    order = turn.order
    if any(s.id == turn.arg and s.lane.state == "arrived_city" for s in order.shipments):
        return [Tell(_notice(turn, order, turn.arg, "parcel_in_city"))]
    return [_skipped(order, "parcel_in_city", turn.arg)]


_HOLDS = {
    "order_shipped": ("label", "accepted", "in_transit", "arrived_city"),
    "parcel_in_city": ("arrived_city",),
    "parcel_out": ("out_for_delivery",),
    "parcel_pickup": ("out_for_delivery",),
    "parcel_delivered": ("delivered",),
}
_USEFUL_MS = {
    "order_shipped": 2 * DAY_MS,
    "parcel_in_city": DAY_MS,
    "parcel_out": 12 * HOUR_MS,
    "parcel_pickup": DAY_MS,
    "parcel_delivered": 3 * DAY_MS,
}


def _notice(turn: Turn, order: Order, id: str, notice: str) -> TouchAsked:
    shipment = _shipment(order, id)
    waits = at_pickup_point(shipment)
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
            "left": "1" if waits else "",
            "place": shipment.place if waits else "",
            "pickup": shipment.pickup_code if waits else "",
        },
        guard=Guard(order.subject, f"ship:{id}", _HOLDS[notice]),
        not_after=_useful_until(turn, notice),
        parcel=f"{shipment.carrier}:{shipment.tracking_no}" if shipment.tracking_no else "",
    )


def _useful_until(turn: Turn, notice: str) -> Ms:
    until = turn.now + _USEFUL_MS[notice]
    # "Today" is wrong after midnight.
    return min(until, day_start(turn.now, turn.facts.timezone, 1) - 1) if notice == "parcel_out" else until


def _skipped(order: Order, notice: str, *parts: str, purpose: Purpose = "service") -> Skip:
    key, source = key_of(order, notice, *parts), f"journey:{notice}/1"
    return Skip(key, SkipReason.REASON_GONE, Rule.REASON_HOLDS, purpose, source, order.id)


def review_due(turn: Turn) -> Sequence[Effect]:
    """Three days after delivery: a neutral invitation, unless something is open. Of several parcels the last one asks."""
    order = turn.order
    if any(s.lane.state not in ENDED for s in order.shipments):
        return []
    if not may_invite_review(order, turn.arg):
        return [_skipped(order, "review_invite", purpose="marketing")]
    asked = touch(
        order,
        "review_invite",
        values={"item": item_of(order.items), "others": others_of(order.items), "link": order.status_url},
        guard=Guard(order.subject, f"review:{turn.arg}", ("due",)),
        not_after=turn.now + 7 * DAY_MS,
        purpose="marketing",
    )
    return [Tell(asked)]


HANDLER = Handler(
    name="shipping",
    runs={
        Trigger("shop", "shipment.created", "order"): moved,
        Trigger("shop", "shipment.updated", "order"): moved,
        Trigger("timer", "in_city", "order"): in_city_due,
        Trigger("timer", "review", "order"): review_due,
    },
)
