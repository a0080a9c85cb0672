"""A cart's life: open while it has items, ordered or emptied at its end. Pure."""

from __future__ import annotations

from bot.events import Event, ShopEvent
from bot.orders import join_buyer
from bot.records import Cart


def apply(cart: Cart | None, event: Event) -> tuple[Cart, tuple[str, ...]]:
    """The cart after an event, and what it became: "changed", "emptied", "ordered". Older versions change nothing."""
    body = event.body
    assert isinstance(body, ShopEvent)
    _, shop, token = event.subject.split(":", 2)
    if cart is None:
        cart = Cart(token=token, shop=shop, subject=event.subject, created_at=event.at)
    if body.buyer is not None:
        version = body.version or body.occurred_at or event.at
        cart.buyer = join_buyer(cart.buyer, body.buyer, cart.known, version, event.id)
    facts = body.checkout
    if body.kind.startswith("order.") and cart.state != "ordered":
        cart.state = "ordered"
        return cart, ("ordered",)
    if facts is None or cart.state == "ordered":
        return cart, ()
    changed_at = facts.updated_at or body.occurred_at or event.at
    if changed_at < cart.updated_at:
        return cart, ()
    cart.updated_at = changed_at
    cart.started_at = cart.started_at or facts.started_at or changed_at
    cart.items = facts.items
    cart.total = facts.total if facts.total is not None else cart.total
    cart.recover_url = facts.recover_url or cart.recover_url
    before, cart.state = cart.state, "open" if facts.items else "emptied"
    return cart, ("emptied",) if cart.state == "emptied" and before != "emptied" else ("changed",)
