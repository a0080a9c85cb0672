"""Segments: what can be asked, who is in one, and those that staff saved."""

from __future__ import annotations

import asyncio
from typing import Any

from bot.events import Ms
from console.api import shapes
from console.api.http import Call
from console.api.refusals import Refusal
from console.api.shared import cursor_of, page, place_of
from ledger.places import after, place
from ledger.segments import SegmentError, parse, where_of
from ledger.segments.conditions import Known, canonical
from ledger.segments.exclusions import READY
from ledger.segments.fields import FIELDS
from ledger.segments.kinds import OPERATORS, QUALIFIERS, Field, Moment
from ledger.segments.preview import find
from ledger.segments.saved import Segment

CAUGHT_UP_S = 2.0
"""How long an answer waits for the ledger to know all that has been until the question."""


async def preview_segment(call: Call) -> tuple[int, Any]:
    """POST /segments/preview."""
    where = call.body.where
    conditions = checked(call, where)
    as_of = await caught_up(call)
    moment = Moment(call.deps.clock.now(), call.deps.zone, call.deps.currency)
    async with call.deps.history.connection() as connection:
        found = await find(connection, where_of(conditions, moment), canonical(where))
    buyers = await asyncio.gather(*(call.deps.queries.buyer(id) for id in found.sample))
    shown = [shapes.buyer(b, call.deps.currency, moment.now) for b in buyers if b is not None and not b.erased]
    return 200, {"count": found.count, "sample": shown, "as_of": shapes.when(as_of)}


async def list_fields(_: Call) -> tuple[int, Any]:
    """GET /segments/fields."""
    return 200, {"items": [_field(one) for one in FIELDS.values()], "next_cursor": None}


async def list_exclusions(_: Call) -> tuple[int, Any]:
    """GET /segments/exclusions."""
    items = [{"name": one.name, "title": one.title, "explained": one.explained} for one in READY]
    return 200, {"items": items, "next_cursor": None}


async def create_segment(call: Call) -> tuple[int, Any]:
    """POST /segments."""
    checked(call, call.body.where)
    made = await call.deps.segments.create(call.body.name, call.body.where, call.caller.name, call.deps.clock.now())
    return 201, _shown(made)


async def list_segments(call: Call) -> tuple[int, Any]:
    """GET /segments: the newest first."""
    found = await call.deps.segments.list(place_of(call), call.limit + 1)
    return 200, page(found, call.limit, lambda one: cursor_of((one.created_at, one.id)), _shown)


async def get_segment(call: Call) -> tuple[int, Any]:
    """GET /segments/{id}."""
    found = await call.deps.segments.get(call.request.match_info["id"])
    return 200, _shown(_there(found))


async def patch_segment(call: Call) -> tuple[int, Any]:
    """PATCH /segments/{id}: with the `version` that was read, nobody else's change is overwritten unseen."""
    given = {name: getattr(call.body, name) for name in ("name", "where") if getattr(call.body, name) is not None}
    if "where" in given:
        checked(call, given["where"])
    id, now = call.request.match_info["id"], call.deps.clock.now()
    changed = await call.deps.segments.change(id, call.caller.name, now, version=call.body.version or 0, **given)
    return 200, _shown(_there(changed))


async def delete_segment(call: Call) -> tuple[int, Any]:
    """DELETE /segments/{id}: not while a broadcast that was handed in asks for it. A draft is told when it is submitted."""
    id = call.request.match_info["id"]
    if waiting := [one for one in await call.deps.desk.users_of(id) if one.state != "draft"]:
        named = ", ".join(f"{one.title} ({one.id}, {one.state})" for one in waiting[:5])
        raise Refusal(409, "in-use", f"it is used by {named}: cancel them or give them another audience first")
    if not await call.deps.segments.delete(id, version=int(call.query("version") or 0)):
        raise _missing()
    return 200, {"id": id, "deleted": True}


async def draw_scores(call: Call) -> tuple[int, Any]:
    """POST /segments/scores: the projector does it within seconds."""
    await call.deps.segments.ask_scores()
    return 202, {"asked": True}


# --- what they share --------------------------------------------------------------------------------------------------


def checked(call: Call, where: Any, path: str = "where") -> Any:
    """The conditions of a body. Raises Refusal 400 with every fault and its path."""
    try:
        return parse(where, path=path, known=Known(call.deps.accounts, frozenset(call.deps.envelopes)))
    except SegmentError as error:
        raise Refusal(400, "bad-body", error.detail, errors=error.faults) from error


async def caught_up(call: Call, seconds: float = CAUGHT_UP_S) -> Ms:
    """Waits until the ledger knows all that has been until now; up to when it knows all, if that takes too long (ms, virtual)."""
    deps = call.deps
    now, end = deps.clock.now(), deps.clock.monotonic() + seconds
    wanted = await deps.queries.ends()
    while True:
        known = await deps.history.positions()
        behind = [known.get(p, "") for p, last in wanted.items() if after(last, known.get(p, ""))]
        if not behind:
            return now
        if deps.clock.monotonic() > end:
            # Entries are numbered by the server's time; a sandbox's clock is ahead of it.
            told = min(place(last)[0] for last in behind)
            return told + deps.clock.offset() if told else 0
        await asyncio.sleep(0.05)


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type,
        "operators": list(OPERATORS[field.type]),
        "choices": list(field.choices),
        "least": field.least if field.type in ("number", "days") else None,
        "most": field.most if field.type in ("number", "days") else None,
        "qualifiers": [{"name": name, "words": QUALIFIERS[name]} for name in field.qualifiers],
        "label": {"zh-CN": field.zh, "en": field.en},
        "hint": field.hint,
    }


def _shown(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "name": segment.name,
        "where": segment.where,
        "created_by": segment.created_by,
        "created_at": shapes.when(segment.created_at),
        "updated_by": segment.updated_by,
        "updated_at": shapes.when(segment.updated_at),
        "version": segment.version,
    }


def _there(found: Segment | None) -> Segment:
    if found is None:
        raise _missing()
    return found


def _missing() -> Refusal:
    return Refusal(404, "not-found", "there is no segment with this id")
