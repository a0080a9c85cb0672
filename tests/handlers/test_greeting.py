"""Who is greeted how; and what a birthday tells."""

from __future__ import annotations

import pytest

from bot.clock import DAY_MS
from bot.events import BuyerFacts, Item
from bot.records import Member
from handlers.profile import parse_birthday
from tests.bot.test_orders import event, order_facts
from tests.bot.test_will import Shop, T
from tests.handlers.test_dialogs import at


def test_new_and_returning_buyers_are_greeted_differently():
    """Who has bought is welcomed back, by name where it is known; once a day."""
    desk = Shop(T)
    desk.says("p1", "你好")
    paid = order_facts(pay_state="paid", placed_at=T, items=(Item("衬衫"),))
    desk.post(event("order.paid", 0, order=paid, buyer=BuyerFacts(name="林小满", address="chat:p1")))
    desk.settle()
    desk.advance(DAY_MS)
    desk.says("p1", "你好")
    desk.says("p1", "你好")
    greetings = [message for message in desk.sent if message.key in ("welcome", "welcome_back", "menu")]
    assert [message.key for message in greetings] == ["welcome", "welcome_back", "menu"]
    assert greetings[1].content.text.startswith("林小满，欢迎回来")
    assert "自动助手" in greetings[1].content.text


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("1月2日", "01-02"), ("1/2", "01-02"), ("0102", "01-02"), ("1990-1-2", "1990-01-02"), ("1990年1月2日", "1990-01-02"),
        ("19900102", "1990-01-02"), ("2月29日", "02-29"), ("2月30日", ""), ("13/1", ""), ("1890-1-1", ""), ("昨天", ""),
        ("12月1號", "12-01"), ("1.2", "01-02"),
    ],
)  # fmt: skip
def test_birthdays_as_people_type_them(typed, read):
    """Month and day, the year only where it is given."""
    assert parse_birthday(typed) == read


@pytest.mark.parametrize(("year", "kept"), [("2012-9-22", True), ("2012-9-23", False), ("2020-1-1", False)])
def test_a_child_under_14_gets_no_card_without_a_parent(year, kept):
    """A birthday with its year tells: nothing is kept, no further question; T is 21 September 2026 in Shanghai, 22:13."""
    desk = at("profile.birthday")
    desk.advance(DAY_MS // 2)
    desk.says("p1", year)
    buyer = desk.buyer("address:chat:p1")
    assert (buyer.member is not None) == kept
    assert (buyer.birthday != "") == kept
    assert (desk.told[-1] == "too_young") != kept
    assert isinstance(buyer.member, Member | None)
