"""Items with long titles and no short one: notices say their products' short titles, where the catalogue has some. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from bot.events import Event, Item, ShopEvent, short_limit


def nameless(event: Event) -> tuple[Item, ...]:
    """The items of an order or cart event whose titles are too long for a notice, and that the catalogue may know."""
    body = event.body
    if not isinstance(body, ShopEvent):
        return ()
    facts = [one for one in (body.order, body.checkout) if one is not None]
    return tuple(item for one in facts for item in one.items if _needs_one(item))


def named(event: Event, names: Mapping[str, str]) -> Event:
    """The event with short titles, by product id or SKU, for the items that had none."""
    body = event.body
    assert isinstance(body, ShopEvent)

    def with_name(item: Item) -> Item:
        name = names.get(item.product_id or item.sku, "") if _needs_one(item) else ""
        return structs.replace(item, short_title=name) if name else item

    order, checkout = body.order, body.checkout
    if order is not None:
        order = structs.replace(order, items=tuple(map(with_name, order.items)))
    if checkout is not None:
        checkout = structs.replace(checkout, items=tuple(map(with_name, checkout.items)))
    return structs.replace(event, body=structs.replace(body, order=order, checkout=checkout))


def _needs_one(item: Item) -> bool:
    return bool(not item.short_title and (item.product_id or item.sku) and len(item.title) > short_limit(item.title))
