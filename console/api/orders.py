"""Orders."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from bot import subjects
from bot.queries import Place
from bot.records import Order
from console.api import shapes
from console.api.http import Call
from console.api.past import past
from console.api.refusals import Refusal
from console.api.shared import bad_cursor, page, whereabouts
from ledger import lookups

_CURSOR = re.compile(r"(\d{1,15})\.([\w-]{1,400})", re.ASCII)


async def get_order(call: Call) -> tuple[int, Any]:
    """GET /orders/{shop}/{id}."""
    shop, id = call.request.match_info["shop"], call.request.match_info["id"]
    found = await call.deps.queries.order(shop, id)
    if found is None:
        raise Refusal(404, "not-found", "there is no such order")
    subject = subjects.order(shop, id)
    return 200, shapes.order(found, (await call.deps.queries.buyers_of([subject])).get(subject, ""))


async def list_orders(call: Call) -> tuple[int, Any]:
    """GET /orders: those that the ledger finds, newest first, each as it is now."""
    before = _place_of(call)
    known: set[str] = set()
    if buyer := call.query("buyer"):
        known, _ = await whereabouts(call, buyer)
    same = {name: value for name in ("shop", "number", "pay", "ship", "refund") if (value := call.query(name))}
    async with past(call) as connection:
        found = await lookups.orders(connection, buyers_wanted=known, same=same, before=before, limit=call.limit + 1)
    records = await call.deps.store.records(subject for _, subject in found)
    whose = await call.deps.queries.buyers_of(subject for _, subject in found)

    def show(one: tuple[Place, str]) -> dict[str, Any] | None:
        order = records.get(one[1])
        return shapes.order(order, whose.get(one[1], "")) if isinstance(order, Order) else None

    listed = page(found, call.limit, lambda one: _cursor_of(one[0]), show)
    return 200, {**listed, "items": [order for order in listed["items"] if order is not None]}


def _cursor_of(place: Place) -> str:
    """A shop's ids hold anything: they are wrapped."""
    return f"{place[0]}.{base64.urlsafe_b64encode(place[1].encode()).decode().rstrip('=')}"


def _place_of(call: Call) -> Place | None:
    text = call.query("cursor")
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    try:
        if found is not None:
            return int(found[1]), base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise bad_cursor()
