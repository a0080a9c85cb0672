"""Buyers, members and their orders."""

from __future__ import annotations

import asyncio
from typing import Any

from bot import ids
from bot.asking import DONE_WITHIN_S
from bot.records import Buyer
from console.api import shapes
from console.api.http import Call
from console.api.past import past
from console.api.refusals import Refusal
from console.api.shared import ask, bad_cursor, buyer_of, cursor_of_mark, mark_of, page, whereabouts
from ledger import lookups


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
        known = await _direct(call, words)
        if known is None:
            return 200, await _listed(call, part=words.strip())
        found = [known]
    else:
        return 200, await _listed(call)
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


async def _direct(call: Call, words: str) -> Buyer | None:
    """By id, member number or phone number."""
    queries = call.deps.queries
    found = await queries.buyer(words) or await queries.buyer_by_member_no(words)
    if found is None and (number := call.deps.parse_phone(words)):
        found = await queries.buyer_by_phone(number)
    return found


async def _listed(call: Call, *, part: str = "", members: bool = False) -> dict[str, Any]:
    """Buyers as the ledger lists them, each as its record is now. A page is full as long as there is more."""
    after = call.query("cursor")
    if after and ids.partition_in(after) is None:
        raise bad_cursor()
    kept: list[Buyer] = []
    async with past(call) as connection:
        while len(kept) <= call.limit:
            named = await lookups.buyers(connection, after=after, limit=call.limit + 1, part=part, members=members)
            records = await call.deps.store.records(one.home for one in named)
            now = [records.get(one.home) for one in named]
            kept += [
                record
                for one, record in zip(named, now, strict=True)
                if isinstance(record, Buyer)
                and record.id == one.id
                and not record.erased
                and part.casefold() in record.name.casefold()
                and (record.member is not None or not members)
            ]
            if len(named) <= call.limit:
                break
            after = named[-1].id
    return page(kept, call.limit, lambda buyer: buyer.id, lambda buyer: _show_buyer(call, buyer))


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
    before = mark_of(call)
    known, partitions = await whereabouts(call, found.id)
    async with past(call, partitions) as connection:
        lines = await lookups.timeline(connection, known, before=before, limit=call.limit + 1)

    return 200, page(lines, call.limit, lambda one: cursor_of_mark(one[0]), lambda one: shapes.line(one[1]))


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
    return 200, await _listed(call, members=True)
