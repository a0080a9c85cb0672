"""The sections of an envelope's data: typed values, or a PayloadError that names the field by its full path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from bot.errors import PayloadError
from bot.events import BuyerFacts, CheckoutFacts, Item, Money, Ms, OrderFacts, RefundFacts, RefundItem, ShipmentFacts
from bot.locales import negotiate

MAX_ITEMS = 200
LONGEST_TIER, MOST_POINTS = 30, 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
SHIP_STATES = frozenset(
    "label accepted in_transit arrived_city out_for_delivery delivered returned exception unknown cancelled".split()
)
PAY_STATES = frozenset("unpaid authorized partially_paid paid partially_refunded refunded".split())
RETURN_REASONS = frozenset("size_small size_large quality missing not_as_shown late changed_mind other".split())
REFUND_KINDS = frozenset(("refund_only", "return_refund", "exchange"))


@dataclass(frozen=True, slots=True)
class Reading:
    """How a shop's envelopes are read: its name, its zone for naive times, and its numbers' country."""

    shop: str
    zone: tzinfo
    parse_phone: Callable[[str, str], str]
    country: str


@contextmanager
def within(path: str) -> Iterator[None]:
    """Faults raised inside name their field from the envelope's root: `amount` becomes `data.refund.amount`."""
    try:
        yield
    except PayloadError as error:
        raise PayloadError(error.detail, field=f"{path}.{error.field}" if error.field else path) from error


def section(data: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """One object of data, or None. Raises PayloadError for anything else."""
    found = data.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise PayloadError(f"{name} must be an object", field=name)
    return found


def text_of(data: Mapping[str, Any], name: str, limit: int = 500) -> str:
    """A text, or a number as text, trimmed and cut at `limit`; "" where there is none."""
    found = data.get(name)
    if found is None:
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int | Decimal):
        raise PayloadError(f"{name} must be text", field=name)
    return str(found).strip()[:limit]


def id_of(data: Mapping[str, Any], name: str, limit: int = 200) -> str:
    """What names a thing, whole: cut, two names could become one. Raises PayloadError for one over `limit`."""
    found = text_of(data, name, limit + 1)
    if len(found) > limit:
        raise PayloadError(f"{name} has over {limit} characters", field=name)
    return found


def count_of(data: Mapping[str, Any], name: str, most: int) -> int:
    """A whole number from 0 to `most`, else 0."""
    found = data.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= most else 0


def time_of(data: Mapping[str, Any], name: str, zone: tzinfo) -> Ms:
    """An RFC 3339 time, one without an offset in `zone`; 0 where there is none."""
    text = text_of(data, name, 60)
    if not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
        aware = when if when.tzinfo else when.replace(tzinfo=zone)
        return (aware - _EPOCH) // timedelta(milliseconds=1)  # a float would lose a millisecond now and then
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"{name} is no RFC 3339 time", field=name) from error


def money_of(data: Mapping[str, Any], name: str) -> Money | None:
    """An exact amount, None where there is none."""
    found = data.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise PayloadError(f'{name} must be {{"amount", "currency"}}', field=name)
    amount, currency = found.get("amount"), text_of(found, "currency", 10)
    if isinstance(amount, bool) or not isinstance(amount, str | int) or not _AMOUNT.fullmatch(str(amount)):
        raise PayloadError(f"{name}.amount must be a decimal string such as 88.00", field=f"{name}.amount")
    if not _CURRENCY.fullmatch(currency):
        raise PayloadError(f"{name}.currency must be an ISO 4217 code", field=f"{name}.currency")
    return Money(Decimal(str(amount)), currency)


def _objects(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = data.get("items")
    if found is not None and not isinstance(found, list):
        raise PayloadError("items must be a list", field="items")
    for one in (found or [])[:MAX_ITEMS]:
        if not isinstance(one, dict):
            raise PayloadError("an item must be an object", field="items")
        yield one


def _items(data: Mapping[str, Any]) -> tuple[Item, ...]:
    out = []
    for one in _objects(data):
        qty = one.get("qty", 1)
        variant = one.get("variant")
        options = variant if isinstance(variant, dict) else {}
        out.append(
            Item(
                title=text_of(one, "title", 200),
                qty=qty if isinstance(qty, int) and 0 < qty < 100_000 else 1,
                sku=text_of(one, "sku", 100),
                price=money_of(one, "price"),
                short_title=text_of(one, "short_title", 30),
                product_id=text_of(one, "product_id", 100),
                size=text_of(options, "size", 30),
                color=text_of(options, "color", 30),
            )
        )
    return tuple(out)


def order_facts(data: Mapping[str, Any], reading: Reading) -> OrderFacts | None:
    """What is said of the order; None without its id."""
    if not id_of(data, "id"):
        return None
    pay_state = _one_of(data, "pay_state", PAY_STATES)
    cod = data.get("cod")
    city = data.get("ship_to")
    return OrderFacts(
        id=id_of(data, "id"),
        number=text_of(data, "number", 60),
        status=text_of(data, "status", 40),
        pay_state=pay_state,
        total=money_of(data, "total"),
        pay_url=url_of(data, "pay_url"),
        status_url=url_of(data, "status_url"),
        items=_items(data),
        placed_at=time_of(data, "placed_at", reading.zone),
        paid_at=time_of(data, "paid_at", reading.zone),
        pay_expires_at=time_of(data, "pay_expires_at", reading.zone),
        ship_by=time_of(data, "ship_by", reading.zone),
        cod=cod if isinstance(cod, bool) else None,
        reason=text_of(data, "reason", 200),
        city=text_of(city, "city", 60) if isinstance(city, dict) else "",
    )


def _one_of(data: Mapping[str, Any], name: str, values: frozenset[str]) -> str:
    found = text_of(data, name, 40)
    if found and found not in values:
        raise PayloadError(f"{name} must be one of {', '.join(sorted(values))}", field=name)
    return found


def url_of(data: Mapping[str, Any], name: str) -> str:
    """A web address, "" where there is none."""
    found = text_of(data, name, 2000)
    if found and not found.startswith(("https://", "http://")):
        raise PayloadError(f"{name} must be a web address", field=name)
    return found


def country_of(data: Mapping[str, Any], reading: Reading) -> str:
    """The country that national numbers are read by: the parcel's, else the brand's."""
    order = data.get("order")
    ship_to = order.get("ship_to") if isinstance(order, dict) else None
    found = text_of(ship_to, "country").upper() if isinstance(ship_to, dict) else ""
    return found if _COUNTRY.fullmatch(found) else reading.country


def buyer_facts(data: Mapping[str, Any], reading: Reading, country: str) -> BuyerFacts:
    """Whom the event is about; masked numbers are left out."""
    phones = data.get("phones") or []
    if not isinstance(phones, list):
        raise PayloadError("phones must be a list", field="phones")
    numbers = [reading.parse_phone(str(phone), country) for phone in phones[:5] if isinstance(phone, str | int)]
    consent = data.get("consent")
    consent = consent if isinstance(consent, dict) else {}
    with within("consent"):
        answer = text_of(consent, "sms", 10)
        answered_at = time_of(consent, "updated_at", reading.zone)
    is_new = data.get("is_new")
    return BuyerFacts(
        ref=id_of(data, "ref"),
        name=text_of(data, "name", 60),
        phones=tuple(dict.fromkeys(n for n in numbers if n)),
        email=id_of(data, "email").casefold(),
        locale=negotiate(text_of(data, "locale", 20)),
        is_new=is_new if isinstance(is_new, bool) else None,
        sms_consent="yes" if answer == "yes" else "no" if answer == "no" else "unknown",
        consent_at=answered_at,
        address=id_of(data, "address"),
    )


def club_place(data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Where the shop's club says what it says: in `member`, in the buyer, or beside them; the path and what is there."""
    for name in ("member", "buyer"):
        found = section(data, name)
        if found is not None and text_of(found, "tier", LONGEST_TIER):
            return f"{name}.", found
    return ("", data) if text_of(data, "tier", LONGEST_TIER) else ("member.", section(data, "member") or {})


def club_facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """`tier` and `points`, where they are told."""
    path, found = club_place(data)
    told: dict[str, Any] = {"tier": text_of(found, "tier", LONGEST_TIER)}
    if (points := found.get("points")) is not None:
        if isinstance(points, bool) or not isinstance(points, int) or not 0 <= points <= MOST_POINTS:
            raise PayloadError(f"points must be a whole number from 0 to {MOST_POINTS}", field=f"{path}points")
        told["points"] = points
    return told


def shipment_facts(data: Mapping[str, Any], reading: Reading) -> ShipmentFacts:
    """What is said of the parcel."""
    return ShipmentFacts(
        id=id_of(data, "id"),
        carrier=text_of(data, "carrier", 60),
        tracking_no=id_of(data, "tracking_no", 60),
        tracking_url=url_of(data, "tracking_url"),
        state=_one_of(data, "state", SHIP_STATES),
        reason=text_of(data, "reason", 60),
        city=text_of(data, "city", 60),
        scan_at=time_of(data, "scan_at", reading.zone),
        eta=time_of(data, "eta", reading.zone),
        place=text_of(data, "place", 60),
        pickup_code=text_of(data, "pickup_code", 30),
    )


def refund_facts(data: Mapping[str, Any]) -> RefundFacts:
    """What is said of the refund."""
    kind = _one_of(data, "kind", REFUND_KINDS)
    return RefundFacts(id=id_of(data, "id"), amount=money_of(data, "amount"), kind=kind, items=_returned(data))


def _returned(data: Mapping[str, Any]) -> tuple[RefundItem, ...]:
    out = []
    for i, one in enumerate(_objects(data)):
        with within(f"items.{i}"):
            reason = text_of(one, "reason_code", 40)
            reason = reason if not reason or reason in RETURN_REASONS else "other"
            qty = count_of(one, "qty", 10_000) or 1
            out.append(RefundItem(text_of(one, "sku", 100), text_of(one, "size", 30), qty, reason))
    return tuple(out)


def checkout_facts(data: Mapping[str, Any], reading: Reading) -> CheckoutFacts | None:
    """What is said of the cart; None without its token."""
    if not id_of(data, "token"):
        return None
    return CheckoutFacts(
        token=id_of(data, "token"),
        items=_items(data),
        total=money_of(data, "total"),
        recover_url=url_of(data, "recover_url"),
        updated_at=time_of(data, "updated_at", reading.zone),
        started_at=time_of(data, "started_at", reading.zone),
    )
