"""What a moving parcel leads to, by whole turns: which notice, when, and which never."""

from __future__ import annotations

import msgspec
import pytest

from bot import hours
from bot.clock import HOUR_MS, MINUTE_MS
from bot.events import BuyerFacts, Event, Item, ShipmentFacts
from tests.bot.test_orders import T, event, order_facts, refund, shipped
from tests.desk import BUYER, PHONE, Desk

PAID = event("order.paid", 0, order=order_facts(pay_state="paid", placed_at=T, items=(Item("shirt"),)), buyer=BUYER)


def scan(minute: int, state: str, **facts: object) -> Event:
    return shipped("shipment.updated", minute, state, carrier="SF", tracking_no="SF1", **facts)


@pytest.fixture
def desk() -> Desk:
    one = Desk(T)
    one.post(PAID)
    one.settle()
    assert one.told == ["order_paid_first"]
    one.sent.clear()
    return one


def test_in_the_city_waits_half_an_hour(desk):
    """The notice that it has arrived goes half an hour later, once."""
    desk.post(scan(1, "arrived_city", city="广州"))
    desk.advance(29 * MINUTE_MS)
    assert desk.told == []
    desk.advance(2 * MINUTE_MS)
    assert desk.told == ["parcel_in_city"]
    desk.post(scan(2, "out_for_delivery"))
    desk.advance(2 * HOUR_MS)
    assert desk.told == ["parcel_in_city", "parcel_out"]


@pytest.mark.parametrize("order", [("arrived_city", "out_for_delivery"), ("out_for_delivery", "arrived_city")])
def test_out_for_delivery_within_the_hold_is_the_one_notice(desk, order):
    """Whichever event comes first, the buyer reads of the delivery only; the other is recorded as not sent."""
    for state in order:
        desk.post(scan(1 if state == "arrived_city" else 5, state))
        desk.advance(5 * MINUTE_MS)
    desk.advance(2 * HOUR_MS)
    assert desk.told == ["parcel_out"]
    assert [key for key, _ in desk.skipped] == (["main|parcel_in_city|5001|s1"] if order[0] == "arrived_city" else [])


def test_a_locker_is_named_with_its_code(desk):
    """Out for delivery to a pickup point: never "today"; delivered there: never "signed"."""
    desk.post(scan(1, "out_for_delivery", reason="pickup_point", place="小满驿站", pickup_code="12-3"))
    desk.settle()
    assert desk.told == ["parcel_pickup"]
    text = desk.sent[0].content.text
    assert "已放到小满驿站，取件码 12-3" in text
    assert "今天" not in text
    desk.post(scan(2, "delivered", reason="pickup_point"))
    desk.settle()
    assert "已放到小满驿站，取件码 12-3" in desk.sent[1].content.text
    assert "签收" not in desk.sent[1].content.text


def test_a_parcel_that_is_put_into_a_locker_after_all(desk):
    """First on its way to the door, then in a locker: the code is told too; the older scan alone tells nothing new."""
    late = Desk(T)
    late.post(PAID, scan(9, "out_for_delivery", reason="pickup_point"), scan(1, "out_for_delivery"))
    late.settle()
    assert late.told == ["order_paid_first", "parcel_pickup"]
    again = scan(9, "out_for_delivery", reason="pickup_point")
    for one in (scan(1, "out_for_delivery"), again, msgspec.structs.replace(again, id="again")):
        desk.post(one)
        desk.settle()
    assert desk.told == ["parcel_out", "parcel_pickup"]


def test_fetched_from_the_locker_is_signed(desk):
    """What is known of the locker does not make a parcel that was handed over one that waits."""
    for one in (scan(1, "out_for_delivery", reason="pickup_point", place="小满驿站"), scan(60, "delivered")):
        desk.post(one)
        desk.settle()
    assert "已签收" in desk.sent[1].content.text


def test_a_place_alone_is_a_pickup_point(desk):
    """A shop that gives the place with the delivery need not name the reason; one whose parcel was signed may."""
    desk.post(scan(1, "delivered", place="小满驿站"))
    desk.settle()
    assert "已放到小满驿站" in desk.sent[0].content.text


def test_out_today_is_not_said_tomorrow():
    """Out for delivery in the evening, outside the hours: a promise for today is not sent the next morning."""
    evening = T - T % (24 * HOUR_MS) + 15 * HOUR_MS  # 23:00 in Shanghai
    desk = Desk(evening, policy={"service_hours": hours.parse("08:00-22:00")})
    minute = (evening - T) // MINUTE_MS
    desk.post(PAID, scan(minute, "out_for_delivery"))
    desk.advance(24 * HOUR_MS)
    assert "parcel_out" not in desk.told
    assert ("parcel_out", "too_late") in desk.skipped


def test_one_parcel_of_two_orders_is_told_once(desk):
    """Same number, same carrier, same buyer: one notice of each kind."""

    def second(one: Event) -> Event:
        return msgspec.structs.replace(one, subject="order:main:5002")

    desk.post(second(PAID))
    for one in (scan(1, "accepted"), scan(90, "delivered")):
        desk.post(one, second(one))
        desk.settle()
    assert desk.told.count("order_shipped") == 1
    assert desk.told.count("parcel_delivered") == 1
    assert sorted(reason for _, reason in desk.skipped) == ["already_sent", "already_sent"]


def test_trouble_that_is_over_closes_its_task(desk):
    """Staff need not look after a parcel that goes on, in whatever order both are heard of."""
    desk.post(scan(1, "exception", reason="address"))
    desk.settle()
    (task,) = desk.tasks.values()
    assert (task.kind, task.state) == ("parcel", "open")
    desk.post(scan(2, "out_for_delivery"))
    desk.settle()
    (task,) = desk.tasks.values()
    assert (task.state, task.outcome) == ("done", "the parcel goes on")


@pytest.mark.parametrize("early", [0, 1, 2])
def test_scans_that_name_no_order_find_it(desk, early):
    """Before or after the parcel is known to belong to an order: each scan counts, no step is told twice or too late."""
    scans = [
        event(
            "shipment.updated",
            10 * n,
            "parcel:main:s1",
            shipment=ShipmentFacts(id="s1", state=state, scan_at=T + 10 * n * MINUTE_MS),
        )
        for n, state in enumerate(("accepted", "out_for_delivery"), 1)
    ]
    desk.post(*scans[:early])
    desk.settle()
    assert desk.told == []
    desk.post(shipped("shipment.created", 5, carrier="SF"))
    desk.settle()
    desk.post(*scans)
    desk.settle()
    order = desk.record("order:main:5001")
    assert order.ship_state == "out_for_delivery"
    # All scans at once: "shipped" is old news before it is sent.
    assert desk.told == ["order_shipped", "parcel_out"][early == 2 :]


class TestReview:
    """The review invitation: marketing, chat windows only, and nothing open."""

    @pytest.fixture
    def desk(self) -> Desk:
        one = Desk(T)
        one.says("p1", "你好")
        one.grants("address:chat:p1", "chat", "p1", "marketing")
        known = BuyerFacts(address="chat:p1", phones=(PHONE,))
        one.post(event("order.paid", 0, order=order_facts(pay_state="paid", placed_at=T), buyer=known))
        one.post(scan(1, "delivered"))
        one.settle()
        one.advance(70 * HOUR_MS)
        one.sent.clear()
        one.skipped.clear()
        return one

    def test_in_an_open_window(self, desk):
        """Three days later, in the chat that the buyer has open."""
        desk.says("p1", "订单")
        desk.advance(3 * HOUR_MS)
        assert [(m.key, m.account) for m in desk.sent][1:] == [("review_invite", "chat")]

    def test_else_skipped_with_its_reason(self, desk):
        """No window: neither chat nor SMS, though the number is known."""
        desk.advance(3 * HOUR_MS)
        assert desk.told == []
        assert desk.skipped == [("review_invite", "window_closed")]

    def test_not_while_a_refund_is_open(self, desk):
        """Nor while one is asked for just before it is sent."""
        desk.says("p1", "订单")
        desk.holds_sends = True
        desk.advance(3 * HOUR_MS)
        desk.post(refund("requested", 72 * 60, "r1"))
        desk.settle()
        desk.send()
        assert "review_invite" not in desk.told
        assert ("review_invite", "reason_gone") in desk.skipped

    def test_not_while_a_case_is_open(self, desk):
        """A buyer who says that the parcel never came is not asked how it fits."""
        desk.says("p1", "没收到")
        desk.advance(3 * HOUR_MS)
        assert "review_invite" not in desk.told
        assert desk.skipped == [("main|review_invite|5001", "case_open")]

    def test_the_last_of_two_parcels_asks(self, desk):
        """Once for the order, three days after all of it is there."""
        second = ShipmentFacts(id="s2", state="in_transit")
        desk.post(event("shipment.updated", 2, shipment=second, order=order_facts()))
        desk.says("p1", "订单")
        desk.advance(3 * HOUR_MS)
        assert "review_invite" not in desk.told
        assert desk.skipped == []
