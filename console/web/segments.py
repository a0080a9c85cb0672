"""The pages of saved segments: the list with what each says and who uses it, and one to change. What is done goes through the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from bot.broadcasts import Broadcast
from console.api.refusals import Refusal
from console.web.frame import Visit, page
from console.web.pages import facts_of, for_conditions, may, told_segment

HOME = "/console/segments"


async def overview(visit: Visit) -> web.StreamResponse:
    """All of them by name."""
    desk = visit.deps.desk
    saved = [told_segment(visit, one) for one in await desk.crowd.segments()]
    using = await desk.uses()
    return page(
        visit,
        "segments.html",
        rows=[{**one, "using": using[one["id"]]} for one in saved],
        may_write=may(visit, "marketing"),
        facts={**facts_of(visit), "segments": saved},
    )


async def one(visit: Visit) -> web.StreamResponse:
    """One of them, or a new one."""
    desk, id = visit.deps.desk, visit.request.match_info.get("id", "")
    saved = await desk.crowd.segments()
    kept = next((each for each in saved if each["id"] == id), None)
    if id and kept is None:
        raise Refusal(404, "not-found", "there is no segment with this id")
    facts = {
        **facts_of(visit),
        **for_conditions(visit),
        "found": told_segment(visit, kept) if kept else None,
        "taken": [each["name"] for each in saved if each["id"] != id],
        "may_write": may(visit, "marketing"),
    }
    using = _using(await desk.users_of(id)) if kept else []
    return page(visit, "segment.html", found=facts["found"], using=using, may_write=facts["may_write"], facts=facts)


def _using(broadcasts: Sequence[Broadcast]) -> list[Mapping[str, Any]]:
    return [{"id": one.id, "title": one.title, "state": one.state} for one in broadcasts]
