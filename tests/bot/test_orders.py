"""An order's and a cart's life: any arrival order and any repeats end in the same record."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import carts, orders
from bot.events import (
    BuyerFacts,
    CheckoutFacts,
    Event,
    Guard,
    Item,
    Money,
    OrderFacts,
    RefundFacts,
    ShipmentFacts,
    ShopEvent,
)

T = 1_790_000_000_000
MINUTE = 60_000
BUYER = BuyerFacts(ref="701", phones=("+8613900001234",))


def event(kind: str, minute: int, subject: str = "order:main:5001", **facts) -> Event:
    at = T + minute * MINUTE
    body = ShopEvent(kind=kind, shop="main", occurred_at=at, version=at, **facts)
    return Event(f"main|{kind}{minute}", subject, "main", at, at, body)


def order_facts(**changes) -> OrderFacts:
    return OrderFacts(id="5001", **changes)


def shipped(kind: str, minute: int, state: str = "", **facts) -> Event:
    shipment = ShipmentFacts(id="s1", state=state, **facts)
    return event(kind, minute, shipment=shipment, order=order_facts())


def refund(state: str, minute: int, id: str = "r1", **facts) -> Event:
    return event(f"refund.{state}", minute, refund=RefundFacts(id=id, **facts), order=order_facts())


CREATED = event(
    "order.created",
    0,
    order=order_facts(
        number="#1", pay_state="unpaid", placed_at=T, total=Money(Decimal(188), "CNY"), pay_url="https://s.example/p"
    ),
    buyer=BUYER,
    checkout=CheckoutFacts(token="t1"),
)
LIFE = (
    CREATED,
    event("order.updated", 2, order=order_facts(number="#1b", total=Money(Decimal(150), "CNY"))),
    event("order.paid", 5, order=order_facts(pay_state="paid", placed_at=T, items=(Item("shirt"),))),
    shipped("shipment.created", 10, carrier="SF", city="广州"),
    shipped("shipment.updated", 20, "in_transit", city="杭州"),
    shipped("shipment.updated", 30, "exception", reason="address"),
    shipped("shipment.updated", 40, "out_for_delivery"),
    shipped("shipment.updated", 50, "delivered"),
    refund("requested", 60, amount=Money(Decimal(150), "CNY"), kind="return_refund"),
    refund("rejected", 70),
    refund("approved", 80, amount=Money(Decimal(90), "CNY"), kind="refund_only"),
    event("order.cancelled", 90, order=order_facts(reason="changed mind")),
    event("order.closed_unpaid", 91, order=order_facts()),
)


def fold(events):
    record, became = None, []
    for one in events:
        record, new = orders.apply(record, one)
        became += new
    assert record is not None
    return record, became


@given(st.permutations(LIFE), st.lists(st.sampled_from(LIFE), max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_order_of_arrival_ends_in_the_same_order(arrivals, repeats):
    """Permuted and repeated, the facts make the same record."""
    expected, _ = fold(LIFE)
    found, _ = fold([*arrivals, *repeats])
    assert msgspec.to_builtins(found) == msgspec.to_builtins(expected)


OTHER = "+8613900005678"
STATEMENTS = tuple(
    event("order.updated", minute, order=order_facts(), buyer=facts)
    for minute, facts in (
        (1, BuyerFacts(ref="701", phones=(BUYER.phones[0],), name="Lin", is_new=True, sms_consent="yes", consent_at=T)),
        (2, BuyerFacts(phones=(OTHER,), email="lin@example.test", locale="zh-CN")),
        (3, BuyerFacts(name="林小满", is_new=False, sms_consent="no", consent_at=T)),
        (4, BuyerFacts(email="xm@example.test", phones=("+8613900009999", BUYER.phones[0]))),
        (5, BuyerFacts(sms_consent="unknown", consent_at=T + 9)),
    )
)


@given(st.permutations(STATEMENTS), st.lists(st.sampled_from(STATEMENTS), max_size=3))
@settings(max_examples=150, deadline=None)
def test_the_newest_word_on_the_buyer_counts(arrivals, repeats):
    """Whatever comes first: each fact in its newest version, the newest number first, of two answers the refusal."""
    found, _ = fold([*arrivals, *repeats])
    assert found.buyer == BuyerFacts(
        ref="701",
        name="林小满",
        phones=("+8613900009999", BUYER.phones[0], OTHER),
        email="xm@example.test",
        locale="zh-CN",
        is_new=False,
        sms_consent="no",
        consent_at=T,
        consent_event=STATEMENTS[2].id,
    )


SHORT = (LIFE[0], LIFE[2], LIFE[3], LIFE[11])


@given(st.permutations(SHORT), st.lists(st.sampled_from(SHORT), max_size=4))
@settings(max_examples=200, deadline=None)
def test_each_thing_becomes_once(arrivals, repeats):
    """Created, paid, shipped and cancelled are told once each, whatever comes first and how often."""
    _, became = fold([*arrivals, *repeats])
    for one in ("created", "checkout", "pay:paid", "shipped:s1", "ship:label:s1", "closed:cancelled"):
        assert became.count(one) == 1, (one, became)


def test_the_end_of_that_life():
    """Delivered after trouble, paid before it was cancelled, the later decision on the refund, the newest facts."""
    order, _ = fold(LIFE)
    assert (order.pay.state, order.closed, orders.order_is_shut(order)) == ("paid", "cancelled", False)
    assert (order.ship_state, order.shipments[0].exception, order.shipments[0].city) == ("delivered", "", "杭州")
    assert order.refund_state == "approved"
    assert (order.refunds[0].amount, order.refunds[0].kind) == (Money(Decimal(90), "CNY"), "refund_only")
    assert (order.number, order.total, order.checkout) == ("#1b", Money(Decimal(150), "CNY"), "t1")
    assert orders.identity(order.buyer, "main") == "phone:+8613900001234"


def test_a_rank_never_falls():
    """Unpaid after paid, and a scan on the road after delivery, change nothing."""
    order, _ = fold(LIFE)
    order, became = orders.apply(order, event("order.updated", 99, order=order_facts(pay_state="unpaid")))
    assert (order.pay.state, became) == ("paid", ())
    order, became = orders.apply(order, shipped("shipment.updated", 99, "in_transit"))
    assert (order.ship_state, became) == ("delivered", ())


def test_trouble_after_the_last_scan_stays():
    """An exception newer than "out for delivery" is a flag until the parcel goes on."""
    order, became = fold(
        [shipped("shipment.updated", 1, "out_for_delivery"), shipped("shipment.updated", 2, "exception")]
    )
    assert order.shipments[0].exception == "unknown"
    assert "exception:s1" in became
    order, _ = orders.apply(order, shipped("shipment.updated", 3, "delivered"))
    assert order.shipments[0].exception == ""


def test_unknown_scans_and_voided_labels():
    """An unknown scan is no state; a cancelled parcel's shipped notice has no reason any more."""
    order, became = fold([shipped("shipment.created", 1), shipped("shipment.updated", 2, "unknown")])
    assert (order.ship_state, "ship:unknown:s1" in became) == ("label", False)
    guard = Guard(order.subject, "ship:s1", ("label", "accepted"))
    assert orders.still_holds(guard, order)
    order, _ = orders.apply(order, shipped("shipment.updated", 3, "cancelled"))
    assert not orders.still_holds(guard, order)


def test_a_refunds_reason_is_its_own():
    """Another refund's end does not end this one."""
    order, _ = fold([CREATED, refund("requested", 1, "r1"), refund("requested", 1, "r2"), refund("succeeded", 2, "r2")])
    assert orders.still_holds(Guard(order.subject, "refund:r1", ("requested",)), order)
    assert not orders.still_holds(Guard(order.subject, "refund:r2", ("requested",)), order)
    assert not orders.still_holds(Guard(order.subject, "refund:r1", ("requested",)), None)


@pytest.mark.parametrize(
    ("facts", "subject"),
    [
        (None, ""),
        (BuyerFacts(), ""),
        (BuyerFacts(address="wechat-main:oFAKE", phones=("+8613900001234",)), "address:wechat-main:oFAKE"),
        (BuyerFacts(ref="701", email="a@example.test"), "shopper:main:701"),
        (BuyerFacts(email="a@example.test"), "email:a@example.test"),
    ],
)
def test_the_best_identity(facts, subject):
    """Chat address, phone, shopper, e-mail, in this order."""
    assert orders.identity(facts, "main").endswith(subject.partition(":")[2])
    assert bool(orders.identity(facts, "main")) is bool(subject)


def cart(minute: int, *titles: str, kind: str = "checkout.updated") -> Event:
    facts = CheckoutFacts(token="t1", items=tuple(Item(t) for t in titles), started_at=T)
    return event(kind, minute, "cart:main:t1", checkout=facts)


CART = (cart(0, "shirt"), cart(5, "shirt", "hat"), cart(9), event("order.created", 9, "cart:main:t1"))


@given(st.permutations(CART))
def test_an_ordered_cart_stays_ordered(arrivals):
    """Emptied before or after, late changes or not: the order ends the cart."""
    record = None
    for one in arrivals:
        record, _ = carts.apply(record, one)
    assert record is not None
    assert record.state == "ordered"


def test_a_cart_is_ordered_once():
    """Each further word of its order, and each late change, tells nothing new."""
    record, became = carts.apply(None, cart(0, "shirt"))
    record, became = carts.apply(record, event("order.created", 9, "cart:main:t1"))
    assert became == ("ordered",)
    for late in (event("order.paid", 10, "cart:main:t1"), cart(11, "shirt"), cart(12)):
        record, became = carts.apply(record, late)
        assert (record.state, became) == ("ordered", ())


def test_an_emptied_cart_opens_again():
    """Emptied ends the ladder, new items start it; an older change changes nothing."""
    record, _ = carts.apply(None, cart(0, "shirt"))
    record, became = carts.apply(record, cart(5))
    assert (record.state, became) == ("emptied", ("emptied",))
    record, became = carts.apply(record, cart(3, "old"))
    assert (record.state, became) == ("emptied", ())
    record, became = carts.apply(record, cart(8, "hat"))
    assert (record.state, became) == ("open", ("changed",))
