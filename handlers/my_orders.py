"""The buyer's orders, newest first, in words."""

from __future__ import annotations

from collections.abc import Sequence

from bot.effects import Effect, Say
from bot.handling import Handler, Trigger, Turn

SHOWN = 3


def orders(turn: Turn) -> Sequence[Effect]:
    """The last orders with where they stand."""
    known = sorted(turn.buyer.orders, key=lambda order: order.placed_at, reverse=True)[:SHOWN]
    if not known:
        return [Say("orders_none")]
    lines = [
        {
            "number": order.number or order.id,
            "title": order.title,
            "pay": order.pay,
            "ship": order.ship,
            "refund": order.refund,
            "total": order.total or "",
        }
        for order in known
    ]
    return [Say("orders_list", {"orders": lines})]


HANDLER = Handler(name="my_orders", runs={Trigger("intent", "orders"): orders})
