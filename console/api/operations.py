"""What the operations do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from bot import ids
from bot.codec import dump_entry
from bot.coupons import Campaign, Coupons
from bot.errors import PayloadError
from bot.events import Event, Ms, StaffAsked
from bot.records import Buyer
from console.api import shapes
from console.api.http import Call, Refusal
from console.api.models import Money
from shops.standard.envelope import to_event

T = TypeVar("T")
MOST_EVENTS = 500


# --- shared -----------------------------------------------------------------------------------------------------------


async def _append(call: Call, events: Sequence[Event]) -> None:
    if why := call.deps.shut_because():
        raise Refusal(503, "not-storing", why)
    await call.deps.appender.append([dump_entry(event) for event in events])


async def _ask(call: Call, home: str, action: str, data: dict[str, Any], id: str = "") -> None:
    now = call.deps.clock.now()
    body = StaffAsked(action, call.caller.name, json.dumps(data).encode())
    await _append(call, [Event(id, home, "api", now, now, body)])


def _ms(value: Any) -> Ms:
    return int(value.timestamp() * 1000) if value is not None else 0


async def _buyer(call: Call) -> Buyer:
    wanted = call.request.match_info["id"]
    found = await call.deps.queries.buyer(wanted)
    if found is None:
        raise Refusal(404, "not-found", "there is no buyer with this id")
    if found.id != wanted:
        rest = call.request.path.partition(wanted)[2]
        raise Refusal(308, "merged", f"merged into {found.id}", location=f"/api/v1/buyers/{found.id}{rest}")
    return found


def _page(items: Sequence[T], limit: int, cursor_of: Callable[[T], str], show: Callable[[T], Any]) -> dict[str, Any]:
    shown = items[:limit]
    more = len(items) > limit
    return {"items": [show(item) for item in shown], "next_cursor": cursor_of(shown[-1]) if more and shown else None}


def _cursor_ms(call: Call) -> Ms:
    text = call.query("cursor")
    if text and not (text.isascii() and text.isdigit() and len(text) < 17):
        raise Refusal(400, "bad-parameter", "cursor is not one that this list gave", field_name="cursor")
    return int(text or 0)


# --- campaigns and coupons --------------------------------------------------------------------------------------------


def _amount(value: Any) -> tuple[str, str]:
    if value is None:
        return "", ""
    return (value.amount, value.currency) if isinstance(value, Money) else (str(value), "")


async def create_campaign(call: Call) -> tuple[int, Any]:
    """POST /campaigns."""
    body = call.body
    value, currency = _amount(body.value)
    minimum, _ = _amount(body.min_spend)
    if body.kind in ("amount_off", "percent_off", "add_on_price") and not value:
        raise Refusal(400, "bad-body", f"value: {body.kind} needs one", field_name="value")
    if body.kind == "percent_off" and not 0 < Decimal(value) <= 100:
        raise Refusal(400, "bad-body", "value: percent must be above 0 and at most 100", field_name="value")
    if body.starts_at and body.ends_at and body.ends_at <= body.starts_at:
        raise Refusal(400, "bad-body", "ends_at must be after starts_at", field_name="ends_at")
    if body.codes is not None and len(set(body.codes)) < body.stock:
        raise Refusal(
            400, "bad-body", f"codes: {len(set(body.codes))} codes for a stock of {body.stock}", field_name="codes"
        )
    if used := await call.deps.coupons.taken(body.codes or ()):
        raise Refusal(400, "bad-body", f"codes: {used} belongs to another campaign", field_name="codes")
    campaign = Campaign(
        key=body.key,
        title=body.title,
        kind=body.kind,
        stock=body.stock,
        value=value if body.kind not in ("free_shipping", "gift") else "",
        currency=currency or call.deps.currency,
        min_spend=minimum,
        per_buyer=body.per_buyer,
        starts_at=_ms(body.starts_at),
        ends_at=_ms(body.ends_at),
        valid_days=body.valid_days or 0,
        created_at=call.deps.clock.now(),
    )
    if not await call.deps.coupons.create(campaign, list(dict.fromkeys(body.codes or ()))):
        raise Refusal(409, "key-taken", f"there is a campaign {body.key} already")
    return 201, await _campaign(call.deps.coupons, body.key)


async def _campaign(coupons: Coupons, key: str) -> dict[str, Any]:
    found = await coupons.get(key)
    if found is None:
        raise Refusal(404, "not-found", f"there is no campaign {key}")
    return shapes.campaign(*found)


async def list_campaigns(call: Call) -> tuple[int, Any]:
    """GET /campaigns."""
    found = await call.deps.coupons.all()
    before = call.query("cursor")
    if before:
        keys = [campaign.key for campaign, _ in found]
        found = found[keys.index(before) + 1 :] if before in keys else []
    return 200, _page(found, call.limit, lambda f: f[0].key, lambda f: shapes.campaign(*f))


async def get_campaign(call: Call) -> tuple[int, Any]:
    """GET /campaigns/{key}."""
    return 200, await _campaign(call.deps.coupons, call.request.match_info["key"])


async def patch_campaign(call: Call) -> tuple[int, Any]:
    """PATCH /campaigns/{key}."""
    key = call.request.match_info["key"]
    found = await call.deps.coupons.get(key)
    if found is None:
        raise Refusal(404, "not-found", f"there is no campaign {key}")
    campaign, counts = found
    given = call.body.model_dump(exclude_unset=True)
    if given.get("stock") is not None:
        if given["stock"] < counts.claimed:
            raise Refusal(409, "already-claimed", f"{counts.claimed} are claimed already")
        campaign.stock = given["stock"]
    if given.get("title") is not None:
        campaign.title = given["title"]
    for name in ("starts_at", "ends_at"):
        if name in given:
            setattr(campaign, name, _ms(given[name]))
    await call.deps.coupons.change(campaign)
    return 200, await _campaign(call.deps.coupons, key)


async def claim_coupon(call: Call) -> tuple[int, Any]:
    """POST /campaigns/{key}/claims."""
    key = call.request.match_info["key"]
    await _campaign(call.deps.coupons, key)
    buyer = await call.deps.queries.buyer(call.body.buyer)
    if buyer is None or buyer.erased:
        raise Refusal(404, "not-found", "there is no buyer with this id", field_name="buyer")
    now = call.deps.clock.now()
    result = await call.deps.coupons.claim(key, buyer.id, now, merged=buyer.merged)
    if not result.code:
        kind = result.outcome.replace("_", "-")
        raise Refusal(
            409, kind, {"sold-out": "all coupons are claimed", "ended": "the campaign has ended"}.get(kind, kind)
        )
    if result.outcome != "limit":  # used or expired: shown again, and in the wallet already
        data = {"campaign": key, "code": result.code, "expires_at": result.expires_at}
        await _ask(call, buyer.home, "coupon", data, f"coupon|{result.code}")
        await call.deps.coupons.confirm(key, result.code)
    state = await call.deps.coupons.find(result.code)
    assert state is not None
    return (201 if result.outcome == "won" else 200), shapes.coupon(state, now)


async def get_coupon(call: Call) -> tuple[int, Any]:
    """GET /coupons/{code}."""
    state = await call.deps.coupons.find(call.request.match_info["code"])
    if state is None:
        raise Refusal(404, "not-found", "there is no coupon with this code")
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
    if outcome == "ok" and buyer is not None:
        await _ask(call, buyer.home, "redeem", {"code": state.code, "order": call.body.order}, f"redeem|{state.code}")
    state.order = call.body.order
    return 200, shapes.coupon(state, now)


# --- buyers -----------------------------------------------------------------------------------------------------------


async def find_buyers(call: Call) -> tuple[int, Any]:
    """GET /buyers."""
    queries = call.deps.queries
    found: list[Buyer | None] = []
    if phone := call.query("phone"):
        # In a URL a plus is a blank: forgive the commonest mistake.
        number = call.deps.parse_phone(phone if not phone.startswith(" ") else "+" + phone.strip())
        found = [await queries.buyer_by_phone(number)] if number else []
    elif address := call.query("address"):
        account, _, id = address.partition(":")
        found = [await queries.buyer_by_address(account, id)]
    elif number := call.query("member_no"):
        found = [await queries.buyer_by_member_no(number)]
    elif words := call.query("q"):
        found = await _search(call, words)
    else:
        listed, cursor = await queries.buyers(after=_buyer_cursor(call), limit=call.limit)
        return 200, {"items": [shapes.buyer(b, call.deps.currency) for b in listed], "next_cursor": cursor or None}
    shown = [shapes.buyer(b, call.deps.currency) for b in found if b is not None and not b.erased]
    return 200, {"items": shown, "next_cursor": None}


def _buyer_cursor(call: Call) -> str:
    text = call.query("cursor")
    left, _, right = text.partition(".")
    if text and not (left.isascii() and left.isdigit() and right.isascii() and right.isdigit() and len(text) < 30):
        raise Refusal(400, "bad-parameter", "cursor is not one that this list gave", field_name="cursor")
    return text


async def _search(call: Call, words: str) -> list[Buyer | None]:
    """By number, member number or id; else by a part of the name, over the first few thousand buyers."""
    queries = call.deps.queries
    direct = [await queries.buyer(words), await queries.buyer_by_member_no(words)]
    if number := call.deps.parse_phone(words):
        direct.append(await queries.buyer_by_phone(number))
    if any(direct):
        return [next(found for found in direct if found is not None)]
    matches: list[Buyer | None] = []
    cursor, seen = "", 0
    while seen < 5000 and len(matches) < call.limit:
        listed, cursor = await queries.buyers(after=cursor, limit=500)
        seen += len(listed)
        matches += [b for b in listed if words.casefold() in b.name.casefold()]
        if not cursor:
            break
    return matches


async def get_buyer(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}."""
    return 200, shapes.buyer(await _buyer(call), call.deps.currency)


async def patch_buyer(call: Call) -> tuple[int, Any]:
    """PATCH /buyers/{id}: answered with what the buyer will be."""
    found = await _buyer(call)
    given = call.body.model_dump(exclude_unset=True)
    await _ask(
        call,
        found.home,
        "patch",
        {k: v for k, v in given.items() if v is not None or k in ("name", "birthday", "gender")},
    )
    for name, value in given.items():
        if name == "sizes":
            found.sizes = {**found.sizes, **(value or {})}
        elif value is not None or name in ("name", "birthday", "gender"):
            setattr(found, name, value or ([] if name == "tags" else ""))
    return 200, shapes.buyer(found, call.deps.currency)


async def timeline(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}/timeline."""
    found = await _buyer(call)
    before = call.query("cursor") or "+"
    left, _, right = before.partition("-")
    if before != "+" and not (
        left.isascii() and left.isdigit() and right.isascii() and right.isdigit() and len(before) < 40
    ):
        raise Refusal(400, "bad-parameter", "cursor is not one that this list gave", field_name="cursor")
    lines, cursor = await call.deps.queries.timeline(found, before=before, limit=call.limit)
    return 200, {"items": lines, "next_cursor": cursor or None}


async def export(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}/export: everything that is held."""
    found = await _buyer(call)
    queries = call.deps.queries
    messages = await queries.messages(lambda m: m.message.buyer == found.id, limit=1000)
    lines, _ = await queries.timeline(found, limit=1000)
    consents = [
        {
            "account": a.account,
            "id": a.id,
            "at": shapes.when(a.consent.at),
            "wording": a.consent.wording,
            "source": a.consent.source,
        }
        for a in found.addresses
    ]
    body = {
        "buyer": shapes.buyer(found, call.deps.currency),
        "consent_evidence": consents,
        "messages": [shapes.message(m) for m in messages],
        "timeline": lines,
        "merged_from": found.merged,
    }
    return 200, body


async def erase(call: Call) -> tuple[int, Any]:
    """DELETE /buyers/{id}."""
    found = await _buyer(call)
    await _ask(call, found.home, "erase", {})
    return 202, {"id": found.id, "erasing": True}


async def merge(call: Call) -> tuple[int, Any]:
    """POST /buyers/{id}/merge: the older of the two survives."""
    found = await _buyer(call)
    into = await call.deps.queries.buyer(call.body.into)
    if into is None:
        raise Refusal(404, "not-found", "there is no buyer with this id", field_name="into")
    if into.id == found.id:
        raise Refusal(409, "same-buyer", "both ids are the same buyer", field_name="into")
    await _ask(call, found.home, "merge", {"into": into.home})
    return 202, {"merging": [found.id, into.id]}


async def consent(call: Call) -> tuple[int, Any]:
    """POST /buyers/{id}/consents."""
    found = await _buyer(call)
    if call.body.account not in call.deps.accounts:
        raise Refusal(400, "bad-body", f"account: there is no account {call.body.account}", field_name="account")
    await _ask(call, found.home, "consent", call.body.model_dump())
    return 202, {"id": found.id}


async def members(call: Call) -> tuple[int, Any]:
    """GET /members: buyers with a card."""
    listed, cursor = await call.deps.queries.buyers(after=_buyer_cursor(call), limit=call.limit)
    shown = [shapes.buyer(b, call.deps.currency) for b in listed if b.member is not None]
    return 200, {"items": shown, "next_cursor": cursor or None}


async def get_order(call: Call) -> tuple[int, Any]:
    """GET /orders/{shop}/{id}."""
    found = await call.deps.queries.order(call.request.match_info["shop"], call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no such order")
    return 200, shapes.order(found)


# --- events, messages, decisions, tasks -------------------------------------------------------------------------------


async def post_events(call: Call) -> tuple[int, Any]:
    """POST /events: one envelope or a list."""
    values = call.body if isinstance(call.body, list) else [call.body]
    if not values or len(values) > MOST_EVENTS:
        raise Refusal(400, "bad-body", f"send 1 to {MOST_EVENTS} events")
    events = []
    for value in values:
        shop = value.get("shop") if isinstance(value, dict) else None
        reading = call.deps.readings.get(shop) if isinstance(shop, str) else None
        if reading is None:
            raise Refusal(400, "bad-body", f"shop must be one of {', '.join(call.deps.readings)}", field_name="shop")
        try:
            events.append(to_event(value, reading, received=call.deps.clock.now()))
        except PayloadError as error:
            raise Refusal(400, "bad-body", error.detail, field_name=error.field) from error
    # For the answer only: whether an event is repeated the turn itself decides.
    known = await call.deps.store.seen(events, now=call.deps.clock.now())
    await _append(call, events)
    return 202, {"accepted": known.count(False), "duplicates": known.count(True)}


async def post_message(call: Call) -> tuple[int, Any]:
    """POST /messages: policy decides like for any other."""
    body = call.body
    if (body.text is None) == (body.wording is None):
        raise Refusal(400, "bad-body", "give text or wording, one of them", field_name="text")
    if (body.buyer is None) == (body.phone is None):
        raise Refusal(400, "bad-body", "give buyer or phone, one of them", field_name="buyer")
    if body.wording is not None and body.wording not in call.deps.wordings:
        raise Refusal(400, "bad-body", f"wording: there is no wording {body.wording}", field_name="wording")
    for account in body.accounts or ():
        if account not in call.deps.accounts:
            raise Refusal(400, "bad-body", f"accounts: there is no account {account}", field_name="accounts")
    if body.purpose == "marketing" and call.caller.role == "service":
        raise Refusal(403, "not-allowed", "the role service may not send marketing")
    home = await _home_of(call)
    store = call.deps.store
    id = ids.new("m", store.partition(home))
    data = {
        "id": id,
        "purpose": body.purpose,
        "text": body.text or "",
        "wording": body.wording or "",
        "vars": body.vars,
        "accounts": body.accounts or [],
        "not_after": _ms(body.not_after),
    }
    await _ask(call, home, "message", data, id)
    return 202, {"id": id}


async def _home_of(call: Call) -> str:
    body = call.body
    if body.buyer is not None:
        found = await call.deps.queries.buyer(body.buyer)
        if found is None or found.erased:
            raise Refusal(404, "not-found", "there is no buyer with this id", field_name="buyer")
        return found.home
    number = call.deps.parse_phone(body.phone)
    if not number:
        raise Refusal(400, "bad-body", "phone: not a phone number", field_name="phone")
    known = await call.deps.queries.buyer_by_phone(number)
    return known.home if known is not None else f"phone:{number}"


async def get_message(call: Call) -> tuple[int, Any]:
    """GET /messages/{id}."""
    found = await call.deps.queries.message(call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no message with this id (yet)")
    return 200, shapes.message(found)


async def list_messages(call: Call) -> tuple[int, Any]:
    """GET /messages."""
    buyer, state = call.query("buyer"), call.query("state")
    found = await call.deps.queries.messages(
        lambda m: (not buyer or m.message.buyer == buyer) and (not state or m.state == state),
        before=_cursor_ms(call),
        limit=call.limit + 1,
    )
    return 200, _page(found, call.limit, lambda m: str(m.message.created_at), shapes.message)


async def list_decisions(call: Call) -> tuple[int, Any]:
    """GET /decisions."""
    wanted = {name: call.query(name) for name in ("buyer", "message", "order", "outcome")}
    rule, before = call.query("rule"), _cursor_ms(call)
    found = await call.deps.queries.decisions(
        lambda d: (
            all(not value or getattr(d, name) == value for name, value in wanted.items())
            and (not rule or any(r.rule == rule for r in d.rules))
            and (not before or d.at < before)
        ),
        limit=call.limit + 1,
    )
    return 200, _page(found, call.limit, lambda d: str(d.at), shapes.decision)


async def list_tasks(call: Call) -> tuple[int, Any]:
    """GET /tasks."""
    wanted = {name: call.query(name) for name in ("state", "kind", "assignee")}
    before = _cursor_ms(call)
    found = [
        t
        for t in await call.deps.queries.tasks()
        if all(not value or getattr(t, name) == value for name, value in wanted.items())
        and (not before or t.created_at < before)
    ]
    return 200, _page(found, call.limit, lambda t: str(t.created_at), shapes.task)


async def complete_task(call: Call) -> tuple[int, Any]:
    """POST /tasks/{id}/complete."""
    found = await call.deps.queries.task(call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no task with this id")
    if found.state != "open":
        if found.outcome == call.body.outcome:
            return 200, shapes.task(found)
        raise Refusal(409, "already-done", f"this task is {found.state}")
    await _ask(
        call, found.home, "complete_task", {"id": found.id, "outcome": call.body.outcome, "note": call.body.note}
    )
    found.state, found.outcome, found.note, found.assignee = "done", call.body.outcome, call.body.note, call.caller.name
    return 200, shapes.task(found)
