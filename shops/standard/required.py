"""Which facts each type of event must bring. A missing one is named; docs/shops/standard.md holds the same table.

A fact is missing when it is absent, null or blank. An empty list is there: a cart may be empty, a buyer without a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.errors import PayloadError
from shops.standard.sections import club_facts, section, text_of

_REFUND = ("refund.id", "order.id", "refund.amount", "refund.kind")
_CART = ("checkout.token", "checkout.items", "checkout.total")
_BUYER = ("buyer.ref", "buyer.phones", "buyer.consent")
_COUPON = ("coupon.code", "coupon.value?", "coupon.expires_at", "coupon.min_spend?")
FACTS: Mapping[str, tuple[str, ...]] = {
    "order.created": ("order.id", "order.number", "order.total", "order.pay_state", "order.placed_at"),
    "payment.failed": ("order.id",),
    "order.paid": ("order.id", "order.paid_at", "order.total"),
    "order.updated": ("order.id",),
    "order.cancelled": ("order.id",),
    "order.closed_unpaid": ("order.id",),
    "order.completed": ("order.id",),
    "shipment.created": ("shipment.id", "order.id", "shipment.carrier", "shipment.tracking_no"),
    "shipment.updated": ("shipment.id", "shipment.state", "shipment.scan_at"),
    **dict.fromkeys(
        ("refund.requested", "refund.approved", "refund.rejected", "refund.succeeded", "refund.closed"), _REFUND
    ),
    **dict.fromkeys(("checkout.updated", "cart.abandoned"), _CART),
    **dict.fromkeys(("buyer.created", "buyer.updated", "buyer.consent_changed"), _BUYER),
    **dict.fromkeys(("member.joined", "member.tier_changed", "member.points_changed"), ("buyer.ref",)),
    **dict.fromkeys(("coupon.issued", "coupon.expiring", "coupon.redeemed"), _COUPON),
    "review.created": ("order.id",),
    "product.upserted": ("product.id", "product.title"),
    "product.removed": ("product.id",),
    **dict.fromkeys(("stock.changed", "price.changed"), ("product.id", "product.variants")),
    **dict.fromkeys(("privacy.data_request", "privacy.redact_customer"), ("buyer.ref",)),
}
"""Paths below `data`; a `?` at the end: the key must be there, null says that there is none (no minimum spend)."""

REACHABLE = frozenset(("order.created", "checkout.updated", "cart.abandoned"))
"""Types whose buyer, where one is named, must be reachable. `buyer: null` is allowed: a later event may name one."""


def check(kind: str, data: Mapping[str, Any]) -> None:
    """Raises PayloadError with the path below `data` of the first fact that is missing."""
    for path in FACTS.get(kind, ()):
        name, _, fact = path.removesuffix("?").partition(".")
        found = section(data, name) or {}
        if not (fact in found if path.endswith("?") else _given(found, fact)):
            raise _missing(f"{name}.{fact}")
    if kind.startswith("member.") and not club_facts(data)["tier"]:
        raise _missing("member.tier", " (or buyer.tier)")
    if kind in REACHABLE:
        buyer = section(data, "buyer")
        # A shop that knows the chat address needs no number.
        if buyer is not None and not (_numbers(buyer) or _given(buyer, "email") or _given(buyer, "address")):
            raise _missing("buyer.phones", " (or buyer.email)")
    if kind == "order.created":
        order = section(data, "order") or {}
        if text_of(order, "pay_state") == "unpaid" and order.get("cod") is not True and not _given(order, "pay_url"):
            raise _missing("order.pay_url", ": an unpaid order needs one")


def _given(found: Mapping[str, Any], fact: str) -> bool:
    value = found.get(fact)
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _numbers(buyer: Mapping[str, Any]) -> bool:
    """Whether any number is named, masked ones too; what is no list is refused where it is read."""
    phones = buyer.get("phones")
    return any(phone not in (None, "") for phone in phones) if isinstance(phones, list) else bool(phones)


def _missing(path: str, more: str = "") -> PayloadError:
    return PayloadError(f"data.{path} is missing{more}", field=path)
