"""Campaigns and coupons."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bot.coupons import Campaign, CodesTakenError, Coupons, StockError
from bot.events import Ms
from bot.queries import NEWEST
from console.api import shapes
from console.api.http import Call
from console.api.models import Money
from console.api.refusals import Refusal
from console.api.shared import ask, cursor_of, ms, page, place_of

SHOWN_NAME = 12
CLAIM_REFUSED = {
    "sold_out": ("sold-out", "all coupons are claimed"),
    "not_started": ("not-started", "the campaign has not started yet"),
    "ended": ("ended", "the campaign has ended"),
    "unknown": ("not-found", "there is no such campaign any more"),
}


def _amount(value: Any) -> tuple[str, str]:
    if value is None:
        return "", ""
    return (value.amount, value.currency) if isinstance(value, Money) else (str(value), "")


def _check_value(kind: str, value: str, minimum: str) -> None:
    if kind in ("amount_off", "percent_off", "add_on_price") and not value:
        raise Refusal(400, "bad-body", f"value: {kind} needs one", field_name="value")
    if kind == "percent_off" and not 0 < Decimal(value) <= 100:
        raise Refusal(400, "bad-body", "value: percent must be above 0 and at most 100", field_name="value")
    if kind == "amount_off" and not Decimal(value) > 0:
        raise Refusal(400, "bad-body", "value: must be above 0", field_name="value")
    if kind == "amount_off" and minimum and Decimal(minimum) < Decimal(value):
        raise Refusal(400, "bad-body", "min_spend: must be at least the value", field_name="min_spend")


def _check_times(starts: Ms, ends: Ms) -> None:
    if starts and ends and ends <= starts:
        raise Refusal(400, "bad-body", "ends_at: must be after starts_at", field_name="ends_at")


def _same_currency(currency: str, least_in: str) -> None:
    if least_in != currency:
        raise Refusal(400, "bad-body", "min_spend: must be in the currency of value", field_name="min_spend")


async def create_campaign(call: Call) -> tuple[int, Any]:
    """POST /campaigns."""
    body = call.body
    value, currency = _amount(body.value)
    if body.kind == "percent_off" and isinstance(body.value, Money):
        raise Refusal(400, "bad-body", 'value: percent_off takes a number, such as "10"', field_name="value")
    minimum, least_in = _amount(body.min_spend)
    brands = call.deps.currency
    currency, least_in = currency or brands, least_in or brands
    if minimum and value and body.kind != "percent_off":
        _same_currency(currency, least_in)
    _check_value(body.kind, value, minimum)
    _check_times(ms(body.starts_at), ms(body.ends_at))
    codes = body.codes or []
    if len(set(codes)) < len(codes):
        twice = next(code for code in codes if codes.count(code) > 1)
        raise Refusal(400, "bad-body", f"codes: {twice} stands twice", field_name="codes")
    stock = body.stock if body.stock is not None else len(codes)
    if body.stock is None and not codes:
        raise Refusal(400, "bad-body", "stock: is missing", field_name="stock")
    if body.codes is not None and len(codes) < stock:
        raise Refusal(400, "bad-body", f"codes: {len(codes)} codes for a stock of {stock}", field_name="codes")
    items, names = await _named(call, body.items or [])
    campaign = Campaign(
        key=body.key,
        title=body.title,
        kind=body.kind,
        stock=stock,
        value=value if body.kind not in ("free_shipping", "gift") else "",
        currency=currency if body.kind in ("amount_off", "add_on_price") else least_in,
        min_spend=minimum,
        per_buyer=body.per_buyer,
        starts_at=ms(body.starts_at),
        ends_at=ms(body.ends_at),
        valid_days=body.valid_days or 0,
        created_at=call.deps.clock.now(),
        items=items,
        names=names,
    )
    try:
        made = await call.deps.coupons.create(campaign, codes)
    except CodesTakenError as error:
        raise Refusal(409, "codes-taken", f"codes: {error}", field_name="codes") from error
    if not made:
        raise Refusal(409, "key-taken", f"there is a campaign {body.key} already", field_name="key")
    return 201, await _campaign(call.deps.coupons, body.key)


async def _named(call: Call, refs: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Products that a campaign names, and what they are called. Raises Refusal naming each that the catalogue does not hold."""
    wanted = tuple(dict.fromkeys(refs))
    found = await call.deps.catalogue.items(wanted, list(call.deps.envelopes)) if wanted else {}
    faults = [
        (f"items.{i}", f"items.{i}: there is no product or SKU {ref!r} in the catalogue")
        for i, ref in enumerate(wanted)
        if ref not in found
    ]
    if faults:
        raise Refusal(400, "bad-body", "; ".join(words for _, words in faults), errors=faults)
    return wanted, tuple(found[ref].short_title or found[ref].title[:SHOWN_NAME] for ref in wanted)


async def _campaign(coupons: Coupons, key: str) -> dict[str, Any]:
    found = await coupons.get(key)
    if found is None:
        raise Refusal(404, "not-found", "there is no campaign with this key")
    return shapes.campaign(*found)


async def list_campaigns(call: Call) -> tuple[int, Any]:
    """GET /campaigns."""
    before = place_of(call) or NEWEST
    found = [f for f in await call.deps.coupons.all() if (f[0].created_at, f[0].key) < before]
    return 200, page(found, call.limit, lambda f: cursor_of((f[0].created_at, f[0].key)), lambda f: shapes.campaign(*f))


async def get_campaign(call: Call) -> tuple[int, Any]:
    """GET /campaigns/{key}."""
    return 200, await _campaign(call.deps.coupons, call.request.match_info["key"])


async def patch_campaign(call: Call) -> tuple[int, Any]:
    """PATCH /campaigns/{key}: what is claimed already keeps its code and its end."""
    key = call.request.match_info["key"]
    await _campaign(call.deps.coupons, key)
    body = call.body
    given = body.model_fields_set
    named = await _named(call, body.items or []) if "items" in given else None

    def how(campaign: Campaign) -> None:
        for name in ("title", "stock", "per_buyer"):
            if name in given and getattr(body, name) is not None:
                setattr(campaign, name, getattr(body, name))
        for name in ("starts_at", "ends_at"):
            if name in given:
                setattr(campaign, name, ms(getattr(body, name)))
        if named is not None:
            campaign.items, campaign.names = named
        if "valid_days" in given:
            campaign.valid_days = body.valid_days or 0
        if "min_spend" in given:
            campaign.min_spend, currency = _amount(body.min_spend)
            if campaign.min_spend:
                _same_currency(campaign.currency, currency or call.deps.currency)
        _check_value(campaign.kind, campaign.value, campaign.min_spend)
        _check_times(campaign.starts_at, campaign.ends_at)

    try:
        await call.deps.coupons.change(key, how)
    except StockError as error:
        kind = "too-few-codes" if error.too_high else "already-claimed"
        raise Refusal(409, kind, f"stock: {error}", field_name="stock") from error
    return 200, await _campaign(call.deps.coupons, key)


async def claim_coupon(call: Call) -> tuple[int, Any]:
    """POST /campaigns/{key}/claims."""
    key = call.request.match_info["key"]
    await _campaign(call.deps.coupons, key)
    buyer = await call.deps.queries.buyer(call.body.buyer)
    if buyer is None or buyer.erased:
        raise Refusal(404, "not-found", "buyer: there is no buyer with this id", field_name="buyer")
    now = call.deps.clock.now()
    result = await call.deps.coupons.claim(key, buyer.id, now, merged=buyer.merged)
    if not result.code:
        raise Refusal(409, *CLAIM_REFUSED[result.outcome])
    if result.outcome != "limit":  # used or expired: shown again, and in the wallet already
        data = {"campaign": key, "code": result.code, "expires_at": result.expires_at}
        await ask(call, buyer.home, "coupon", data, f"coupon|{result.code}")
        await call.deps.coupons.confirm(key, result.code)
    state = await call.deps.coupons.find(result.code)
    assert state is not None
    return (201 if result.outcome == "won" else 200), shapes.coupon(state, now)


async def get_coupon(call: Call) -> tuple[int, Any]:
    """GET /coupons/{code}."""
    state = await call.deps.coupons.find(call.request.match_info["code"])
    if state is None:
        raise Refusal(404, "not-found", "nobody has claimed a coupon with this code")
    return 200, shapes.coupon(state, call.deps.clock.now())


async def redeem_coupon(call: Call) -> tuple[int, Any]:
    """POST /coupons/{code}/redeem."""
    now = call.deps.clock.now()
    outcome, state = await call.deps.coupons.redeem(call.request.match_info["code"], call.body.order, now)
    if state is None:
        raise Refusal(404, "not-found", "there is no coupon with this code")
    if outcome == "other":
        raise Refusal(409, "already-redeemed", "this coupon was used for another order")
    if outcome == "expired":
        raise Refusal(409, "expired", "this coupon has expired")
    buyer = await call.deps.queries.buyer(state.buyer)
    if outcome == "ok" and buyer is not None and not buyer.erased:
        await ask(call, buyer.home, "redeem", {"code": state.code, "order": call.body.order}, f"redeem|{state.code}")
    state.order = call.body.order
    return 200, shapes.coupon(state, now)
