"""Broadcasts: made, previewed, tested, let go, stopped, and what became of them."""

from __future__ import annotations

from typing import Any

from bot import ids
from bot.broadcasting import HOME
from bot.broadcasts import Broadcast
from console.api.broadcast_models import Seen
from console.api.http import Call
from console.api.refusals import Refusal
from console.api.shared import cursor_of, page, place_of
from console.preview import preview
from console.trial import send, trials


async def create_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts."""
    id = ids.derived("bc", HOME, call.once) if call.once else ""
    made = await call.deps.desk.create(call.body, call.caller.name, id)
    return 201, await call.deps.desk.shown(made)


async def list_broadcasts(call: Call) -> tuple[int, Any]:
    """GET /broadcasts."""
    before, state, parent = place_of(call), call.query("state"), call.query("parent")
    found = [
        one
        for one in await call.deps.desk.broadcasts.list()
        if (before is None or (one.created_at, one.id) < before)
        and (not state or one.state == state)
        and (not parent or one.parent == parent)
    ][: call.limit + 1]
    shown = {one.id: await call.deps.desk.shown(one) for one in found[: call.limit]}
    return 200, page(found, call.limit, lambda one: cursor_of((one.created_at, one.id)), lambda one: shown[one.id])


async def get_broadcast(call: Call) -> tuple[int, Any]:
    """GET /broadcasts/{id}."""
    return await _shown(call, await call.deps.desk.get(_id(call)))


async def patch_broadcast(call: Call) -> tuple[int, Any]:
    """PATCH /broadcasts/{id}: a draft only."""
    return await _shown(call, await call.deps.desk.change(_id(call), call.body, call.caller.name))


async def preview_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/preview: nothing is kept."""
    return 200, await preview(call.deps.desk, call.body, call.caller.name)


async def submit_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/submit."""
    return await _shown(call, await call.deps.desk.submit(_id(call), call.caller.name, _seen(call)))


async def approve_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/approve."""
    return await _shown(call, await call.deps.desk.approve(_id(call), call.caller.name, _seen(call)))


async def withdraw_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/withdraw."""
    return await _act(call, "withdraw")


async def pause_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/pause."""
    return await _act(call, "pause")


async def resume_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/resume."""
    return await _act(call, "resume")


async def cancel_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/cancel."""
    return await _act(call, "cancel")


async def test_broadcast(call: Call) -> tuple[int, Any]:
    """POST /broadcasts/{id}/test."""
    if why := call.deps.shut_because():
        raise Refusal(503, "not-storing", why)
    planned = await trials(call.deps.desk, _id(call), call.body, seed=call.once)
    await send(call.deps.appender, planned, call.caller.name, call.deps.clock.now())
    return 202, {"ids": [one.id for one in planned]}


async def _act(call: Call, action: str) -> tuple[int, Any]:
    return await _shown(call, await call.deps.desk.act(_id(call), action, call.caller.name, _seen(call)))


async def _shown(call: Call, found: Broadcast) -> tuple[int, Any]:
    return 200, await call.deps.desk.shown(found)


def _id(call: Call) -> str:
    return call.request.match_info["id"]


def _seen(call: Call) -> Seen:
    assert isinstance(call.body, Seen)
    return call.body
