"""Any order of arrival through whole turns: permuted, repeated, the buyer known early or late, records in any interleaving."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import HOUR_MS
from bot.events import BuyerFacts, CheckoutFacts, Event, Item, Money
from bot.records import Order
from tests.bot.test_orders import T, event, order_facts, refund, shipped
from tests.desk import PHONE, Desk

ORDER = "order:main:5001"
BUYER = BuyerFacts(ref="701", phones=(PHONE,), email="lin@example.test", is_new=True)
KNOWN = order_facts(number="#1", placed_at=T, total=Money(Decimal(188), "CNY"), items=(Item("shirt"),))


def facts(**changes: Any):
    return msgspec.structs.replace(KNOWN, **changes)


CREATED = event("order.created", 0, order=facts(pay_state="unpaid"), checkout=CheckoutFacts("t1", (Item("shirt"),)))
PAID = event("order.paid", 5, order=facts(pay_state="paid", paid_at=T))
SHIPPED = shipped("shipment.created", 10, carrier="SF", tracking_no="SF1")
CANCELLED = event("order.cancelled", 30, order=facts(reason="changed mind"))
ASKED, APPROVED = refund("requested", 40), refund("approved", 50)
DELIVERED = shipped("shipment.updated", 20, "delivered")
CLOSED = refund("closed", 60)
STORY = (CREATED, PAID, SHIPPED, CANCELLED, ASKED, APPROVED)
WHOLE = (*STORY, DELIVERED, CLOSED)


@st.composite
def arrivals(draw: Any, story: tuple[Event, ...]) -> tuple[list[Event], Any]:
    """A permutation with repeats, of which some events name the buyer, and how the records' turns interleave."""
    order = draw(st.permutations(story))
    order = [*order, *draw(st.lists(st.sampled_from(story), max_size=4))]
    named = draw(st.sets(st.sampled_from([one.id for one in story]), min_size=1))
    told = [
        msgspec.structs.replace(one, body=msgspec.structs.replace(one.body, buyer=BUYER if one.id in named else None))
        for one in order
    ]
    return told, draw(st.randoms(use_true_random=False))


def live(story: list[Event], random: Any) -> Desk:
    """The desk after this story, and a day more."""
    desk = Desk(T + HOUR_MS)
    desk.choose = random.choice
    for one in story:
        desk.post(one)
        if random.random() < 0.7:
            desk.settle()
    desk.settle()
    desk.advance(24 * HOUR_MS)
    return desk


def end(desk: Desk) -> dict[str, Any]:
    """The order's record without what depends on the way: the order of what was told, the ids of tasks."""
    record = desk.record(ORDER)
    assert isinstance(record, Order)
    found = msgspec.to_builtins(record)
    found["told"] = sorted(found["told"])
    found["tasks"] = sorted(found.get("tasks", {}))
    found["known"] = {name: at for name, at in found["known"].items() if not name.startswith(("buyer.", "phone:"))}
    return found


@given(arrivals(STORY))
@settings(max_examples=400, deadline=None)
def test_the_same_end_and_the_same_messages(arrival):
    """Created, paid, shipped, cancelled, refund asked for and approved: one thanks, one parcel's news, one acknowledgement."""
    expected = live(
        [msgspec.structs.replace(one, body=msgspec.structs.replace(one.body, buyer=BUYER)) for one in STORY], _Fixed()
    )
    desk = live(*arrival)
    assert Counter(desk.told) == {"order_paid_first": 1, "order_shipped": 1, "refund_received": 1}
    assert Counter(desk.told) == Counter(expected.told)
    assert end(desk) == end(expected)
    assert (desk.skipped, desk.waiting) == ([], {})
    buyer, other = desk.buyer(f"phone:{PHONE}"), expected.buyer(f"phone:{PHONE}")
    assert (buyer.orders, buyer.spent, buyer.orders_count) == (other.orders, other.spent, other.orders_count)


@given(arrivals(WHOLE))
@settings(max_examples=400, deadline=None)
def test_no_order_of_arrival_doubles_or_outdates(arrival):
    """With a delivery and the refund's end as well: what is true at the end is told once; older news at most once, or skipped."""
    desk = live(*arrival)
    told = Counter(desk.told)
    assert told["order_paid_first"] == told["parcel_delivered"] == 1
    assert set(told) <= {"order_paid_first", "order_shipped", "parcel_delivered", "refund_received"}
    assert max(told.values()) == 1
    if "order_shipped" in told:
        assert desk.told.index("order_shipped") < desk.told.index("parcel_delivered")
    assert {reason for _, reason in desk.skipped} <= {"reason_gone"}
    assert desk.waiting == {}
    record = desk.record(ORDER)
    assert isinstance(record, Order)
    assert (record.pay.state, record.closed, record.ship_state, record.refund_state) == (
        "paid",
        "cancelled",
        "delivered",
        "closed",
    )
    assert record.tasks == {}
    assert record.owed == []


class _Fixed:
    """Everything in its order."""

    def choice(self, names: Any) -> Any:
        return names[0]

    def random(self) -> float:
        return 0.0
