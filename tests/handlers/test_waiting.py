"""What waits: notices of timers for their hour, notices for somebody to send them to. None is lost, none waits for ever."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from bot import hours
from bot.clock import DAY_MS, HOUR_MS
from bot.codec import dump_record
from bot.events import BuyerFacts, CheckoutFacts, Item
from bot.hours import instant
from bot.records import Address, Buyer, Consent, Coupon, Timer
from tests.bot.test_orders import T, event, order_facts, shipped
from tests.desk import LINES, PHONE, ZONE, Desk

EVENING = instant(datetime(2026, 9, 21, 21), ZONE)
HOME = "address:sms:+8613900001234"


def coupon_desk(**coupon) -> Desk:
    """A coupon whose timer fires at 22:00, an hour after marketing's hours, and a buyer who wants to hear of it."""
    desk = Desk(EVENING, policy={"marketing_hours": hours.parse("09:00-20:30")})
    address = Address("sms", PHONE, consent=Consent(marketing="granted", at=1))
    held = Coupon("AAAA", "MAY", expires_at=EVENING + 3 * DAY_MS, **coupon)
    timer = {"coupon:AAAA": Timer(due=EVENING + HOUR_MS)}
    desk.records[HOME] = dump_record(Buyer("b1", HOME, 1, addresses=[address], coupons=[held], timers=timer))
    desk.timers[HOME, "coupon:AAAA"] = EVENING + HOUR_MS
    return desk


def test_a_timers_message_waits_for_its_hour():
    """Asked for at 22:00, sent at 9:00."""
    desk = coupon_desk()
    desk.advance(2 * HOUR_MS)
    assert (desk.told, list(desk.waiting.values())) == ([], ["coupon_expiring"])
    desk.advance(9 * HOUR_MS)
    assert desk.told == []
    desk.advance(HOUR_MS)
    assert (desk.told, desk.waiting) == (["coupon_expiring"], {})


def test_what_is_not_wanted_any_more_at_its_hour_ends():
    """Redeemed in the night: the waiting message ends as skipped."""
    desk = coupon_desk()
    desk.advance(2 * HOUR_MS)
    desk.asks(HOME, "redeem", b'{"code":"AAAA","order":"1"}')
    desk.advance(12 * HOUR_MS)
    assert (desk.told, desk.waiting) == ([], {})
    assert [reason for _, reason in desk.skipped] == ["reason_gone"]


def test_what_waits_does_not_pile_up():
    """Thirty pieces of news by the API in one night: ten wait, the others end at once, and the record stays small."""
    desk = coupon_desk()
    for number in range(30):
        asked = {"id": f"m_{number}", "purpose": "marketing", "text": f"新品第 {number} 款"}
        desk.asks(HOME, "message", json.dumps(asked).encode())
    assert len(desk.waiting) == 10
    assert [reason for _, reason in desk.skipped] == ["cap_reached"] * 20
    assert len(desk.records[HOME]) < 8192
    desk.advance(40 * DAY_MS)
    assert desk.waiting == {}


def test_a_cart_note_that_waited_is_weighed_anew():
    """Ordered in the night, on another checkout: no note in the morning."""
    desk = Desk(EVENING, policy={"marketing_hours": hours.parse("09:00-20:30")})
    known = BuyerFacts(phones=(PHONE,), sms_consent="yes", consent_at=EVENING)
    minute = (EVENING - T) // 60_000
    facts = CheckoutFacts("t1", (Item("shirt"),), updated_at=EVENING, started_at=EVENING)
    desk.post(event("checkout.updated", minute, "cart:main:t1", checkout=facts, buyer=known))
    desk.advance(HOUR_MS)
    assert list(desk.waiting.values()) == ["cart_1"]
    # The shop tells of the payment first, and only later when it was placed.
    for kind, minutes, placed in (("order.paid", 65, 0), ("order.updated", 66, EVENING + HOUR_MS)):
        facts = order_facts(pay_state="paid", placed_at=placed)
        desk.post(event(kind, minute + minutes, order=facts, buyer=known))
        desk.settle()
    desk.advance(12 * HOUR_MS)
    assert (desk.told, desk.waiting) == (["order_paid_first"], {})
    assert desk.skipped == [("main|cart_1|t1", "ordered_since")]


# --- nobody is known ------------------------------------------------------------------------------------------------------


def paid(buyer: BuyerFacts | None):
    return event("order.paid", 0, order=order_facts(pay_state="paid", placed_at=T), buyer=buyer)


@pytest.mark.parametrize("first", [None, BuyerFacts(ref="701"), BuyerFacts(email="lin@example.test")])
def test_owed_until_somebody_can_be_reached(first):
    """Nobody named, or somebody without any address: thanks and the parcel's news wait for the number, in order."""
    desk = Desk(T)
    desk.post(paid(first), shipped("shipment.created", 1))
    desk.settle()
    assert (desk.told, desk.skipped) == ([], [])
    late = BuyerFacts(phones=(PHONE,), **({"ref": first.ref, "email": first.email} if first else {}))
    desk.post(event("order.updated", 5, order=order_facts(), buyer=late))
    desk.settle()
    assert desk.told == ["order_paid_first", "order_shipped"]
    desk.advance(5 * DAY_MS)
    assert desk.told == ["order_paid_first", "order_shipped"]


def test_what_was_owed_names_what_is_known_by_then():
    """The parcel is heard of before the order: the buyer still reads what was shipped."""
    desk = Desk(T)
    desk.post(shipped("shipment.created", 1, carrier="SF", tracking_no="SF1"))
    desk.settle()
    facts = order_facts(pay_state="paid", placed_at=T, items=(Item("针织衫"),))
    desk.post(event("order.paid", 2, order=facts, buyer=BuyerFacts(phones=(PHONE,))))
    desk.settle()
    assert sorted(desk.told) == ["order_paid_first", "order_shipped"]
    assert all("针织衫" in message.content.text for message in desk.sent)


@pytest.mark.parametrize("first", [None, BuyerFacts(ref="701")])
def test_what_nobody_could_be_told_in_time_is_recorded(first):
    """Its time passes: skipped, no_address, once; a later number brings nothing old."""
    desk = Desk(T)
    desk.post(paid(first), shipped("shipment.created", 1))
    desk.advance(3 * DAY_MS)
    assert sorted(reason for _, reason in desk.skipped) == ["no_address", "no_address"]
    desk.post(event("order.updated", 5, order=order_facts(), buyer=BuyerFacts(ref="701", phones=(PHONE,))))
    desk.settle()
    assert desk.told == []


def test_a_cart_without_anybody_is_recorded_too():
    """Marketing waits for nobody."""
    desk = Desk(T)
    facts = CheckoutFacts("t1", (Item("shirt"),), updated_at=T, started_at=T)
    desk.post(event("checkout.updated", 0, "cart:main:t1", checkout=facts))
    desk.advance(HOUR_MS)
    assert desk.skipped == [("main|cart_1|t1", "no_address")]


@pytest.mark.parametrize(
    ("lines", "window", "expected"),
    [
        (("chat", "sms"), True, [("order_paid_first", "chat")]),
        (("chat", "sms"), False, [("order_paid_first", "sms")]),
        (("chat",), False, []),
    ],
)
def test_the_best_reachable_address(lines, window, expected):
    """An open chat; else SMS; else none, and the reason is the window."""
    desk = Desk(T, lines={name: LINES[name] for name in lines})
    desk.says("p1", "你好")
    desk.sent.clear()
    desk.advance(HOUR_MS if window else 25 * HOUR_MS)
    known = BuyerFacts(address="chat:p1", phones=(PHONE,))
    minute = (desk.now - T) // 60_000
    desk.post(event("order.paid", minute, order=order_facts(pay_state="paid", placed_at=desk.now), buyer=known))
    desk.settle()
    assert [(m.key, m.account) for m in desk.sent] == expected
    assert desk.skipped == ([] if expected else [("order_paid_first", "window_closed")])


# --- the shop or the buyer is gone --------------------------------------------------------------------------------------


def test_a_shop_that_is_gone_sends_nothing_more():
    """Disconnected before the reminder: none; what it tells afterwards counts again."""
    desk = Desk(T)
    known = BuyerFacts(phones=(PHONE,))
    for id in ("5001", "5002"):
        facts = order_facts(pay_state="unpaid", placed_at=T)
        desk.post(event("order.created", 0, f"order:main:{id}", order=facts, buyer=known))
    desk.post(event("shop.disconnected", 30, "account:main"))
    desk.advance(HOUR_MS)
    desk.post(event("order.updated", 60, "order:main:5002", order=order_facts(number="#5002")))
    desk.advance(3 * HOUR_MS)
    assert [message.order for message in desk.sent] == ["5002"]
    assert desk.skipped == [("payment_reminder", "reason_gone")]


def test_a_redacted_customer_is_erased_and_told_nothing():
    """The shop's order to erase reaches the buyer behind its reference; later notices are recorded, not sent."""
    desk = Desk(T)
    desk.post(paid(BuyerFacts(ref="701", phones=(PHONE,))))
    desk.settle()
    redact = event("privacy.redact_customer", 1, "shopper:main:701", buyer=BuyerFacts(ref="701", phones=(PHONE,)))
    desk.post(redact)
    desk.settle()
    buyer = desk.buyer(f"phone:{PHONE}")
    assert (buyer.erased, buyer.phones, buyer.addresses) == (True, [], [])
    desk.sent.clear()
    desk.post(shipped("shipment.created", 2))
    desk.settle()
    assert (desk.told, desk.skipped) == ([], [("main|order_shipped|5001|s1", "erased")])


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_the_evidence_of_a_shops_consent(answer):
    """By SMS only, with shop, event and time; the way over an order counts like any other."""
    desk = Desk(T)
    desk.says("p1", "你好")
    said = BuyerFacts(address="chat:p1", phones=(PHONE,), sms_consent=answer, consent_at=T)
    first = paid(said)
    desk.post(first)
    desk.settle()
    by_account = {one.account: one.consent for one in desk.buyer("address:chat:p1").addresses}
    assert by_account["sms"].marketing == ("granted" if answer == "yes" else "refused")
    assert (by_account["sms"].at, by_account["sms"].source) == (T, f"shop:main:{first.id}")
    assert by_account["chat"].marketing == "unknown"
