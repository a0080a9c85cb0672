"""What order, shipment, refund and cart events lead to."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest

from bot import carts, orders
from bot.effects import Cancel, Hold, Mail, OpenTask, Schedule, Skip, Tell
from bot.events import BuyerFacts, CheckoutFacts, Event, Item, Money, OrderFacts, TimerDue
from bot.handling import Trigger, Turn
from bot.hours import parse as parse_hours
from bot.reasons import Rule
from bot.shipping import Shipping
from bot.slots import answer_by, call_slot_end
from handlers import cart_ladder, order_lifecycle, refund, shipping
from tests.bot.test_orders import CREATED, LIFE, MINUTE, T, cart, event, order_facts, shipped
from tests.bot.test_orders import refund as refund_event
from tests.handlers.test_total import facts

HOUR = 60 * MINUTE
HANDLERS = (order_lifecycle.HANDLER, shipping.HANDLER, refund.HANDLER, cart_ladder.HANDLER)


def run(record, one: Event, *, now: int = 0, kind: str = "order"):
    """The record after an event, and the effects."""
    record, became = (orders if kind == "order" else carts).apply(record, one)
    turn = Turn(one, record, now or one.at, facts(), became=became)
    trigger = Trigger("shop", one.body.kind, kind)
    handler = next(h for h in HANDLERS if trigger in h.runs)
    return record, list(handler.runs[trigger](turn))


def timer(record, name: str, now: int):
    body = TimerDue(name, now)
    turn = Turn(Event("t", record.subject, "main", now, now, body), record, now, facts(), arg=name.partition(":")[2])
    trigger = Trigger("timer", name.partition(":")[0], "cart" if name.startswith("cart") else "order")
    handler = next(h for h in HANDLERS if trigger in h.runs)
    return list(handler.runs[trigger](turn))


def told(effects) -> list[str]:
    return [e.touch.notice for e in effects if isinstance(e, Tell)]


def placed(**changes) -> Event:
    base = {"pay_state": "unpaid", "placed_at": T, "total": Money(Decimal(188), "CNY"), **changes}
    return event("order.created", 0, order=order_facts(**base), buyer=BuyerFacts(phones=("+8613900001234",)))


@pytest.mark.parametrize(("life", "minutes"), [(0, 120), (24 * 60, 120), (60, 36), (40, 20), (31, 11), (30, 10)])
def test_when_the_reminder_comes(life, minutes):
    """Two hours, 60 % of the order's life, or 20 minutes before it closes, whichever is first; never within ten."""
    _, effects = run(None, placed(pay_expires_at=T + life * MINUTE if life else 0))
    (at,) = [e.at for e in effects if isinstance(e, Schedule)]
    assert at == T + minutes * MINUTE


def test_no_reminder_without_a_reason():
    """Too short a life is recorded; cash on delivery, nothing to pay, already paid and old orders get none."""
    _, effects = run(None, placed(pay_expires_at=T + 29 * MINUTE))
    assert [type(e) for e in effects] == [Skip]
    for changes in ({"cod": True}, {"total": Money(Decimal(0), "CNY")}, {"pay_state": "paid"}):
        _, effects = run(None, placed(**changes))
        assert not [e for e in effects if isinstance(e, Schedule)]
    _, effects = run(None, placed(), now=T + 25 * HOUR)
    assert effects == []


def test_a_returning_buyer_is_reminded_an_hour_later():
    """The shop says so: three hours. Unknown: the touch carries the later mark for the buyer's record."""
    known = placed()
    order, _ = run(None, known)
    (tell,) = timer(order, "payment_reminder", T + 2 * HOUR)
    assert tell.touch.not_before_returning == T + 3 * HOUR
    assert tell.touch.guard.values == ("unpaid", "authorized", "partially_paid")
    returning = event("order.created", 0, order=known.body.order, buyer=BuyerFacts(ref="1", is_new=False))
    _, effects = run(None, returning)
    assert [e.at for e in effects if isinstance(e, Schedule)] == [T + 3 * HOUR]


def test_payment_ends_the_reminder():
    """Cancelled timer, one thanks; a timer that fires all the same is skipped."""
    order, _ = run(None, CREATED)
    order, effects = run(order, LIFE[2])
    assert told(effects) == ["order_paid"]
    assert Cancel("payment_reminder") in effects
    assert [type(e) for e in timer(order, "payment_reminder", T + 2 * HOUR)] == [Skip]


def test_a_shipment_may_tell_of_the_payment():
    """Order facts that come with a parcel count: thanks once, and no reminder after."""
    one = shipped("shipment.created", 10)
    body = msgspec.structs.replace(one.body, order=OrderFacts(id="5001", pay_state="paid", placed_at=T))
    order, effects = run(None, msgspec.structs.replace(one, body=body))
    assert told(effects) == ["order_paid", "order_shipped"]
    _, effects = run(order, LIFE[2])
    assert told(effects) == []


def test_the_cart_hears_of_its_order():
    """Whichever event names the checkout first."""
    order, effects = run(None, LIFE[2])
    assert not [e for e in effects if isinstance(e, Mail)]
    _, effects = run(order, CREATED)
    assert [e.subject for e in effects if isinstance(e, Mail)] == ["cart:main:t1"]


def test_a_parcels_notices():
    """Shipped, in the city (after its hold), out, delivered: once each; old ones change the record only."""
    states = ("accepted", "in_transit", "arrived_city", "out_for_delivery", "delivered")
    order, effects = run(None, shipped("shipment.created", 0))
    seen = told(effects)
    for minute, state in enumerate(states, 1):
        order, effects = run(order, shipped("shipment.updated", minute, state))
        seen += told(effects)
        if state == "arrived_city":
            until = T + (minute + 30) * MINUTE
            key, source = "main|parcel_in_city|5001|s1", "journey:parcel_in_city/1"
            assert effects == [
                Schedule("in_city:s1", until),
                Hold(key, Rule.IN_CITY_HOLD, until, source=source, order="5001"),
            ]
            seen += told(timer(order, "in_city:s1", T + (minute + 30) * MINUTE))
    assert list(dict.fromkeys(seen)) == ["order_shipped", "parcel_in_city", "parcel_out", "parcel_delivered"]
    assert [e.at for e in effects if isinstance(e, Schedule)] == [T + 5 * MINUTE + 72 * HOUR]
    _, effects = run(None, shipped("shipment.created", 0), now=T + 49 * HOUR)
    assert told(effects) == []
    _, effects = run(None, shipped("shipment.updated", 0, "cancelled"))
    assert told(effects) == []


def test_a_review_is_invited_when_nothing_is_open():
    """Not while any refund is open, though a later one is closed."""
    order, _ = run(None, shipped("shipment.updated", 0, "delivered"))
    assert told(timer(order, "review:s1", T + 72 * HOUR)) == ["review_invite"]
    order, effects = run(order, refund_event("requested", 1, "r1"))
    assert told(effects) == ["refund_received"]
    assert [e.kind for e in effects if isinstance(e, OpenTask)] == ["refund"]
    order, _ = run(order, refund_event("closed", 2, "r2"))
    assert [type(e) for e in timer(order, "review:s1", T + 72 * HOUR)] == [Skip]


def test_the_cart_ladder():
    """45 minutes, a day, three days after the last change; none after the order, and none of an old cart."""
    record, effects = run(None, cart(0, "shirt"), kind="cart")
    assert [e.at - T for e in effects] == [45 * MINUTE, 24 * HOUR, 72 * HOUR]
    record, effects = run(record, cart(30, "shirt", "hat"), kind="cart")
    assert [e.at - T for e in effects] == [75 * MINUTE, 24 * HOUR + 30 * MINUTE, 72 * HOUR + 30 * MINUTE]
    (tell,) = timer(record, "cart_1", T + 75 * MINUTE)
    assert (tell.touch.since, tell.touch.vars["others"]) == (T, "1")
    record.told.append(tell.touch.key)
    record, effects = run(record, cart(80, "shirt"), kind="cart")
    assert [e.name for e in effects] == ["cart_2", "cart_3"]
    _, effects = run(None, cart(0, "shirt"), now=T + 80 * HOUR, kind="cart")
    assert effects == []
    record, effects = run(
        record, event("order.created", 90, "cart:main:t1", checkout=CheckoutFacts("t1", (Item("x"),))), kind="cart"
    )
    assert [type(e) for e in effects] == [Cancel] * 3
    assert [type(e) for e in timer(record, "cart_2", T + 26 * HOUR)] == [Skip]


ZONE = ZoneInfo("Asia/Shanghai")


def test_what_is_promised():
    """Today only before the cut-off of an open day; "by" moves past closed days; calls end at 12:00 or 16:30."""
    closed = Shipping(ZONE, closed_weekdays=frozenset({0}))
    monday = 1_789_956_000_000  # 2026-09-21 10:00 in Shanghai, a Monday
    assert closed.today_before(monday) == 0
    assert Shipping(ZONE).today_before(monday) == monday + 6 * HOUR
    assert Shipping(ZONE).today_before(monday + 6 * HOUR) == 0
    assert closed.by(monday - 24 * HOUR) == monday + 32 * HOUR
    assert call_slot_end(monday, ZONE) == monday + 2 * HOUR
    assert call_slot_end(monday + 2 * HOUR, ZONE) == monday + 6 * HOUR + 30 * MINUTE
    hours = parse_hours("09:00-21:00")
    assert answer_by(monday, hours, ZONE, 15) == monday + 15 * MINUTE
    assert answer_by(monday + 12 * HOUR, hours, ZONE, 15) == monday + 23 * HOUR + 15 * MINUTE
