"""What a buyer waits for: products that are to come back, each wish with its evidence, and what their records are told. Pure."""

from __future__ import annotations

from bot.events import ShopEvent
from bot.records import Awaited, Buyer

MOST = 10
Letters = list[tuple[str, ShopEvent]]
"""(subject of a product, what its record is told)."""


def wish(buyer: Buyer, wanted: Awaited) -> Letters:
    """The buyer waits for it: once for each variant, and for the last 10 at most."""
    others = [one for one in buyer.awaits if (one.product, one.sku) != (wanted.product, wanted.sku)]
    kept = others[-MOST + 1 :]
    gone = others[: len(others) - len(kept)]
    buyer.awaits = [*kept, wanted]
    return [_told(buyer, wanted, on=True), *(_told(buyer, one, on=False) for one in gone)]


def drop(buyer: Buyer, product: str, sku: str) -> Letters:
    """The buyer waits for it no longer."""
    gone = [one for one in buyer.awaits if (one.product, one.sku) == (product, sku)]
    buyer.awaits = [one for one in buyer.awaits if one not in gone]
    return [_told(buyer, one, on=False) for one in gone]


def drop_all(buyer: Buyer) -> Letters:
    """The buyer waits for nothing."""
    gone, buyer.awaits = buyer.awaits, []
    return [_told(buyer, one, on=False) for one in gone]


def _told(buyer: Buyer, one: Awaited, *, on: bool) -> tuple[str, ShopEvent]:
    ids = [buyer.id] if on else [buyer.id, *buyer.merged]  # a merged buyer may have asked
    data = {"buyers": ",".join(ids), "sku": one.sku, "on": "1" if on else ""}
    return one.product, ShopEvent("product.awaited", "", data=data)
