"""Who is whom, by whole turns: identities that shops name, merges, and what they leave behind."""

from __future__ import annotations

import json

from bot import identity, ids, subjects
from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.codec import dump_record
from bot.events import Absorbed, BuyerFacts, MergeAsked
from bot.records import Buyer, Coupon, Link, Timer
from tests.bot.test_orders import T, event, order_facts
from tests.desk import PARTITIONS, PHONE, Desk

SECOND_MS = 1000


def paid(buyer: BuyerFacts, id: str = "5001"):
    return event("order.paid", 0, f"order:main:{id}", order=order_facts(pay_state="paid", placed_at=T), buyer=buyer)


def test_a_number_that_a_shop_names_is_the_same_buyer():
    """Chat and number of one order: a stop word by SMS is this buyer's, whoever wrote first."""
    for writes_first in (True, False):
        desk = Desk(T)
        if writes_first:
            desk.says(PHONE, "你好", "sms")
        desk.post(paid(BuyerFacts(address="chat:p1", phones=(PHONE,))))
        desk.settle()
        desk.says(PHONE, "TD", "sms")
        buyer = desk.buyer("address:chat:p1")
        assert buyer.id == desk.buyer(f"phone:{PHONE}").id
        assert all(address.opted_out for address in buyer.addresses)


def strangers() -> Desk:
    """An older buyer by SMS and a younger one in a chat, each with something on the record."""
    desk = Desk(T)
    desk.says(PHONE, "你好", "sms")
    desk.advance(MINUTE_MS)
    desk.says("p1", "你好")
    desk.sent.clear()
    desk.advance(MINUTE_MS)
    return desk


JOIN = paid(BuyerFacts(address="chat:p1", phones=(PHONE,)))


def test_the_loser_waits_for_what_is_on_its_way():
    """While its thanks are under way the younger buyer neither says more nor is gone; what comes meanwhile follows."""
    desk = strangers()
    desk.holds_sends = True
    desk.post(JOIN)
    desk.advance(SECOND_MS)
    assert isinstance(desk.record("address:chat:p1"), Buyer)
    desk.says("p1", "订单")
    assert [one.key for one in desk.outbox] == ["order_paid_first"]
    desk.holds_sends = False
    desk.settle()
    assert isinstance(desk.record("address:chat:p1"), Link)
    assert [(one.key, one.account) for one in desk.sent] == [("order_paid_first", "chat"), ("orders_list", "chat")]


def test_a_merge_waits_a_minute_at_most():
    """A provider that hangs keeps nobody apart for longer."""
    desk = strangers()
    desk.holds_sends = True
    desk.post(JOIN)
    desk.advance(59 * SECOND_MS)
    assert isinstance(desk.record("address:chat:p1"), Buyer)
    desk.advance(2 * SECOND_MS)
    assert isinstance(desk.record("address:chat:p1"), Link)


def test_timers_fire_once_after_a_merge():
    """A loser's timer fires where it was and at the survivor; the survivor takes the first and drops the other."""
    desk = strangers()
    loser = desk.buyer("address:chat:p1")
    loser.coupons.append(Coupon("AAAA", "MAY", expires_at=T + 9 * DAY_MS))
    loser.addresses[0].consent.marketing = "granted"
    loser.timers["coupon:AAAA"] = Timer(due=T + HOUR_MS)
    desk.records["address:chat:p1"] = dump_record(loser)
    desk.timers["address:chat:p1", "coupon:AAAA"] = T + HOUR_MS
    desk.post(JOIN)
    desk.settle()
    assert ("address:chat:p1", "coupon:AAAA") in desk.timers
    assert (f"phone:{PHONE}", "coupon:AAAA") in desk.timers
    desk.advance(2 * HOUR_MS)
    assert desk.told.count("coupon_expiring") == 1


def test_a_message_by_the_api_that_meets_a_merge():
    """Asked of the loser while it waits: sent by the survivor under an id of its own; the first id ends as merged."""
    desk = strangers()
    partition = subjects.partition_of("address:chat:p1", PARTITIONS)
    id = ids.derived("m", partition, "asked by the API")
    desk.holds_sends = True
    desk.post(JOIN)
    desk.advance(SECOND_MS)
    asked = {"id": id, "purpose": "service", "text": "您的裤子改好了", "accounts": ["chat"]}
    desk.asks("address:chat:p1", "message", json.dumps(asked).encode())
    desk.holds_sends = False
    desk.settle()
    assert ("", "merged") in desk.skipped
    message = desk.sent[-1]
    assert message.content.text == "您的裤子改好了"
    assert message.id != id
    assert ids.partition_in(message.id) == subjects.partition_of(f"phone:{PHONE}", PARTITIONS)


def test_two_identities_of_one_buyer_lead_to_one_merge():
    """The second answer comes when the first was followed: it reaches the survivor through the link, who loses to nobody."""
    mail = "lin@shop.test"
    desk = strangers()
    desk.post(paid(BuyerFacts(phones=(PHONE,), email=mail), "4001"))
    desk.settle()
    older = desk.buyer(f"phone:{PHONE}")
    assert older.emails == [mail]
    for holds in (True, False):
        desk.holds_sends = holds
        desk.post(paid(BuyerFacts(address="chat:p1", phones=(PHONE,), email=mail), f"500{holds:d}"))
        desk.advance(SECOND_MS)
    desk.settle()
    assert isinstance(desk.record("address:chat:p1"), Link)
    survivor = desk.record(f"phone:{PHONE}")
    assert isinstance(survivor, Buyer)
    assert (survivor.id, survivor.merging) == (older.id, None)
    desk.advance(2 * MINUTE_MS)
    assert isinstance(desk.record(f"phone:{PHONE}"), Buyer)


def test_who_is_asked_to_lose_to_themselves_loses_nothing():
    """Links are followed: an old request may come home."""
    buyer = Buyer("b_1", f"phone:{PHONE}", T)
    found = identity.handle(buyer, MergeAsked(survivor=buyer.home, identity="email:x@x.test"), T)
    assert (found.merging, found.mails) == (None, [])


def test_an_erased_buyers_snapshot_brings_nothing_back():
    """Erased while the merge was under way: the survivor takes nothing of it."""
    gone = Buyer("b_2", "address:chat:p1", T, erased=True, merged=["b_3"])
    buyer = Buyer("b_1", f"phone:{PHONE}", T)
    found = identity.handle(buyer, Absorbed(dump_record(gone), gone.home, f"phone:{PHONE}"), T)
    assert found.granted == ""
    assert buyer == Buyer("b_1", f"phone:{PHONE}", T)
