"""The envelope of normalised shop events, from JSON to an Event. Also what `POST /api/v1/events` takes.

Strict where a guess could harm: ids become text, money stays exact, and a missing required fact is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import structs

from bot import subjects
from bot.errors import PayloadError
from bot.events import SHOP_EVENT_TYPES, Event, Ms, ShopEvent
from shops.standard import products, required
from shops.standard.sections import (
    Reading,
    buyer_facts,
    checkout_facts,
    club_facts,
    count_of,
    country_of,
    id_of,
    order_facts,
    refund_facts,
    section,
    shipment_facts,
    text_of,
    time_of,
    within,
)

MOST_SEQ = 2**53 - 1
PRODUCT_KINDS = frozenset(("product.upserted", "product.removed", "stock.changed", "price.changed"))
_T = TypeVar("_T")


class UnknownTypeError(PayloadError):
    """A well-formed envelope of a type that the gateway does not know."""


def to_event(value: Any, reading: Reading, *, delivery_id: str = "", received: Ms) -> Event:
    """One envelope as an Event. Raises PayloadError naming the field; UnknownTypeError for an unknown type."""
    if not isinstance(value, dict):
        raise PayloadError("the envelope must be a JSON object")
    kind = text_of(value, "type")
    if not kind:
        raise PayloadError("type is missing", field="type")
    if kind not in SHOP_EVENT_TYPES:
        raise UnknownTypeError(f"unknown type {kind[:60]!r}", field="type")
    data = value.get("data")
    if not isinstance(data, dict):
        raise PayloadError("data must be an object", field="data")
    id = id_of(value, "id", 500) or delivery_id
    if not id:
        raise PayloadError("id is missing", field="id")
    # `timestamp` is the word of Standard Webhooks for the same fact.
    at = time_of(value, "occurred_at", reading.zone) or time_of(value, "timestamp", reading.zone)
    if not at:
        raise PayloadError("occurred_at is missing", field="occurred_at")
    version, seq = _version(value, reading)
    with within("data"):
        required.check(kind, data)
        body = _shop_event(kind, at, version or at, seq, data, reading)
    return Event(f"{reading.shop}|{id}", _subject(body), reading.shop, at, received, body)


def _version(value: Mapping[str, Any], reading: Reading) -> tuple[Ms, int]:
    """The time and the number that order this event among others; 0 for what the shop does not say."""
    version = value.get("version")
    if not isinstance(version, dict):
        return 0, 0
    with within("version"):
        return time_of(version, "source_time", reading.zone), count_of(version, "seq", MOST_SEQ)


def _shop_event(kind: str, at: Ms, version: Ms, seq: int, data: Mapping[str, Any], reading: Reading) -> ShopEvent:
    review = data.get("review")
    country = country_of(data, reading)
    product = _read(data, "product", products.product_facts) if kind in PRODUCT_KINDS else None
    if product is not None and (path := products.missing(kind, product)):
        raise PayloadError(f"data.product.{path} is missing", field=f"product.{path}")
    buyer = _read(data, "buyer", lambda found: buyer_facts(found, reading, country))
    if buyer is not None and buyer.sms_consent == "no" and not buyer.consent_at:
        buyer = structs.replace(buyer, consent_at=at)  # a refusal needs no date of its own
    if buyer is not None and kind.startswith("member."):
        buyer = structs.replace(buyer, **club_facts(data), club_at=version)
    return ShopEvent(
        kind=kind,
        shop=reading.shop,
        occurred_at=at,
        version=version,
        seq=seq,
        order=_read(data, "order", lambda found: order_facts(found, reading)),
        buyer=buyer,
        shipment=_read(data, "shipment", lambda found: shipment_facts(found, reading)),
        refund=_read(data, "refund", refund_facts),
        checkout=_read(data, "checkout", lambda found: checkout_facts(found, reading)),
        product=product,
        rating=count_of(data, "rating", 5) or count_of(review if isinstance(review, dict) else {}, "rating", 5),
    )


def _read(data: Mapping[str, Any], name: str, make: Callable[[Mapping[str, Any]], _T]) -> _T | None:
    found = section(data, name)
    if found is None:
        return None
    with within(name):
        return make(found)


def _subject(body: ShopEvent) -> str:
    family = body.kind.partition(".")[0]
    if body.kind == "privacy.redact_customer" and body.buyer is not None:
        return subjects.shopper(body.shop, body.buyer.ref)
    if body.product is not None:
        return subjects.product(body.shop, body.product.id)
    if family in ("checkout", "cart") and body.checkout is not None:
        return subjects.cart(body.shop, body.checkout.token)
    if family == "shipment" and body.order is None and body.shipment is not None:
        return subjects.parcel(body.shop, body.shipment.id)
    if body.order is not None:
        return subjects.order(body.shop, body.order.id)
    if family in ("buyer", "member") and body.buyer is not None:
        return subjects.shopper(body.shop, body.buyer.ref)
    return subjects.account(body.shop)
