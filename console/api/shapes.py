"""Records as the contract shows them."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import msgspec
from babel.numbers import get_currency_precision

from bot import ids, products
from bot.clock import rfc3339
from bot.costs import cost
from bot.coupons import Campaign, Counts, CouponState
from bot.events import Money, Ms
from bot.ids import show_member_number
from bot.journal import DecisionRecord
from bot.messages import OutboundMessage
from bot.queries import StoredMessage
from bot.records import Buyer, Order, Product, Task
from bot.standing import Standing


def when(at: Ms) -> str | None:
    """A time, or null."""
    return rfc3339(at) if at else None


def ms(value: Any) -> Ms:
    """A time of a body in ms; 0 for none."""
    return int(value.timestamp() * 1000) if value is not None else 0


def money(value: Money | None) -> dict[str, str] | None:
    """An amount, or null."""
    return {"amount": str(value.amount), "currency": value.currency} if value is not None else None


def total(amount: Decimal, currency: str) -> dict[str, str]:
    """A sum, with the digits that its currency has at least."""
    digits = get_currency_precision(currency)
    shown = amount.quantize(Decimal(1).scaleb(-digits)) if -amount.as_tuple().exponent < digits else amount  # type: ignore[operator]  # sums are finite
    return {"amount": f"{shown:f}", "currency": currency}


def buyer(record: Buyer, currency: str, now: Ms) -> dict[str, Any]:
    """A buyer; an erased one is nothing but its id. A window that is shut has no time."""
    if record.erased:
        return {"id": record.id, "erased": True}
    spent_in = currency if currency in record.spent or not record.spent else next(iter(record.spent))
    member = record.member
    return {
        "id": record.id,
        "name": record.name,
        "phones": record.phones,
        "locale": record.locale,
        "birthday": record.birthday or None,
        "gender": record.gender or None,
        "sizes": record.sizes,
        "tags": record.tags,
        "erased": False,
        "member": None
        if member is None
        else {
            "number": show_member_number(member.number),
            "level": member.level,
            "points": member.points,
            "joined_at": when(member.joined_at),
            "source": member.source,
        },
        "addresses": [
            {
                "account": a.account,
                "id": a.id,
                "reachable": a.reachable and not a.blocked,
                "window_closes_at": when(max((w.closes_at for w in a.windows.values() if w.closes_at > now), default=0)),
                "consent": {"service": a.consent.service, "marketing": a.consent.marketing, "calls": a.consent.calls},
                "opted_out": a.opted_out,
            }
            for a in record.addresses
        ],
        "coupons": [
            {
                "code": c.code, "campaign": c.campaign, "expires_at": when(c.expires_at),
                "state": "expired" if c.state == "claimed" and 0 < c.expires_at <= now else c.state,
            }
            for c in record.coupons
        ],
        "orders": [
            {
                "id": o.id, "shop": o.shop, "number": o.number, "pay": o.pay, "ship": o.ship, "refund": o.refund,
                "total": money(o.total),
            }
            for o in record.orders
        ],
        "stats": {
            "orders": record.orders_count,
            "spent": total(Decimal(record.spent.get(spent_in, "0")), spent_in),
            "last_order_at": when(record.last_order_at),
        },
    }  # fmt: skip


def line(row: Any) -> dict[str, Any]:
    """A line of a timeline: a row with at, kind, summary, ref."""
    return {"at": rfc3339(row.at), "kind": row.kind, "summary": row.summary, "ref": row.ref or None}


def consent(row: Any) -> dict[str, Any]:
    """The evidence of one answer: a row of the ledger's consents."""
    return {
        "buyer": row.buyer, "account": row.account, "id": row.address, "topic": row.topic, "verdict": row.verdict,
        "at": when(row.at), "wording": row.wording, "source": row.source,
        "ip": row.ip, "browser": row.browser,
    }  # fmt: skip


def campaign(found: Campaign, counts: Counts) -> dict[str, Any]:
    """A campaign with its numbers."""
    value: Any = None
    if found.kind == "percent_off":
        value = found.value
    elif found.value:
        value = {"amount": found.value, "currency": found.currency}
    return {
        "key": found.key,
        "title": found.title,
        "kind": found.kind,
        "value": value,
        "min_spend": {"amount": found.min_spend, "currency": found.currency} if found.min_spend else None,
        "stock": found.stock,
        "per_buyer": found.per_buyer,
        "starts_at": when(found.starts_at),
        "ends_at": when(found.ends_at),
        "valid_days": found.valid_days or None,
        "claimed": counts.claimed,
        "redeemed": counts.redeemed,
        "remaining": counts.remaining,
        **({"items": list(found.items)} if found.items else {}),
    }


def coupon(state: CouponState, now: Ms) -> dict[str, Any]:
    """A coupon by its code."""
    expired = bool(state.expires_at) and state.expires_at <= now and not state.order
    return {
        "code": state.code,
        "campaign": state.campaign,
        "state": "redeemed" if state.order else "expired" if expired else "claimed",
        "expires_at": when(state.expires_at),
        "buyer": state.buyer,
        "order": state.order or None,
    }


def message(found: StoredMessage, buyer: str, name: str) -> dict[str, Any]:
    """A message with its history. `buyer` is whose order it was about, "" where nobody is known; `name` the buyer's, "" untold."""
    m: OutboundMessage = found.message
    text = getattr(m.content, "text", "") or getattr(m.content, "alt", "")
    return {
        "id": m.id,
        "buyer": m.buyer or buyer or None,
        "name": name or None,
        "account": m.account or None,
        "to": m.to or None,
        "purpose": m.purpose,
        "state": found.state,
        "reason": found.reason or None,
        "text": "" if m.purpose == "code" else text,
        "parts": found.parts or None,
        "cost": money(cost(m.price, found.parts)) or "unknown",
        "again_of": m.again_of or None,
        "history": [{"state": s, "at": rfc3339(at), "reason": r or None} for s, at, r in found.history],
    }


def decision(found: DecisionRecord, buyer: str) -> dict[str, Any]:
    """A decision with its rules. `buyer` is whose order it was about, "" where nobody is known."""
    return {
        "message": None if found.message.startswith(f"{ids.HOLD}_") else found.message,
        "buyer": found.buyer or buyer or None,
        "source": found.source,
        "purpose": found.purpose,
        "outcome": found.outcome,
        "lane": found.account or None,
        "reason": found.reason or None,
        "order": found.order or None,
        "rules": [
            {"rule": r.rule, "verdict": r.verdict, "detail": r.detail or None, "until": when(r.until)}
            for r in found.rules
        ],
        "at": rfc3339(found.at),
    }


def task(found: Task, buyer: str) -> dict[str, Any]:
    """A task. `buyer` is whose order opened it, "" where nobody is known."""
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state,
        "buyer": found.buyer or buyer or None,
        "order": found.order or None,
        "due_at": when(found.due_at),
        "brief": found.brief,
        "assignee": found.assignee or None,
        "outcome": found.outcome or None,
        "note": found.note or None,
        "created_at": when(found.created_at),
    }


def product(found: Product) -> dict[str, Any]:
    """A product with the variants that are offered."""
    variants = products.offered(found)
    return {
        "id": found.id,
        "shop": found.shop,
        "title": found.title,
        "short_title": found.short_title,
        "url": found.url or None,
        "image_url": found.image_url or None,
        "categories": list(found.categories),
        "style_tags": list(found.style_tags),
        "care": found.care or None,
        "size_chart": [{"size": row.size, "measures": row.measures} for row in found.size_chart],
        "variants": [
            {
                "sku": one.sku,
                "options": {"size": one.size or None, "color": one.color or None},
                "price": money(one.price),
                "stock": one.stock,
            }
            for one in variants
        ],
        "stock": products.stock_of(variants) if variants else None,
        "removed": not products.is_offered(found),
        "returned": found.returned,
        "updated_at": when(max(at for at, _ in (found.upserted, found.removed, *found.known.values()))),
    }


def account(found: Standing) -> dict[str, Any]:
    """A channel account and its last alerts."""
    alerts = [{"at": rfc3339(one.at), "kind": one.kind, "detail": one.detail} for one in found.alerts]
    return {"name": found.name, "type": found.type, "state": found.state, "alerts": alerts}


def order(found: Order, buyer: str) -> dict[str, Any]:
    """An order with its lanes. `buyer` is whose it is, "" where nobody is known."""
    return {
        "buyer": buyer or None,
        "id": found.id,
        "shop": found.shop,
        "number": found.number,
        "pay": found.pay.state or "unpaid",
        "closed": found.closed or None,
        "ship": found.ship_state,
        "refund": found.refund_state,
        "total": money(found.total),
        "placed_at": when(found.placed_at),
        "paid_at": when(found.paid_at),
        "shipments": [
            {
                "id": s.id,
                "state": s.lane.state,
                "carrier": s.carrier,
                "tracking_no": s.tracking_no,
                "exception": s.exception or None,
            }
            for s in found.shipments
        ],
    }


def record(found: Buyer) -> dict[str, Any]:
    """A buyer's record as it is stored, every field: for the export."""
    plain: dict[str, Any] = msgspec.to_builtins(found, enc_hook=str, builtin_types=(bytes,))
    for waiting in plain.get("waiting", {}).values():
        waiting["event"] = base64.b64encode(waiting["event"]).decode()
    return plain
