"""The envelope of normalised shop events, from JSON to an Event. Also what `POST /api/v1/events` takes.

Strict where a guess could harm: ids become text, money stays exact, duplicate keys, NaN, deep nesting and numbers of
thousands of digits are refused, and a missing required fact is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from bot import subjects
from bot.errors import PayloadError
from bot.events import (
    SHOP_EVENT_TYPES,
    BuyerFacts,
    CheckoutFacts,
    Event,
    Item,
    Money,
    Ms,
    OrderFacts,
    RefundFacts,
    ShipmentFacts,
    ShopEvent,
)

MAX_DEPTH = 20
MAX_ITEMS = 200
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
SHIP_STATES = frozenset(
    "label accepted in_transit arrived_city out_for_delivery delivered returned exception unknown cancelled".split()
)
PAY_STATES = frozenset("unpaid authorized partially_paid paid partially_refunded refunded".split())
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "order.created": ("order.id", "order.placed_at"),
    "order.paid": ("order.id",),
    "payment.failed": ("order.id",),
    "order.cancelled": ("order.id",),
    "order.closed_unpaid": ("order.id",),
    "order.completed": ("order.id",),
    "order.updated": ("order.id",),
    "shipment.created": ("shipment.id", "order.id"),
    "shipment.updated": ("shipment.id", "shipment.state"),
    "refund.requested": ("refund.id", "order.id"),
    "refund.approved": ("refund.id", "order.id"),
    "refund.rejected": ("refund.id", "order.id"),
    "refund.succeeded": ("refund.id", "order.id"),
    "refund.closed": ("refund.id", "order.id"),
    "checkout.updated": ("checkout.token",),
    "cart.abandoned": ("checkout.token",),
    "review.created": ("order.id",),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a shop's envelopes are read: its name, its zone for naive times, and its numbers' country."""

    shop: str
    zone: tzinfo
    parse_phone: Callable[[str, str], str]
    country: str


class UnknownTypeError(PayloadError):
    """A well-formed envelope of a type that the gateway does not know."""


def decode(raw: bytes) -> Any:
    """JSON, strictly. Raises PayloadError."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=Decimal, parse_int=_int
        )
    except PayloadError:
        raise
    except RecursionError as error:
        raise PayloadError("the JSON is nested too deeply") from error
    except (ValueError, ArithmeticError) as error:
        raise PayloadError("the body is not JSON in UTF-8") from error
    _check(value, 0)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PayloadError("a key stands twice in one object")
    return found


def _constant(_: str) -> Any:
    raise PayloadError("NaN and Infinity are not JSON")


def _int(text: str) -> int:
    if len(text) > 30:
        raise PayloadError("a number has more than 30 digits")
    return int(text)


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PayloadError("the JSON is nested too deeply")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise PayloadError("a text holds half a surrogate pair") from error
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check(name, depth + 1)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)


def to_event(value: Any, reading: Reading, *, delivery_id: str = "", received: Ms) -> Event:
    """One envelope as an Event. Raises PayloadError naming the field; UnknownTypeError for an unknown type."""
    if not isinstance(value, dict):
        raise PayloadError("the envelope must be a JSON object")
    kind = _text(value, "type")
    if not kind:
        raise PayloadError("type is missing", field="type")
    if kind not in SHOP_EVENT_TYPES:
        raise UnknownTypeError(f"unknown type {kind[:60]!r}", field="type")
    data = value.get("data")
    if not isinstance(data, dict):
        raise PayloadError("data must be an object", field="data")
    id = _text(value, "id") or delivery_id
    if not id:
        raise PayloadError("id is missing", field="id")
    # `timestamp` is the word of Standard Webhooks for the same fact.
    at = _time(value, "occurred_at", reading.zone) or _time(value, "timestamp", reading.zone)
    if not at:
        raise PayloadError("occurred_at is missing", field="occurred_at")
    for path in _REQUIRED.get(kind, ()):
        _require(data, path)
    body = _shop_event(kind, at, value, data, reading)
    return Event(f"{reading.shop}|{id}", _subject(body), reading.shop, at, received, body)


def _require(data: Mapping[str, Any], path: str) -> None:
    section, _, name = path.partition(".")
    found = data.get(section)
    if not isinstance(found, dict) or not _text(found, name):
        raise PayloadError(f"data.{path} is missing", field=f"data.{path}")


def _shop_event(kind: str, at: Ms, value: Mapping[str, Any], data: Mapping[str, Any], reading: Reading) -> ShopEvent:
    version = value.get("version") if isinstance(value.get("version"), dict) else {}
    assert isinstance(version, dict)
    seq = version.get("seq")
    country = _country(data, reading)
    rating = (
        data.get("rating") or (data.get("review") or {}).get("rating")
        if isinstance(data.get("review") or {}, dict)
        else 0
    )
    return ShopEvent(
        kind=kind,
        shop=reading.shop,
        occurred_at=at,
        version=_time(version, "source_time", reading.zone) or at,
        seq=seq if isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < 2**53 else 0,
        order=_order(_section(data, "order"), reading),
        buyer=_buyer(_section(data, "buyer"), reading, country),
        shipment=_shipment(_section(data, "shipment"), reading),
        refund=_refund(_section(data, "refund")),
        checkout=_checkout(_section(data, "checkout"), reading),
        rating=rating if isinstance(rating, int) and 0 <= rating <= 5 else 0,
    )


def _subject(body: ShopEvent) -> str:
    family = body.kind.partition(".")[0]
    if family in ("checkout", "cart") and body.checkout is not None:
        return subjects.cart(body.shop, body.checkout.token)
    if family == "shipment" and body.order is None and body.shipment is not None:
        return subjects.parcel(body.shop, body.shipment.id)
    if body.order is not None:
        return subjects.order(body.shop, body.order.id)
    if family in ("buyer", "member") and body.buyer is not None:
        facts = body.buyer
        if facts.ref:
            return subjects.shopper(body.shop, facts.ref)
        if facts.phones:
            return subjects.phone(facts.phones[0])
        if facts.email:
            return subjects.email(facts.email)
    return subjects.account(body.shop)


# --- sections ---------------------------------------------------------------------------------------------------------


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = data.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise PayloadError(f"data.{name} must be an object", field=f"data.{name}")
    return found


def _text(data: Mapping[str, Any], name: str, limit: int = 500) -> str:
    found = data.get(name)
    if found is None:
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int | Decimal):
        raise PayloadError(f"{name} must be text", field=name)
    return str(found).strip()[:limit]


def _time(data: Mapping[str, Any], name: str, zone: tzinfo) -> Ms:
    text = _text(data, name, 60)
    if not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
        aware = when if when.tzinfo else when.replace(tzinfo=zone)
        return int(aware.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"{name} is no RFC 3339 time", field=name) from error


def _money(data: Mapping[str, Any], name: str) -> Money | None:
    found = data.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise PayloadError(f'{name} must be {{"amount", "currency"}}', field=name)
    amount, currency = found.get("amount"), _text(found, "currency", 10)
    if isinstance(amount, bool) or not isinstance(amount, str | int) or not _AMOUNT.fullmatch(str(amount)):
        raise PayloadError(f"{name}.amount must be a decimal string such as 88.00", field=f"{name}.amount")
    if not _CURRENCY.fullmatch(currency):
        raise PayloadError(f"{name}.currency must be an ISO 4217 code", field=f"{name}.currency")
    return Money(Decimal(str(amount)), currency)


def _items(data: Mapping[str, Any]) -> tuple[Item, ...]:
    found = data.get("items")
    if found is None:
        return ()
    if not isinstance(found, list):
        raise PayloadError("items must be a list", field="items")
    out = []
    for one in found[:MAX_ITEMS]:
        if not isinstance(one, dict):
            raise PayloadError("an item must be an object", field="items")
        qty = one.get("qty", 1)
        out.append(
            Item(
                title=_text(one, "title", 200),
                qty=qty if isinstance(qty, int) and 0 < qty < 100_000 else 1,
                sku=_text(one, "sku", 100),
                price=_money(one, "price"),
                short_title=_text(one, "short_title", 30),
                product_id=_text(one, "product_id", 100),
            )
        )
    return tuple(out)


def _order(data: Mapping[str, Any] | None, reading: Reading) -> OrderFacts | None:
    if data is None or not _text(data, "id", 200):
        return None
    pay_state = _text(data, "pay_state", 40)
    if pay_state and pay_state not in PAY_STATES:
        raise PayloadError(
            f"order.pay_state must be one of {', '.join(sorted(PAY_STATES))}", field="data.order.pay_state"
        )
    cod = data.get("cod")
    city = data.get("ship_to")
    return OrderFacts(
        id=_text(data, "id", 200),
        number=_text(data, "number", 60),
        status=_text(data, "status", 40),
        pay_state=pay_state,
        total=_money(data, "total"),
        pay_url=_url(data, "pay_url"),
        status_url=_url(data, "status_url"),
        items=_items(data),
        placed_at=_time(data, "placed_at", reading.zone),
        paid_at=_time(data, "paid_at", reading.zone),
        pay_expires_at=_time(data, "pay_expires_at", reading.zone),
        ship_by=_time(data, "ship_by", reading.zone),
        cod=cod if isinstance(cod, bool) else None,
        reason=_text(data, "reason", 200),
        city=_text(city, "city", 60) if isinstance(city, dict) else "",
    )


def _url(data: Mapping[str, Any], name: str) -> str:
    found = _text(data, name, 2000)
    if found and not found.startswith(("https://", "http://")):
        raise PayloadError(f"{name} must be a web address", field=name)
    return found


def _country(data: Mapping[str, Any], reading: Reading) -> str:
    order = data.get("order")
    ship_to = order.get("ship_to") if isinstance(order, dict) else None
    found = _text(ship_to, "country").upper() if isinstance(ship_to, dict) else ""
    return found if _COUNTRY.fullmatch(found) else reading.country


def _buyer(data: Mapping[str, Any] | None, reading: Reading, country: str) -> BuyerFacts | None:
    if data is None:
        return None
    phones = data.get("phones") or []
    if not isinstance(phones, list):
        raise PayloadError("buyer.phones must be a list", field="data.buyer.phones")
    numbers = [reading.parse_phone(str(phone), country) for phone in phones[:5] if isinstance(phone, str | int)]
    consent = data.get("consent")
    consent = consent if isinstance(consent, dict) else {}
    answer = _text(consent, "sms", 10) or "unknown"
    is_new = data.get("is_new")
    return BuyerFacts(
        ref=_text(data, "ref", 200),
        name=_text(data, "name", 60),
        phones=tuple(dict.fromkeys(n for n in numbers if n)),
        email=_text(data, "email", 200).casefold(),
        locale=_text(data, "locale", 20),
        is_new=is_new if isinstance(is_new, bool) else None,
        sms_consent="yes" if answer == "yes" else "no" if answer == "no" else "unknown",
        consent_at=_time(consent, "updated_at", reading.zone),
        address=_text(data, "address", 200),
    )


def _shipment(data: Mapping[str, Any] | None, reading: Reading) -> ShipmentFacts | None:
    if data is None:
        return None
    state = _text(data, "state", 40)
    if state and state not in SHIP_STATES:
        raise PayloadError(
            f"shipment.state must be one of {', '.join(sorted(SHIP_STATES))}", field="data.shipment.state"
        )
    return ShipmentFacts(
        id=_text(data, "id", 200),
        carrier=_text(data, "carrier", 60),
        tracking_no=_text(data, "tracking_no", 60),
        tracking_url=_url(data, "tracking_url"),
        state=state,
        reason=_text(data, "reason", 60),
        city=_text(data, "city", 60),
        scan_at=_time(data, "scan_at", reading.zone),
        eta=_time(data, "eta", reading.zone),
        place=_text(data, "place", 60),
        pickup_code=_text(data, "pickup_code", 30),
    )


def _refund(data: Mapping[str, Any] | None) -> RefundFacts | None:
    if data is None:
        return None
    return RefundFacts(id=_text(data, "id", 200), amount=_money(data, "amount"), kind=_text(data, "kind", 40))


def _checkout(data: Mapping[str, Any] | None, reading: Reading) -> CheckoutFacts | None:
    if data is None or not _text(data, "token", 200):
        return None
    return CheckoutFacts(
        token=_text(data, "token", 200),
        items=_items(data),
        total=_money(data, "total"),
        recover_url=_url(data, "recover_url"),
        updated_at=_time(data, "updated_at", reading.zone),
        started_at=_time(data, "started_at", reading.zone),
    )
