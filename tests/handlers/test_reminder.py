"""The payment reminder: its time, its words, the call that comes before it, and that it never follows the payment."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import hours
from bot.clock import HOUR_MS, MINUTE_MS
from bot.events import BuyerFacts, Event, Money
from bot.hours import instant
from bot.records import Order
from bot.shipping import Shipping
from bot.slots import call_slot_end
from handlers.order_lifecycle import remind_at
from tests.bot.test_orders import T, event, order_facts
from tests.desk import BUYER, PHONE, ZONE, Desk

HOME = f"phone:{PHONE}"
KNOWN = BuyerFacts(ref="701", phones=(PHONE,), is_new=True)


def placed(minute: int = 0, *, life: int = 0, amount: int = 188, currency: str = "CNY", buyer=KNOWN, **facts) -> Event:
    base = {
        "pay_state": "unpaid",
        "placed_at": T + minute * MINUTE_MS,
        "total": Money(Decimal(amount), currency),
        **facts,
    }
    if life:
        base["pay_expires_at"] = T + (minute + life) * MINUTE_MS
    return event("order.created", minute, order=order_facts(**base), buyer=buyer)


def paid(minute: int) -> Event:
    return event(
        "order.paid", minute, order=order_facts(pay_state="paid", total=Money(Decimal(188), "CNY")), buyer=BUYER
    )


# --- when ---------------------------------------------------------------------------------------------------------------


@given(life=st.integers(0, 5 * 24 * 60 * 60_000), returning=st.booleans())
def test_the_time_of_the_reminder(life, returning):
    """min(2 h or 3 h, 60 % of the life, closing - 20 min), not before 10 min; none below half an hour of life."""
    order = Order("1", "main", "order:main:1", placed_at=T, pay_expires_at=T + life if life else 0)
    after = (3 if returning else 2) * HOUR_MS
    at = remind_at(order, after)
    if life and life < 30 * MINUTE_MS:
        assert at == 0
        return
    bounds = [after, life * 6 // 10, life - 20 * MINUTE_MS] if life else [after]
    assert at - T == max(min(bounds), 10 * MINUTE_MS)
    assert 10 * MINUTE_MS <= at - T <= after
    assert not life or at <= T + life - 20 * MINUTE_MS


@given(life=st.integers(1, 400), late=st.integers(0, 400), pays=st.integers(0, 400) | st.none())
def test_never_after_payment_or_close(life, late, pays):
    """However late the order is heard of, and whenever it is paid: at most one reminder, in its time, and never after."""
    desk = Desk(T + late * MINUTE_MS)
    desk.post(placed(life=life))
    if pays is not None and pays >= late:
        desk.advance((pays - late) * MINUTE_MS)
        desk.post(paid(pays))
    desk.advance(500 * MINUTE_MS)
    reminders = [m for m in desk.sent if m.key == "payment_reminder"]
    assert len(reminders) <= 1
    for message in reminders:
        after = message.created_at - T
        assert after >= 10 * MINUTE_MS
        assert after <= max((life - 20) * MINUTE_MS, late * MINUTE_MS)
        assert after < life * MINUTE_MS
        assert pays is None or pays < late or after <= pays * MINUTE_MS
    if life < 30 or late > life - 20:
        assert not reminders
        assert ("main|payment_reminder|5001", "closes_too_soon") in desk.skipped
    elif pays is None or pays < late:
        assert reminders


@pytest.mark.parametrize("ends", ["order.paid", "order.cancelled", "order.closed_unpaid"])
def test_between_claim_and_provider_call(ends):
    """The last check reads the order: one that was paid or closed while its reminder was on its way gets none."""
    desk = Desk(T)
    desk.post(placed())
    desk.holds_sends = True
    desk.advance(2 * HOUR_MS)
    assert [m.key for m in desk.outbox] == ["payment_reminder"]
    facts = order_facts(pay_state="paid") if ends == "order.paid" else order_facts()
    desk.post(event(ends, 121, order=facts))
    desk.settle()
    desk.send()
    assert "payment_reminder" not in desk.told
    assert ("payment_reminder", "reason_gone") in desk.skipped


@pytest.mark.parametrize("first", [True, False])
def test_facts_that_come_later_move_it(first):
    """An order whose closing time, or whose buyer's past, is told after it was placed: the same hour in either order."""
    closing = event("order.updated", 1, order=order_facts(placed_at=T, pay_state="unpaid", pay_expires_at=T + HOUR_MS))
    desk = Desk(T)
    desk.post(*((placed(), closing) if first else (closing, placed())))
    desk.advance(35 * MINUTE_MS)
    assert desk.told == []
    desk.advance(2 * MINUTE_MS)
    assert desk.told == ["payment_reminder"]


def test_an_order_that_will_close_sooner_after_all_gets_none():
    """Planned, then the shop shortens the life: recorded once."""
    desk = Desk(T)
    closing = event(
        "order.updated", 1, order=order_facts(placed_at=T, pay_state="unpaid", pay_expires_at=T + 25 * MINUTE_MS)
    )
    desk.post(placed(), closing, msgspec.structs.replace(closing, id="again"))
    desk.advance(5 * HOUR_MS)
    assert desk.told == []
    assert desk.skipped == [("main|payment_reminder|5001", "closes_too_soon")]


# --- words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_new", "reminder", "thanks", "after"),
    [(True, "payment_reminder", "order_paid_first", 2), (False, "payment_reminder_returning", "order_paid", 3)],
)
def test_the_shop_knows_its_buyers(is_new, reminder, thanks, after):
    """The shop's word counts, though the gateway has seen no order of this buyer before: own time, own words."""
    desk = Desk(T)
    desk.post(placed(buyer=BuyerFacts(phones=(PHONE,), is_new=is_new)))
    desk.advance(after * HOUR_MS - MINUTE_MS)
    assert desk.told == []
    desk.advance(2 * MINUTE_MS)
    assert desk.told == [reminder]
    desk.post(paid(200))
    desk.settle()
    assert desk.told == [reminder, thanks]


def test_without_the_shops_word_the_gateway_remembers():
    """Bought here before, even if all of it was refunded: a returning buyer, an hour later."""
    desk = Desk(T)
    before = event(
        "order.updated",
        0,
        "order:main:4000",
        order=order_facts(pay_state="refunded", placed_at=T - HOUR_MS),
        buyer=BUYER,
    )
    desk.post(before, placed(1, buyer=BUYER))
    desk.advance(2 * HOUR_MS + 5 * MINUTE_MS)
    assert desk.told == []
    desk.advance(HOUR_MS)
    assert desk.told == ["payment_reminder_returning"]


def test_ships_today_is_weighed_when_it_is_said():
    """A reminder that waited past the cut-off does not promise today any more."""
    noon = instant(datetime(2026, 9, 21, 15, 30), ZONE)
    shop = Shipping(ZONE)
    desk = Desk(noon, ships_today_before=shop.today_before, ships_by=shop.by)
    minute = (noon - T) // MINUTE_MS - 120
    # A returning buyer's reminder is asked for at two hours and waits for the third: the cut-off at 16:00 is past.
    before = event(
        "order.paid",
        minute - 60,
        "order:main:4000",
        order=order_facts(pay_state="paid", placed_at=noon - 9 * HOUR_MS),
        buyer=BUYER,
    )
    desk.post(before, placed(minute, buyer=BUYER))
    desk.advance(2 * HOUR_MS)
    (message,) = [m for m in desk.sent if m.key.startswith("payment_reminder")]
    assert message.key == "payment_reminder_returning"
    fresh = Desk(noon, ships_today_before=shop.today_before, ships_by=shop.by)
    fresh.post(placed(minute))
    fresh.advance(MINUTE_MS)
    assert "16:00前付款今天发出" in fresh.sent[0].content.text
    late = Desk(
        noon,
        policy={"service_hours": hours.parse("17:00-22:00")},
        ships_today_before=shop.today_before,
        ships_by=shop.by,
    )
    late.post(placed(minute))
    late.advance(2 * HOUR_MS)
    assert "今天发出" not in late.sent[0].content.text
    assert "9月22日前发出" in late.sent[0].content.text


# --- calls --------------------------------------------------------------------------------------------------------------

MORNING = instant(datetime(2026, 9, 22, 8, 30), ZONE)
SLOT = {"large_order": Decimal(1000), "call_slot": lambda at: call_slot_end(at, ZONE)}


def large(life: int = 0, **changes) -> tuple[Desk, Event]:
    """A desk at 8:30, a buyer who agreed to calls, and a large order placed then: reminded at 10:30."""
    desk = Desk(MORNING, **{**SLOT, "ships_today_before": lambda _: 0, **changes})
    desk.says(PHONE, "你好", "sms")
    desk.grants(HOME, "sms", PHONE, "calls")
    desk.sent.clear()
    return desk, placed((MORNING - T) // MINUTE_MS, life=life, amount=1000)


def tasks(desk: Desk) -> list[tuple[str, str]]:
    return [(task.kind, task.state) for task in desk.tasks.values()]


def test_a_large_order_is_called_first():
    """At the reminder's time a task until the slot's end at 12:00, with number, amount and item; then the message."""
    desk, order = large()
    desk.post(order)
    desk.advance(2 * HOUR_MS)
    (task,) = desk.tasks.values()
    assert (task.kind, task.state, task.due_at, task.order) == ("phone_call", "open", MORNING + 210 * MINUTE_MS, "5001")
    assert "1000" in task.brief
    desk.advance(89 * MINUTE_MS)
    assert desk.told == []
    desk.advance(2 * MINUTE_MS)
    assert desk.told == ["payment_reminder"]
    assert desk.sent[0].order == "5001"
    assert tasks(desk) == [("phone_call", "expired")]


def test_a_call_that_was_made_replaces_the_message():
    """Completed by the API: no message, and the reason why."""
    desk, order = large()
    desk.post(order)
    desk.advance(2 * HOUR_MS)
    (task,) = desk.tasks.values()
    desk.asks(task.home, "complete_task", json.dumps({"id": task.id, "outcome": "will_pay"}).encode())
    desk.advance(48 * HOUR_MS)
    assert desk.told == []
    assert tasks(desk) == [("phone_call", "done")]
    assert desk.skipped == [("call|5001", "call_made")]


@pytest.mark.parametrize("ends", ["order.paid", "order.cancelled", "order.closed_unpaid"])
def test_paid_or_closed_meanwhile_is_neither(ends):
    """The task goes, and no message comes."""
    desk, order = large()
    desk.post(order)
    desk.advance(2 * HOUR_MS)
    facts = order_facts(pay_state="paid") if ends == "order.paid" else order_facts()
    desk.post(event(ends, (desk.now - T) // MINUTE_MS, order=facts))
    desk.advance(48 * HOUR_MS)
    assert [key for key in desk.told if key.startswith("payment_reminder")] == []
    assert tasks(desk) == [("phone_call", "done")]


def test_half_an_hour_before_the_order_closes():
    """The slot's end is at 12:00, the order closes at 12:10: the message goes at 11:40."""
    desk, order = large(life=220)
    desk.post(order)
    desk.advance(189 * MINUTE_MS)
    assert (desk.told, tasks(desk)) == ([], [("phone_call", "open")])
    desk.advance(2 * MINUTE_MS)
    assert desk.told == ["payment_reminder"]


@pytest.mark.parametrize("verdict", ["refused", "unknown"])
def test_no_call_without_consent_for_calls(verdict):
    """The message at the usual time."""
    desk, order = large()
    desk.grants(HOME, "sms", PHONE, "calls", verdict)
    desk.post(order)
    desk.advance(2 * HOUR_MS)
    assert (desk.told, tasks(desk)) == (["payment_reminder"], [])


@pytest.mark.parametrize("changes", [{"large_order": None}, {"large_order": Decimal("1000.01")}, {"currency": "USD"}])
def test_what_is_not_large_is_reminded_as_usual(changes):
    """No limit, less than it, or an amount of another currency than the limit's."""
    desk, order = large(**changes)
    desk.post(order)
    desk.advance(2 * HOUR_MS)
    assert (desk.told, tasks(desk)) == (["payment_reminder"], [])


def test_slots():
    """11:00 to 12:00, and about 16:00; who comes in the last ten minutes waits for the next."""
    day = datetime(2026, 9, 22)
    ends = [
        (call_slot_end(instant(day.replace(hour=h, minute=m), ZONE), ZONE) - instant(day, ZONE)) // MINUTE_MS
        for h, m in ((0, 0), (11, 49), (11, 51), (16, 19), (16, 21), (23, 59))
    ]
    assert ends == [720, 720, 990, 990, 24 * 60 + 720, 24 * 60 + 720]


def test_the_message_after_a_call_waits_for_its_hour():
    """The slot's end outside the service hours: deferred, asked for again at the hour, and nothing is left waiting."""
    desk, order = large(policy={"service_hours": hours.parse("14:00-22:00")})
    desk.post(order)
    desk.advance(4 * HOUR_MS)
    assert (desk.told, list(desk.waiting.values())) == ([], ["payment_reminder"])
    desk.advance(2 * HOUR_MS)
    assert (desk.told, desk.waiting) == (["payment_reminder"], {})
