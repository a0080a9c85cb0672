"""What orders and carts tell their buyers: building a touch, and reading its variables. Pure; shared by handlers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal

from bot.events import Guard, Item, ItemRef, Money, Ms, TouchAsked
from bot.records import Cart, Order


def key_of(record: Order | Cart, rule: str, *parts: str) -> str:
    """The message key `{shop}|{rule}|{order}|…`: no buyer gets two messages with one key."""
    id = record.id if isinstance(record, Order) else record.token
    return "|".join((record.shop, rule, id, *parts))


def touch(
    record: Order | Cart,
    notice: str,
    *,
    values: Mapping[str, object],
    parts: Sequence[str] = (),
    guard: Guard | None = None,
    not_after: Ms = 0,
    not_before_returning: Ms = 0,
    since: Ms = 0,
    source: str = "",
    large: bool = False,
    parcel: str = "",
    purpose: Literal["service", "marketing"] = "service",
) -> TouchAsked:
    """A touch with its variables as text. Empty values are left out: wordings guard every one of them."""
    texts = {name: _text(value) for name, value in values.items() if value}
    return TouchAsked(
        notice=notice,
        key=key_of(record, notice, *parts),
        vars=texts,
        guard=guard,
        not_after=not_after,
        not_before_returning=not_before_returning,
        since=since,
        source=source or f"journey:{notice}/1",
        large=large,
        parcel=parcel,
        purpose=purpose,
    )


def _text(value: object) -> str:
    return f"{value.amount} {value.currency}" if isinstance(value, Money) else str(value)


def values(texts: Mapping[str, str], *names: str) -> dict[str, object]:
    """Variables for a wording: every name is there, "" where the touch has none; times and amounts typed again."""
    out: dict[str, object] = {}
    for name in names:
        text = texts.get(name, "")
        if name.endswith("_at"):
            out[name] = int(text) if text else 0
        elif name in ("total", "amount") and text:
            amount, _, currency = text.partition(" ")
            out[name] = Money(Decimal(amount), currency)
        else:
            out[name] = text
    return out


def item_of(items: Sequence[Item]) -> str:
    """The first item's short title, else its title."""
    return (items[0].short_title or items[0].title) if items else ""


def item_ref(record: Order | Cart) -> ItemRef | None:
    """The first item of an order or cart, as it is spoken of."""
    if not record.items:
        return None
    first = record.items[0]
    return ItemRef(record.shop, first.product_id, first.sku, first.title, first.size)


def others_of(items: Sequence[Item]) -> int:
    """How many pieces there are beside the first."""
    return max(0, sum(item.qty for item in items) - 1)
