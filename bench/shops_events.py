"""The orders of an invented shop as the events that a shop system would post: small sets for tests through the front door."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from bench.shops import COLUMNS, Shop
from bot.clock import rfc3339
from ledger.tables import SCALE

Row = dict[str, Any]


def rows(shop: Shop) -> dict[str, list[Row]]:
    """The shop's rows, by table and name. For small shops: all at once."""
    found: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for made in shop.chunks():
        for name, some in made.items():
            found[name] += [dict(zip(COLUMNS[name], row, strict=True)) for row in some]
    return found


def envelopes(made: dict[str, list[Row]], shop: str = "main") -> Iterator[Row]:
    """One `order.paid` or `order.created` per order, in no order of time; buyers are told by reference, and number or e-mail."""
    buyers = {row["id"]: row for row in made["buyers"]}
    phones = {row["buyer"]: row["phone"] for row in made["phones"]}
    items: dict[str, list[Row]] = {}
    for item in made["items"]:
        items.setdefault(item["subject"], []).append(item)
    for order in made["orders"]:
        buyer, paid = buyers[order["buyer"]], order["paid_at"]
        yield {
            "type": "order.paid" if paid else "order.created",
            "id": f"{order['subject']}|{order['pay']}",
            "shop": shop,
            "occurred_at": rfc3339(paid or order["placed_at"]),
            "data": {
                "order": _order(order, items[order["subject"]]),
                "buyer": {
                    "ref": buyer["id"],
                    "name": buyer["name"] or None,
                    "phones": [phones[buyer["id"]]] if buyer["id"] in phones else [],
                    "email": f"{buyer['id']}@example.test",
                    "locale": buyer["locale"] or None,
                },
            },
        }


def _order(order: Row, items: list[Row]) -> Row:
    return {
        "id": order["id"],
        "number": order["number"],
        "pay_state": "paid" if order["paid_at"] else "unpaid",
        "total": _money(order["total"]),
        "placed_at": rfc3339(order["placed_at"]),
        "paid_at": rfc3339(order["paid_at"]) if order["paid_at"] else None,
        "pay_url": None if order["paid_at"] else f"https://shop.example/pay/{order['id']}",
        "ship_to": {"city": order["city"]},
        "items": [
            {
                "title": one["title"],
                "qty": one["qty"],
                "sku": one["sku"],
                "product_id": one["product"],
                "price": _money(one["price"]),
            }
            for one in items
        ],
    }


def _money(scaled: int | Decimal) -> dict[str, str]:
    return {"amount": str(Decimal(scaled) / SCALE if isinstance(scaled, int) else scaled), "currency": "CNY"}
