"""What a buyer's record remembers, and what is left of two when they become one."""

from __future__ import annotations

import copy
from decimal import Decimal

import pytest
from msgspec import structs

from bot import buyers
from bot.events import Money, OrderBrief
from bot.records import Address, Buyer, Consent, Coupon, Dialog, Member, SentCount, Timer, Waiting, Window
from tests.bot.test_orders import MINUTE, T

PHONE = "+8613900001234"
EACH = Money(Decimal("88.00"), "CNY")


def brief(number: int, **changes) -> OrderBrief:
    return OrderBrief(
        **({"id": str(number), "shop": "main", "total": EACH, "placed_at": T + number * MINUTE} | changes)
    )


def buyer(id: str = "b_1", **facts) -> Buyer:
    return Buyer(id=id, home=f"phone:{PHONE}", created_at=T, **facts)


def sums(record: Buyer) -> tuple[int, dict[str, str]]:
    return record.orders_count, record.spent


def test_an_order_counts_once_however_many_come_after_it():
    """Twenty are remembered; later news of an older one (a parcel, a refund) does not count it anew."""
    record = buyer()
    for number in range(25):
        buyers.remember_order(record, brief(number, pay="unpaid"))
        buyers.remember_order(record, brief(number, pay="paid"))
    for number in range(25):
        buyers.remember_order(record, brief(number, pay="paid", ship="delivered"))
    assert sums(record) == (25, {"CNY": "2200.00"})
    assert [one.id for one in record.orders] == [str(number) for number in range(5, 25)]
    assert record.last_order_at == T + 24 * MINUTE


def test_orders_are_kept_by_the_time_they_were_placed():
    """News comes in any order; the oldest goes first."""
    record = buyer()
    for number in (2, 0, 1):
        buyers.remember_order(record, brief(number))
    assert [one.id for one in record.orders] == ["0", "1", "2"]


def test_an_order_that_both_were_told_of_counts_once():
    """Its first news named the shop's reference alone, later news the number: two records, one purchase."""
    older, younger = buyer(), buyer("b_2")
    for record, numbers in ((older, (1, 2)), (younger, (2, 3))):
        for number in numbers:
            buyers.remember_order(record, brief(number, pay="paid"))
    buyers.merge(older, younger)
    assert sums(older) == (3, {"CNY": "264.00"})
    assert [one.id for one in older.orders] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        ({"name": "林"}, {"name": "Lin"}, {"name": "林"}),
        ({}, {"name": "Lin", "locale": "en", "timezone": "Asia/Tokyo"}, {"name": "Lin", "locale": "en", "timezone": "Asia/Tokyo"}),
        ({"birthday": "01-02"}, {"birthday": "03-04", "gender": "female"}, {"birthday": "01-02", "gender": "female"}),
        ({"sizes": {"top": "M"}}, {"sizes": {"top": "L", "shoe": "38"}}, {"sizes": {"top": "M", "shoe": "38"}}),
        ({"phones": ["+1"], "tags": ["vip"]}, {"phones": ["+2", "+1"], "tags": ["vip", "new"]}, {"phones": ["+1", "+2"], "tags": ["vip", "new"]}),
        ({"tallies": {"consent_asked": 1}}, {"tallies": {"consent_asked": 0, "greeted:a": T}}, {"tallies": {"consent_asked": 1, "greeted:a": T}}),
        ({"proved_at": {"+1": T}}, {"proved_at": {"+1": T + 1}}, {"proved_at": {"+1": T + 1}}),
        ({"touched": {"a": T}}, {"touched": {"b": T}}, {"touched": {"a": T, "b": T}}),
        ({"timers": {"t": Timer(T)}}, {"timers": {"u": Timer(T)}}, {"timers": {"t": Timer(T), "u": Timer(T)}}),
        ({"last_order_at": T}, {"last_order_at": T + 1}, {"last_order_at": T + 1}),
        ({"sent": SentCount([T + 1], [T])}, {"sent": SentCount([T], [T])}, {"sent": SentCount([T, T + 1], [T, T])}),
        (
            {"waiting": {"wait:a": Waiting(b"a", "m_a")}},
            {"waiting": {"wait:b": Waiting(b"b", "m_b")}},
            {"waiting": {"wait:a": Waiting(b"a", "m_a"), "wait:b": Waiting(b"b", "")}},
        ),
        ({"member": Member("2", joined_at=T + 1, points=5)}, {"member": Member("1", joined_at=T, points=7)},
         {"member": Member("1", joined_at=T, points=12, older=("2",))}),
        ({}, {"member": Member("1", joined_at=T)}, {"member": Member("1", joined_at=T)}),
        ({"coupons": [Coupon("A", "MAY")]}, {"coupons": [Coupon("A", "MAY"), Coupon("B", "MAY")]},
         {"coupons": [Coupon("A", "MAY"), Coupon("B", "MAY")]}),
        ({"merged": ["b_0"]}, {"merged": ["b_9"]}, {"merged": ["b_0", "b_2", "b_9"]}),
    ],
)  # fmt: skip
def test_what_two_records_knew(mine, theirs, both):
    """The survivor's own word first, gaps filled by the other, sums and caps of both, the older card."""
    survivor = buyer(**copy.deepcopy(mine))
    buyers.merge(survivor, buyer("b_2", **copy.deepcopy(theirs)))
    assert {name: getattr(survivor, name) for name in both} == both


@pytest.mark.parametrize("change", [{"blocked": True}, {"opted_out": True}, {"reachable": False}, {"staff_until": T}])
def test_one_address_in_both_records_keeps_what_forbids_more(change):
    """Whichever of the two knew it."""
    plain, strict = Address("sms", PHONE), Address("sms", PHONE, **change)
    for mine, theirs in ((plain, strict), (strict, plain)):
        survivor = buyer(addresses=[structs.replace(mine)])
        buyers.merge(survivor, buyer("b_2", addresses=[structs.replace(theirs)]))
        (kept,) = survivor.addresses
        assert {name: getattr(kept, name) for name in change} == change


def test_the_newer_conversation_goes_on():
    """Of one address in two records: the dialog of the record that the buyer last wrote to."""
    old, new = (
        Address(
            "sms", PHONE, last_in=at, last_out=at, left_at=at, dialog=Dialog(state), windows={"message": Window(at)}
        )
        for at, state in ((T, "card.code"), (T + MINUTE, "profile.name"))
    )
    for mine, theirs in ((old, new), (new, old)):
        survivor = buyer(addresses=[structs.replace(mine, windows=dict(mine.windows))])
        buyers.merge(survivor, buyer("b_2", addresses=[structs.replace(theirs)]))
        assert survivor.addresses == [new]


def test_a_wish_for_coupons_keeps_its_own_wording():
    """The evidence is that of the wish, not of a later answer about something else."""
    asked = Consent(coupons="granted", coupons_at=T, coupons_wording="coupon_sold_out/zh-CN@1", at=T)
    other = Consent(marketing="refused", at=T + MINUTE)
    for mine, theirs in ((asked, other), (other, asked)):
        survivor = buyer(addresses=[Address("sms", PHONE, consent=mine)])
        buyers.merge(survivor, buyer("b_2", addresses=[Address("sms", PHONE, consent=theirs)]))
        kept = survivor.addresses[0].consent
        assert (kept.coupons_at, kept.coupons_wording) == (T, "coupon_sold_out/zh-CN@1")
        assert (kept.marketing, kept.at) == ("refused", T + MINUTE)


@pytest.mark.parametrize("topic", buyers.TOPICS)
@pytest.mark.parametrize("earlier", ["granted", "unknown", "refused"])
@pytest.mark.parametrize("later", ["granted", "unknown", "refused"])
def test_of_two_answers_about_one_address_the_stricter_holds(topic, earlier, later):
    """Whoever gave it when: a yes that came later at one of the two records does not undo the other's no."""
    one, two = Consent(at=T, coupons_at=T), Consent(at=T + MINUTE, coupons_at=T + MINUTE)
    setattr(one, topic, earlier)
    setattr(two, topic, later)
    for mine, theirs in ((one, two), (two, one)):
        survivor = buyer(addresses=[Address("sms", PHONE, consent=structs.replace(mine))])
        buyers.merge(survivor, buyer("b_2", addresses=[Address("sms", PHONE, consent=structs.replace(theirs))]))
        order = ["refused", "unknown", "granted"]
        assert getattr(survivor.addresses[0].consent, topic) == min(earlier, later, key=order.index)


@pytest.mark.parametrize("out", ["mine", "theirs"])
def test_an_opt_out_of_either_is_of_both(out):
    """At every address, as if it had been said there: a START does not bring an older yes back."""
    said = Address("sms", PHONE, opted_out=True, consent=Consent(marketing="refused", at=T, source="R"))
    agreed = Address("chat", "p1", consent=Consent(marketing="granted", coupons="granted", at=T - MINUTE, wording="w"))
    mine, theirs = (said, agreed) if out == "mine" else (agreed, said)
    survivor = buyer(addresses=[mine])
    buyers.merge(survivor, buyer("b_2", addresses=[theirs]))
    assert [one.opted_out for one in survivor.addresses] == [True, True]
    consents = [one.consent for one in survivor.addresses]
    assert {(one.marketing, one.at, one.source) for one in consents} == {("refused", T, "R")}
    assert {one.coupons for one in consents if one.wording == ""} <= {"refused", "unknown"}
    assert next(one for one in survivor.addresses if one.account == "chat").consent.coupons == "refused"


def test_who_could_open_ones_pages_cannot_open_the_others():
    """Links of both end with a merge: the count is above both."""
    for mine, theirs in ((0, 0), (3, 1), (1, 3)):
        survivor = buyer(revoked=mine)
        buyers.merge(survivor, buyer("b_2", revoked=theirs))
        assert survivor.revoked > max(mine, theirs)


def test_a_new_address_of_who_said_stop_is_stopped_too():
    """However the gateway learns of it."""
    out = buyer(addresses=[Address("chat", "p1", opted_out=True)])
    assert buyers.ensure_address(out, "sms", PHONE).opted_out
    assert not buyers.ensure_address(buyer(addresses=[Address("chat", "p1")]), "sms", PHONE).opted_out
