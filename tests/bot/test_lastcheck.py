"""The last look before a provider is called: each thing that can have changed since the message was planned, one at a time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from bot import subjects
from bot.events import Guard
from bot.lastcheck import refusal
from bot.messages import OutboundMessage, Purpose, Text
from bot.records import AccountState, Address, Buyer, Consent, Lane, Link, Order, Record

NOW = 1_790_049_600_000
HOME = "address:chat:p1"
ORDER = subjects.order("main", "5001")


def message(purpose: Purpose = "marketing", **fields: Any) -> OutboundMessage:
    return OutboundMessage(
        "m_1", "b_1", HOME, account="chat", to="p1", purpose=purpose, content=Text("x"), created_at=NOW - 1, **fields
    )


def buyer(marketing: Any = "granted", coupons: Any = "unknown", **fields: Any) -> Buyer:
    address = Address("chat", "p1", consent=Consent(marketing=marketing, coupons=coupons), **fields)
    return Buyer(
        "b_1", HOME, 1, addresses=[address, Address("sms", "+8613900001234", consent=Consent(marketing="granted"))]
    )


def checked(record: Record | None, asked: OutboundMessage | None = None, **others: Record) -> str:
    records = {HOME: record, **others} if record is not None else {}
    return refusal(asked or message(), records, NOW)


def test_marketing_goes_to_who_still_agrees() -> None:
    """At the very address that it goes to, whatever they said elsewhere."""
    assert checked(buyer()) == ""
    assert checked(buyer("refused")) == "no_consent"
    assert checked(buyer("unknown")) == "no_consent"
    assert checked(buyer(opted_out=True)) == "opted_out"
    assert checked(buyer(blocked=True)) == "opted_out"


def test_nobody_there_is_nobody_who_agrees() -> None:
    """A record that is gone, of another kind, or without the address any more."""
    assert checked(None) == "no_consent"
    assert checked(Order("5001", "main", ORDER)) == "no_consent"
    assert checked(structs.replace(buyer(), addresses=[])) == "opted_out"


def test_a_merged_buyers_home_leads_to_the_survivor() -> None:
    """The consent that counts is the survivor's."""
    link, there = Link(home="phone:+1", at=1), "phone:+1"
    assert checked(link, **{there: buyer()}) == ""
    assert checked(link, **{there: buyer(opted_out=True)}) == "opted_out"
    assert checked(link) == "no_consent"


@pytest.mark.parametrize("topic", ["coupons", "product:main:p5"])
def test_one_message_that_was_wished_for_ends_with_an_opt_out_alone(topic: str) -> None:
    """The wish was used up when the message was planned; a stop since then holds."""
    asked = message(topic=topic)
    assert checked(buyer("unknown"), asked) == ""
    assert checked(buyer("refused"), asked) == ""
    assert checked(buyer("unknown", opted_out=True), asked) == "opted_out"
    assert checked(buyer("unknown", blocked=True), asked) == "opted_out"


def test_a_wish_for_coupons_that_was_taken_back_since_is_none() -> None:
    """Unticked on the page while the message waited."""
    assert checked(buyer("unknown", coupons="refused"), message(topic="coupons")) == "no_consent"
    assert checked(buyer("granted", coupons="refused"), message(topic="coupons")) == ""
    assert checked(buyer("unknown"), message(topic="else")) == "no_consent"


@pytest.mark.parametrize("purpose", ["reply", "code", "service"])
def test_consent_to_marketing_is_for_marketing(purpose: Purpose) -> None:
    """Answers, codes and notices go without."""
    assert checked(buyer("refused", opted_out=True), message(purpose)) == ""
    assert checked(None, message(purpose)) == ""


def test_its_time_may_be_over() -> None:
    """Until the last instant of it, whatever it is."""
    for purpose in ("reply", "code", "service", "marketing"):
        assert checked(buyer(), message(purpose, not_after=NOW)) == ""  # type: ignore[arg-type]
        assert checked(buyer(), message(purpose, not_after=NOW - 1)) == "too_late"  # type: ignore[arg-type]


def test_the_reason_of_a_touch_must_still_be_there() -> None:
    """Unpaid, of an order that is there, of a shop that is still connected or has told of it since."""
    guard = Guard(ORDER, "pay", ("unpaid",))
    asked = message("service", guard=guard)
    unpaid = Order("5001", "main", ORDER, created_at=NOW - 10, pay=Lane("unpaid", NOW - 5))
    shop = subjects.account("main")
    assert refusal(asked, {ORDER: unpaid}, NOW) == ""
    assert refusal(asked, {ORDER: structs.replace(unpaid, pay=Lane("paid", NOW))}, NOW) == "reason_gone"
    assert refusal(asked, {ORDER: structs.replace(unpaid, closed="cancelled")}, NOW) == "reason_gone"
    assert refusal(asked, {}, NOW) == "reason_gone"
    for left, told in ((NOW - 6, ""), (NOW - 5, "reason_gone"), (NOW, "reason_gone")):
        gone = AccountState("main", created_at=1, disconnected_at=left)
        assert refusal(asked, {ORDER: unpaid, shop: gone}, NOW) == told
