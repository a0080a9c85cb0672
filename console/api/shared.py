"""What the operations share: asking a record and waiting for its turn, and pages."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bot import ids, subjects
from bot.asking import until_done
from bot.codec import dump_entry
from bot.events import Event, StaffAsked
from bot.queries import Place
from bot.records import Buyer
from console.api import shapes
from console.api.http import Call
from console.api.refusals import Refusal
from ledger.lookups import Mark

T = TypeVar("T")
ms = shapes.ms
_MARK = re.compile(r"(\d{1,15})\.(\d{1,4})\.(\d{1,15})-(\d{1,15})\.(\d{1,4})", re.ASCII)
_PLACE = re.compile(r"(\d{1,16})\.([\w-]{1,80})", re.ASCII)


async def append(call: Call, events: Sequence[Event]) -> None:
    """Takes events in; durable when this returns. Raises Refusal 503, StoreError."""
    if why := call.deps.shut_because():
        raise Refusal(503, "not-storing", why)
    await call.deps.appender.append([dump_entry(event) for event in events])


async def ask(call: Call, home: str, action: str, data: dict[str, Any], id: str = "") -> None:
    """Asks something of a record and waits until its turn is done, so that the caller can read it back at once.

    Two seconds at most: what is taken in is safe, and a turn that waits behind others comes later.
    """
    now = call.deps.clock.now()
    # A repeat under the same Idempotency-Key is the same event, also when the first call died half way.
    event_id = id or f"api|{call.once or secrets.token_hex(12)}|{action}"
    event = Event(event_id, home, "api", now, now, StaffAsked(action, call.caller.name, json.dumps(data).encode()))
    await done(call, event)


async def done(call: Call, event: Event) -> None:
    """Takes an event in and waits until its turn is done, two seconds at most."""
    await append(call, [event])
    await until_done(call.deps.store, call.deps.clock, event)


async def buyer_of(call: Call, *, alive: bool = True) -> Buyer:
    """The buyer of the path. Raises Refusal: 404, 308 for a merged one, 410 for an erased one where it must be alive."""
    wanted = call.request.match_info["id"]
    found = await call.deps.queries.buyer(wanted)
    if found is None:
        raise Refusal(404, "not-found", "there is no buyer with this id")
    if found.id != wanted:
        rest = call.request.path_qs.partition(wanted)[2]
        raise Refusal(308, "merged", f"merged into {found.id}", location=f"/api/v1/buyers/{found.id}{rest}")
    if alive and found.erased:
        raise Refusal(410, "erased", "this buyer was erased; nothing is held but the id")
    return found


def page(
    items: Sequence[T], limit: int, cursor_of: Callable[[T], str], show: Callable[[T], Any], *, goes_on: str = ""
) -> dict[str, Any]:
    """The answer of a list: `items` holds one more than `limit` where there is a next page.

    `goes_on`: the cursor of a page that ends early, since much was looked through and little found.
    """
    shown = items[:limit]
    more = len(items) > limit
    return {
        "items": [show(item) for item in shown],
        "next_cursor": cursor_of(shown[-1]) if more and shown else goes_on or None,
    }


def cursor_of(place: Place) -> str:
    """The cursor that goes on after a place."""
    return f"{place[0]}.{place[1]}"


def place_of(call: Call) -> Place | None:
    """Where the page goes on: lists are sorted by time, then id, newest first. None: at the newest."""
    return place_from(call.query("cursor"))


def place_from(text: str) -> Place | None:
    """Where a cursor goes on; None for none. Raises Refusal for one that was made up."""
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise bad_cursor()
    return int(found[1]), found[2]


def cursor_of_mark(mark: Mark) -> str:
    """The cursor that goes on after a journalled line."""
    at, partition, ms, number, line = mark
    return f"{at}.{partition}.{ms}-{number}.{line}"


def mark_of(call: Call) -> Mark | None:
    """Where a page of journalled lines goes on; None: at the newest."""
    text = call.query("cursor")
    if not text:
        return None
    found = _MARK.fullmatch(text)
    if found is None:
        raise bad_cursor()
    return int(found[1]), int(found[2]), int(found[3]), int(found[4]), int(found[5])


def bad_cursor() -> Refusal:
    """A cursor that was made up."""
    return Refusal(400, "bad-parameter", "cursor is not one that this list gave", field_name="cursor")


async def orders_of(call: Call, buyer: str) -> set[str]:
    """The subjects of a buyer's orders: what concerned them before anybody was known is the buyer's too."""
    found = await call.deps.queries.buyer(buyer)
    return set() if found is None else {subjects.order(o.shop, o.id) for o in found.orders}


async def whereabouts(call: Call, id: str) -> tuple[set[str], list[int]]:
    """Every id that a buyer ever had, and the partitions where what concerns them is kept. None for an unknown id."""
    found = await call.deps.queries.buyer(id)
    known = {id} if found is None else {found.id, *found.merged, id}
    partitions = {p for p in map(ids.partition_in, known) if p is not None and p < call.deps.store.partitions}
    return known, sorted(partitions)
