"""What a buyer waits for: once each, ten at most, and every product's record learns when that is over."""

from __future__ import annotations

from bot import wishes
from bot.records import Awaited, Buyer
from bot.wishes import MOST, Letters


def buyer(*awaited: Awaited) -> Buyer:
    return Buyer("b_1", "address:chat:p1", 1, awaits=list(awaited), merged=["b_2", "b_3"])


def wish(number: int, sku: str = "", at: int = 0) -> Awaited:
    return Awaited(f"product:main:{number}", sku, at, "chat", "p1", "asked")


def told(letters: Letters) -> list[tuple[str, str, str, str]]:
    """Product, SKU, who, whether it is on."""
    return [(product, body.data["sku"], body.data["buyers"], body.data["on"]) for product, body in letters]


def test_a_wish_is_told_to_its_product():
    """For this buyer; for each variant apart."""
    who = buyer(wish(1))
    assert told(wishes.wish(who, wish(1, "M"))) == [("product:main:1", "M", "b_1", "1")]
    assert who.awaits == [wish(1), wish(1, "M")]


def test_asked_again_it_is_one_wish_with_the_newer_evidence():
    """And stands last, as the newest."""
    who = buyer(wish(1), wish(2))
    assert told(wishes.wish(who, wish(1, at=9))) == [("product:main:1", "", "b_1", "1")]
    assert who.awaits == [wish(2), wish(1, at=9)]


def test_the_eleventh_ends_the_oldest():
    """Its product is told, under every id by which the buyer may have asked."""
    who = buyer(*(wish(n) for n in range(MOST)))
    assert told(wishes.wish(who, wish(99))) == [
        ("product:main:99", "", "b_1", "1"),
        ("product:main:0", "", "b_1,b_2,b_3", ""),
    ]
    assert who.awaits == [*(wish(n) for n in range(1, MOST)), wish(99)]


def test_one_wish_ends_and_the_others_stay():
    """Of this product and variant alone; one that there is not ends nothing."""
    who = buyer(wish(1), wish(1, "M"), wish(2, "M"))
    assert told(wishes.drop(who, "product:main:1", "M")) == [("product:main:1", "M", "b_1,b_2,b_3", "")]
    assert who.awaits == [wish(1), wish(2, "M")]
    assert wishes.drop(who, "product:main:1", "L") == []
    assert len(who.awaits) == 2


def test_all_wishes_end():
    """An opt-out, an erasure."""
    who = buyer(wish(1), wish(2, "M"))
    assert told(wishes.drop_all(who)) == [
        ("product:main:1", "", "b_1,b_2,b_3", ""),
        ("product:main:2", "M", "b_1,b_2,b_3", ""),
    ]
    assert (who.awaits, wishes.drop_all(who)) == ([], [])
