"""Who is whom, by whole turns: identities that shops name, merges, and what they leave behind."""

from __future__ import annotations

from bot.events import BuyerFacts
from tests.bot.test_orders import T, event, order_facts
from tests.desk import PHONE, Desk


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
