"""What the gateway does: one module per buyer intent or shop event. Add a line to `ALL` to add one."""

from __future__ import annotations

from bot.handling import Handler
from handlers import (
    cart_ladder,
    cases,
    club,
    coupons,
    member_card,
    my_orders,
    notices,
    opt,
    order_lifecycle,
    own_data,
    pages,
    products,
    profile,
    refund,
    shipping,
    size_advice,
    staff,
    welcome,
)

ALL: tuple[Handler, ...] = (
    welcome.HANDLER,
    member_card.HANDLER,
    profile.HANDLER,
    coupons.HANDLER,
    my_orders.HANDLER,
    products.HANDLER,
    size_advice.HANDLER,
    opt.HANDLER,
    cases.HANDLER,
    own_data.HANDLER,
    pages.HANDLER,
    staff.HANDLER,
    order_lifecycle.HANDLER,
    shipping.HANDLER,
    refund.HANDLER,
    cart_ladder.HANDLER,
    notices.HANDLER,
    club.HANDLER,
)
