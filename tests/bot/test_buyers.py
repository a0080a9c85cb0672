"""What a buyer's record remembers, and what is left of two when they become one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import structs

from bot import buyers
from bot.events import Money, OrderBrief
from bot.records import Address, Buyer, Consent, Dialog
from tests.bot.test_orders import MINUTE, T

EACH = Money(Decimal("88.00"), "CNY")


def brief(number: int, **changes) -> OrderBrief:
    return OrderBrief(
        **({"id": str(number), "shop": "main", "total": EACH, "placed_at": T + number * MINUTE} | changes)
    )


def buyer(id: str = "b_1", **facts) -> Buyer:
    return Buyer(id=id, home="phone:+8613900001234", created_at=T, **facts)


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


def test_an_order_that_both_were_told_of_counts_once():
    """Its first news named the shop's reference alone, later news the number: two records, one purchase."""
    older, younger = buyer(), buyer("b_2")
    for record, numbers in ((older, (1, 2)), (younger, (2, 3))):
        for number in numbers:
            buyers.remember_order(record, brief(number, pay="paid"))
    buyers.merge(older, younger)
    assert sums(older) == (3, {"CNY": "264.00"})
    assert [one.id for one in older.orders] == ["1", "2", "3"]


@pytest.mark.parametrize("change", [{"blocked": True}, {"opted_out": True}, {"reachable": False}, {"staff_until": T}])
def test_one_address_in_both_records_keeps_what_forbids_more(change):
    """Whichever of the two knew it."""
    plain, strict = Address("sms", "+8613900001234"), Address("sms", "+8613900001234", **change)
    for mine, theirs in ((plain, strict), (strict, plain)):
        survivor = buyer(addresses=[structs.replace(mine)])
        buyers.merge(survivor, buyer("b_2", addresses=[structs.replace(theirs)]))
        (kept,) = survivor.addresses
        assert {name: getattr(kept, name) for name in change} == change


def test_the_newer_conversation_goes_on():
    """Of one address in two records: the dialog of the record that the buyer last wrote to."""
    old = Address("sms", "+8613900001234", last_in=T, last_out=T, dialog=Dialog("card.code"))
    new = Address("sms", "+8613900001234", last_in=T + MINUTE, last_out=T + MINUTE, dialog=Dialog("profile.name"))
    for mine, theirs in ((old, new), (new, old)):
        survivor = buyer(addresses=[structs.replace(mine)])
        buyers.merge(survivor, buyer("b_2", addresses=[structs.replace(theirs)]))
        (kept,) = survivor.addresses
        assert (kept.dialog.state, kept.last_in, kept.last_out) == ("profile.name", T + MINUTE, T + MINUTE)


def test_a_wish_for_coupons_keeps_its_own_wording():
    """The evidence is that of the wish, not of a later answer about something else."""
    asked = Consent(coupons="granted", coupons_at=T, coupons_wording="coupon_sold_out/zh-CN@1", at=T)
    other = Consent(marketing="refused", at=T + MINUTE)
    for mine, theirs in ((asked, other), (other, asked)):
        survivor = buyer(addresses=[Address("sms", "+8613900001234", consent=mine)])
        buyers.merge(survivor, buyer("b_2", addresses=[Address("sms", "+8613900001234", consent=theirs)]))
        kept = survivor.addresses[0].consent
        assert (kept.coupons_at, kept.coupons_wording) == (T, "coupon_sold_out/zh-CN@1")
        assert (kept.marketing, kept.at) == ("refused", T + MINUTE)
