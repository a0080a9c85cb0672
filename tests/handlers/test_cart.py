"""The cart ladder by whole turns: when it speaks, and every reason for which it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.events import BuyerFacts, CheckoutFacts, Event, Item, StaffSpoke
from tests.bot.test_orders import T, event, order_facts, refund, shipped
from tests.desk import PHONE, Desk

CHAT = "address:chat:p1"
BUYER = BuyerFacts(address="chat:p1", phones=(PHONE,))
SECOND_MS = 1000
FREE = {"marketing_per_week": 9, "marketing_per_day": 9}


def cart(minute: int, *titles: str, kind: str = "checkout.updated", buyer: BuyerFacts = BUYER) -> Event:
    at = T + minute * MINUTE_MS
    facts = CheckoutFacts(
        "t1", tuple(map(Item, titles)), recover_url="https://s.example/c", updated_at=at, started_at=T
    )
    return event(kind, minute, "cart:main:t1", checkout=facts, buyer=buyer)


def paid(id: str, minute: int, **facts: object) -> Event:
    known = order_facts(pay_state="paid", placed_at=T + minute * MINUTE_MS, **facts)
    return event("order.paid", minute, f"order:main:{id}", order=known, buyer=BUYER)


@pytest.fixture
def desk() -> Desk:
    """A buyer who agreed to marketing in an open chat, and was silent for an hour before the cart."""
    one = Desk(T - HOUR_MS, policy=FREE)
    one.says("p1", "你好")
    one.grants(CHAT, "chat", "p1", "marketing")
    one.sent.clear()
    one.advance(HOUR_MS)
    return one


def notes(desk: Desk) -> list[str]:
    return [key for key in desk.told if key.startswith("cart_")]


def test_three_notes_from_the_last_change(desk):
    """45 minutes, a day and three days after it, each once, and then none; a change starts the clock again."""
    desk.post(cart(0, "shirt"))
    desk.advance(30 * MINUTE_MS)
    desk.post(cart(30, "shirt", "hat"))
    desk.advance(44 * MINUTE_MS)
    assert notes(desk) == []
    desk.advance(2 * MINUTE_MS)
    assert notes(desk) == ["cart_1"]
    for hours, expected in ((22, 1), (2, 2), (23, 2), (22, 2), (3, 3), (30 * 24, 3)):
        desk.says("p1", "订单")  # keeps the chat's window open
        desk.advance(hours * HOUR_MS)
        assert notes(desk) == ["cart_1", "cart_2", "cart_3"][:expected]


def test_a_cart_that_the_shop_calls_abandoned(desk):
    """The shop's own word comes late: 45 minutes count from the last change, not from the word."""
    desk.advance(HOUR_MS)
    desk.post(cart(0, "shirt", kind="cart.abandoned"))
    desk.advance(SECOND_MS)
    assert notes(desk) == ["cart_1"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (lambda desk: desk.post(cart(10)), ""),  # emptied: nothing is planned any more
        (lambda desk: desk.post(paid("5001", 10)), "ordered_since"),
        (lambda desk: desk.says("p1", "退订"), "opted_out"),
        (lambda desk: desk.says("p1", "订单"), "buyer_active"),
        (lambda desk: desk.says("p1", "退换"), "buyer_active"),
        (lambda desk: desk.grants(CHAT, "chat", "p1", "marketing", "refused"), "no_consent"),
        (lambda desk: desk.asks(CHAT, "erase", b"{}"), "erased"),
        (lambda desk: desk.post(event("shop.disconnected", 20, "account:main")), "reason_gone"),
    ],
)
def test_what_stops_a_note(desk, what: Callable[[Desk], None], reason: str):
    """Each stop condition before the first note: no note, and the reason."""
    desk.post(cart(0, "shirt"))
    desk.advance(MINUTE_MS)
    if reason == "buyer_active":
        desk.advance(20 * MINUTE_MS)
    what(desk)
    desk.advance(45 * MINUTE_MS)
    assert notes(desk) == []
    assert [one for _, one in desk.skipped] == ([reason] if reason else [])


def test_the_order_of_this_checkout_ends_it(desk):
    """Also where the order is heard of first, and the cart's last change after it."""
    for first in (True, False):
        one = Desk(T, policy=FREE)
        ordered = event(
            "order.created", 5, order=order_facts(pay_state="paid"), checkout=CheckoutFacts("t1"), buyer=BUYER
        )
        one.post(*((ordered, cart(0, "shirt")) if first else (cart(0, "shirt"), ordered)))
        one.advance(4 * DAY_MS)
        assert notes(one) == []
        assert not [key for key, _ in one.skipped if "cart" in key]


@pytest.mark.parametrize("trouble", ["return", "refund", "parcel"])
def test_nothing_is_advertised_into_trouble(desk, trouble):
    """A return asked for, a refund open, a parcel stuck: no note; over, the next one goes."""
    desk.post(paid("5001", -600))
    desk.post(cart(0, "shirt"))
    desk.settle()
    if trouble == "return":
        desk.says("p1", "退换")
    elif trouble == "refund":
        desk.post(refund("requested", 1))
    else:
        desk.post(shipped("shipment.updated", 1, "exception", reason="address"))
    desk.advance(46 * MINUTE_MS)
    assert notes(desk) == []
    assert [reason for key, reason in desk.skipped if "cart" in key] == ["case_open"]
    if trouble == "return":
        (task,) = desk.tasks.values()
        desk.asks(CHAT, "complete_task", b'{"id": "%s", "outcome": "done"}' % task.id.encode())
    elif trouble == "refund":
        desk.post(refund("succeeded", 60))
    else:
        desk.post(shipped("shipment.updated", 60, "delivered"))
    desk.says("p1", "订单")
    desk.advance(24 * HOUR_MS - 30 * MINUTE_MS)
    assert notes(desk) == ["cart_2"]


def test_while_staff_write_a_note_waits(desk):
    """It comes when they are silent, if it still makes sense."""
    desk.post(cart(0, "shirt"))
    desk.advance(40 * MINUTE_MS)
    desk.post(Event("s1", CHAT, "chat", desk.now, desk.now, StaffSpoke()))
    desk.advance(10 * MINUTE_MS)
    assert notes(desk) == []
    desk.advance(10 * MINUTE_MS)
    assert (notes(desk), desk.waiting) == (["cart_1"], {})
