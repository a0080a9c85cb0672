"""One full event of every type that a shop may post, people and numbers invented: what tests post, break and permute."""

from __future__ import annotations

from typing import Any

from bot.events import SHOP_EVENT_TYPES

AT = "2026-09-21T14:00:00Z"
MONEY = {"amount": "188.00", "currency": "CNY"}
ITEM = {"title": "亚麻宽松衬衫", "short_title": "亚麻衬衫", "qty": 1, "sku": "LS-M", "price": MONEY, "product_id": "31"}
BUYER = {
    "ref": "701",
    "name": "林小满",
    "phones": ["13900001234"],
    "email": "lin@example.test",
    "locale": "zh-CN",
    "is_new": True,
    "consent": {"sms": "yes", "updated_at": AT},
}
ORDER = {
    "id": "5001",
    "number": "#5001",
    "pay_state": "unpaid",
    "total": MONEY,
    "pay_url": "https://shop.example/pay/5001",
    "status_url": "https://shop.example/order/5001",
    "items": [ITEM],
    "placed_at": AT,
    "pay_expires_at": "2026-09-22T14:00:00Z",
    "ship_by": "2026-09-23T14:00:00Z",
    "cod": False,
    "ship_to": {"country": "CN", "province": "广东", "city": "广州"},
}
PAID = {**ORDER, "pay_state": "paid", "paid_at": AT}
SHIPMENT = {
    "id": "s1",
    "carrier": "顺丰",
    "tracking_no": "SF0001",
    "tracking_url": "https://t.example/SF0001",
    "state": "arrived_city",
    "reason": "none",
    "city": "广州",
    "scan_at": AT,
    "eta": "2026-09-22T14:00:00Z",
    "place": "小满驿站",
    "pickup_code": "12-3-4567",
}
REFUND = {"id": "r1", "amount": MONEY, "kind": "refund_only",
          "items": [{"sku": "LS-M", "size": "M", "qty": 1, "reason_code": "size_small"}]}  # fmt: skip
CHECKOUT = {
    "token": "t1",
    "items": [ITEM],
    "total": MONEY,
    "recover_url": "https://shop.example/cart/t1",
    "updated_at": AT,
    "started_at": AT,
}
COUPON = {"code": "K7QF2M9PXWT4", "value": MONEY, "expires_at": AT, "min_spend": None, "kind": "amount_off"}
PRODUCT = {"id": "31", "title": "亚麻宽松衬衫", "variants": [{"sku": "LS-M", "price": MONEY, "stock": 3}]}

_SECTIONS: dict[str, dict[str, Any]] = {
    "shipment": {"order": {"id": "5001"}, "shipment": SHIPMENT, "buyer": BUYER},
    "refund": {"order": {"id": "5001"}, "refund": REFUND, "buyer": BUYER},
    "checkout": {"checkout": CHECKOUT, "buyer": BUYER},
    "cart": {"checkout": CHECKOUT, "buyer": BUYER},
    "buyer": {"buyer": BUYER},
    "member": {"buyer": BUYER, "member": {"tier": "gold"}},
    "coupon": {"buyer": BUYER, "coupon": COUPON},
    "review": {"order": {"id": "5001"}, "buyer": BUYER, "rating": 4},
    "product": {"product": PRODUCT},
    "stock": {"product": PRODUCT},
    "price": {"product": PRODUCT},
    "privacy": {"buyer": BUYER},
    "shop": {},
}


def data(kind: str) -> dict[str, Any]:
    """All that an event of this type may say."""
    family = kind.partition(".")[0]
    if family in ("order", "payment"):
        paid = kind in ("order.paid", "order.completed")
        return {"order": PAID if paid else {**ORDER, "reason": "customer"}, "buyer": BUYER, "checkout": CHECKOUT}
    return _SECTIONS[family]


def envelope(kind: str) -> dict[str, Any]:
    """A whole event of this type."""
    return {
        "type": kind,
        "id": f"evt-{kind}",
        "occurred_at": AT,
        "version": {"source_time": AT, "seq": 3},
        "data": data(kind),
    }


KINDS = tuple(sorted(SHOP_EVENT_TYPES))
