"""Buyers, members and their orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bot import ids
from bot.asking import DONE_WITHIN_S
from bot.queries import order_of
from bot.records import Buyer
from bot.timeline import mark_of, timeline
from console.api import shapes
from console.api.http import Call
from console.api.refusals import Refusal
from console.api.shared import ask, bad_cursor, buyer_of, orders_of, whereabouts

MOST_EXPORTED = 10_000
MOST_SEARCHED = 5_000


def _show_buyer(call: Call, buyer: Buyer) -> dict[str, Any]:
    return shapes.buyer(buyer, call.deps.currency, call.deps.clock.now())


async def find_buyers(call: Call) -> tuple[int, Any]:
    """GET /buyers."""
    queries = call.deps.queries
    found: list[Buyer | None] = []
    if phone := call.query("phone"):
        found = [await queries.buyer_by_phone(_phone(call, phone))]
    elif address := call.query("address"):
        account, colon, id = address.partition(":")
        if not (account and colon and id):
            raise Refusal(400, "bad-parameter", "address must be ACCOUNT:ID", field_name="address")
        # A plus in a query is a blank: the commonest mistake with numbers as ids is forgiven.
        found = [await _at_address(call, account, "+" + id.strip() if id.startswith(" ") else id)]
    elif number := call.query("member_no"):
        found = [await queries.buyer_by_member_no(number)]
    elif words := call.query("q"):
        found = await _search(call, words)
    else:
        return 200, await _listed(call, lambda _: True)
    return 200, {"items": [_show_buyer(call, b) for b in found if b is not None and not b.erased], "next_cursor": None}


async def _at_address(call: Call, account: str, id: str) -> Buyer | None:
    """By an address that was written from, or the number of one that texts reach."""
    found = await call.deps.queries.buyer_by_address(account, id)
    if found is None and call.deps.parse_phone(id) == id:
        found = await call.deps.queries.buyer_by_phone(id)
        return found if found is not None and found.address(account, id) is not None else None
    return found


def _phone(call: Call, text: str) -> str:
    number = call.deps.parse_phone("+" + text.strip() if text.startswith(" ") else text)
    if not number:
        raise Refusal(400, "bad-parameter", "phone must be a phone number, such as +8613900001234", field_name="phone")
    return number


async def _listed(call: Call, keep: Callable[[Buyer], bool]) -> dict[str, Any]:
    after = call.query("cursor")
    if after and ids.partition_in(after) is None:
        raise bad_cursor()
    kept: list[Buyer] = []
    seen = 0
    while True:  # a page is full as long as there is more, though few are kept
        listed, after = await call.deps.queries.buyers(after=after, limit=call.limit + 1)
        seen += len(listed)
        kept += [buyer for buyer in listed if keep(buyer)]
        if len(kept) > call.limit:
            kept, after = kept[: call.limit], kept[call.limit - 1].id
            break
        if not after or seen > MOST_SEARCHED:
            break
    return {"items": [_show_buyer(call, b) for b in kept], "next_cursor": after or None}


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
    while seen < MOST_SEARCHED and len(matches) < call.limit:
        listed, cursor = await queries.buyers(after=cursor, limit=500)
        seen += len(listed)
        matches += [b for b in listed if words.strip().casefold() in b.name.casefold()]
        if not cursor:
            break
    return matches[: call.limit]


async def get_buyer(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}."""
    return 200, _show_buyer(call, await buyer_of(call, alive=False))


async def patch_buyer(call: Call) -> tuple[int, Any]:
    """PATCH /buyers/{id}: null takes a value back; `sizes` are added to those known."""
    found = await buyer_of(call)
    given = call.body.model_dump(exclude_unset=True)
    clears = {"name": "", "birthday": "", "gender": "", "locale": "", "tags": [], "sizes": {}}
    changes = {name: clears[name] if value is None else value for name, value in given.items()}
    if changes:
        await ask(call, found.home, "patch", changes)
    return 200, _show_buyer(call, await buyer_of(call))


async def list_timeline(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}/timeline."""
    found = await buyer_of(call, alive=False)
    before = None
    if (cursor := call.query("cursor")) and (before := mark_of(cursor)) is None:
        raise bad_cursor()
    lines, following = await timeline(call.deps.queries, found, before=before, limit=call.limit)
    return 200, {"items": lines, "next_cursor": following or None}


async def export(call: Call) -> tuple[int, Any]:
    """GET /buyers/{id}/export: everything that is held, `record` as it is stored."""
    found = await buyer_of(call)
    queries = call.deps.queries
    known, partitions = await whereabouts(call, found.id)
    theirs = await orders_of(call, found.id)
    now = call.deps.clock.now()
    partitions = sorted({*partitions, *map(call.deps.store.partition, theirs)})
    messages = await queries.messages(
        lambda m: m.message.buyer in known or (not m.message.buyer and m.message.home in theirs),
        partitions=partitions,
        limit=MOST_EXPORTED,
    )
    decisions = await queries.decisions(
        lambda d: d.buyer in known or (not d.buyer and order_of(d) in theirs),
        partitions=partitions,
        limit=MOST_EXPORTED,
    )
    lines, _ = await timeline(queries, found, limit=MOST_EXPORTED)
    coupons = [await call.deps.coupons.find(c.code) for c in found.coupons]
    orders = [await queries.order(o.shop, o.id) for o in found.orders]
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
        "buyer": _show_buyer(call, found),
        "emails": found.emails,
        "shop_refs": [subject.partition(":")[2] for subject in found.shoppers],
        "consent_evidence": consents,
        "coupons": [shapes.coupon(c, now) for c in coupons if c is not None],
        "orders": [shapes.order(o) for o in orders if o is not None],
        "messages": [shapes.message(m, found.id) for m in messages],
        "decisions": [shapes.decision(d, found.id) for d in decisions],
        "tasks": [shapes.task(t, found.id) for t in await queries.tasks() if t.buyer in known or t.home in theirs],
        "timeline": lines,
        "merged_from": found.merged,
        "record": shapes.record(found),
    }
    return 200, body


async def erase(call: Call) -> tuple[int, Any]:
    """DELETE /buyers/{id}."""
    found = await buyer_of(call, alive=False)
    if not found.erased:
        await call.deps.erasure.begin(found)
        await ask(call, found.home, "erase", {})
    return 202, {"id": found.id, "erasing": True}


async def merge(call: Call) -> tuple[int, Any]:
    """POST /buyers/{id}/merge: the older of the two survives."""
    found = await buyer_of(call)
    into = await call.deps.queries.buyer(call.body.into)
    if into is None or into.erased:
        raise Refusal(404, "not-found", "into: there is no buyer with this id", field_name="into")
    if into.id == found.id:
        raise Refusal(409, "same-buyer", "into: both ids are the same buyer", field_name="into")
    await ask(call, found.home, "merge", {"into": into.home})
    await _until_merged(call, found.id, into.id)
    return 202, {"merging": [found.id, into.id]}


async def _until_merged(call: Call, one: str, other: str) -> None:
    """The merge goes by mail between two records: waited for as long as any other turn."""
    clock = call.deps.clock
    end = clock.monotonic() + DONE_WITHIN_S
    while clock.monotonic() < end:
        mine, theirs = await call.deps.queries.buyer(one), await call.deps.queries.buyer(other)
        if mine is not None and theirs is not None and mine.id == theirs.id and {one, other} <= {mine.id, *mine.merged}:
            return
        await asyncio.sleep(0.02)


async def consent(call: Call) -> tuple[int, Any]:
    """POST /buyers/{id}/consents."""
    found = await buyer_of(call)
    if call.body.account not in call.deps.accounts:
        there = ", ".join(sorted(call.deps.accounts))
        raise Refusal(400, "bad-body", f"account: must be one of {there}", field_name="account")
    if found.address(call.body.account, call.body.id) is None:
        raise Refusal(404, "not-found", "id: the buyer has no such address", field_name="id")
    await ask(call, found.home, "consent", call.body.model_dump())
    return 202, {"id": found.id}


async def members(call: Call) -> tuple[int, Any]:
    """GET /members: buyers with a card."""
    return 200, await _listed(call, lambda b: b.member is not None)


async def get_order(call: Call) -> tuple[int, Any]:
    """GET /orders/{shop}/{id}."""
    found = await call.deps.queries.order(call.request.match_info["shop"], call.request.match_info["id"])
    if found is None:
        raise Refusal(404, "not-found", "there is no such order")
    return 200, shapes.order(found)
