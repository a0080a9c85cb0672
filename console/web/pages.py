"""The pages of broadcasts. They show; what is done goes through the REST API, with the session of who is signed in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, get_args
from zoneinfo import ZoneInfo

from aiohttp import web
from babel.dates import format_datetime

from bot.access import ROLES
from bot.broadcast_life import occurrence
from bot.broadcasts import Broadcast, BroadcastState, Variant
from bot.events import Ms
from bot.hours import local
from bot.lint import LONGEST
from bot.phrases import OF_ITEMS, VARIABLES
from bot.wording import WAY_OUT
from console.api.shared import cursor_of, place_from
from console.web.frame import Visit, page
from ledger.segments.kinds import PURPOSES, STATES

BROADCAST_STATES = get_args(BroadcastState)
OF_COUPONS = ("claimed", "redeemed", "expired", "any")
OF_MESSAGES = [state for state in STATES if state == "any" or state not in OF_COUPONS]
SHOWN = 50
DATES = 4


async def overview(visit: Visit) -> web.StreamResponse:
    """The list, newest first."""
    query, desk = visit.request.query, visit.deps.desk
    state, before = query.get("state", ""), place_from(query.get("cursor", ""))
    known = await desk.broadcasts.list()
    fitting = [
        b
        for b in known
        if (before is None or (b.created_at, b.id) < before) and (b.state == state or state not in BROADCAST_STATES)
    ]
    rows = await asyncio.gather(*(_row(visit, one) for one in fitting[:SHOWN]))
    more = cursor_of((fitting[SHOWN - 1].created_at, fitting[SHOWN - 1].id)) if len(fitting) > SHOWN else ""
    return page(
        visit,
        "overview.html",
        rows=rows,
        more=more,
        any=bool(known),
        state=state if state in BROADCAST_STATES else "",
        states=BROADCAST_STATES,
        may_write=may(visit, "marketing"),
    )


async def _row(visit: Visit, one: Broadcast) -> dict[str, Any]:
    shown = await visit.deps.desk.shown(one)
    at = one.done_at or one.started_at or one.next_at or one.send_at or one.created_at
    planned = shown["counts"]["planned"]
    return {**shown, "recipients": planned or shown["recipients"], "when": when(visit, at)}


async def compose(visit: Visit) -> web.StreamResponse:
    """Writing one, or changing a draft."""
    desk, id = visit.deps.desk, visit.request.match_info.get("id", "")
    kept = await desk.get(id) if id else None
    if kept is not None and kept.state != "draft":
        return web.Response(status=303, headers={"Location": f"/console/broadcasts/{id}"})
    found = await desk.shown(kept) if kept is not None else None
    marketing = desk.policy.order_of_channels.get("marketing", ())
    names = [*marketing, *(name for name in desk.lanes if name not in marketing)]
    lanes = [
        {
            "account": name,
            "chosen": name in marketing and desk.lanes[name].able.free_text,
            "templates": None if desk.lanes[name].able.free_text else desk.lanes[name].templates,
        }
        for name in names
        if name in desk.lanes
    ]
    segments = await desk.crowd.segments()
    campaigns = [{"key": one.key, "title": one.title} for one, _ in await desk.coupons.all()]
    return page(
        visit,
        "compose.html",
        found=found,
        lanes=lanes,
        campaigns=campaigns,
        segments=segments,
        exclusions=desk.crowd.exclusions(visit.lang),
        variables={name: words for name, words in VARIABLES.items() if name not in OF_ITEMS or not name[-1].isdigit()},
        timezone=visit.deps.timezone,
        now=when(visit, desk.clock.now()),
        facts={
            **facts_of(visit),
            **_for_compose(visit, names),
            **for_conditions(visit),
            "found": found,
            "segments": [told_segment(visit, one) for one in segments],
        },
    )


async def detail(visit: Visit) -> web.StreamResponse:
    """One: what it says, where it stands, what became of it."""
    desk = visit.deps.desk
    kept = await desk.get(visit.request.match_info["id"])
    found = await desk.shown(kept)
    may_write = may(visit, "marketing")
    titles = {one["name"]: one["title"] for one in desk.crowd.exclusions(visit.lang)}
    alone = visit.session is not None and await desk.alone(visit.session.caller.name)
    facts = {
        **facts_of(visit),
        "found": found,
        "may_write": may_write,
        "me": visit.session.caller.name if visit.session else "",
        "alone": alone,
        "undo_seconds": desk.broadcasts.rules.undo_ms // 1000,
    }
    return page(
        visit,
        "detail.html",
        found=found,
        may_write=may_write,
        audience=await _audience(visit, kept),
        exclusions={name: titles.get(name, name) for name in kept.exclude},
        schedule=_schedule(visit, kept),
        dates=_dates(visit, kept),
        timezone=visit.deps.timezone,
        rounds=[await _row(visit, one) for one in await desk.broadcasts.list() if one.parent == kept.id][:SHOWN]
        if kept.repeat
        else [],
        parent=await desk.broadcasts.find(kept.parent) if kept.parent else None,
        versions=[_version(visit, one) for one in kept.variants],
        facts=facts,
    )


async def messages(visit: Visit) -> web.StreamResponse:
    """Its messages, by state and reason."""
    kept = await visit.deps.desk.get(visit.request.match_info["id"])
    query = visit.request.query
    state, reason = query.get("state", ""), query.get("reason", "")
    state = state if state in visit.words["message_state"] else ""
    facts = {**facts_of(visit), "id": kept.id, "state": state, "why": reason}
    return page(
        visit,
        "messages.html",
        found={"id": kept.id, "title": kept.title},
        state=state,
        reason=state and reason,
        told=told_reason(visit, reason),
        facts=facts,
    )


def told_reason(visit: Visit, reason: str) -> str:
    """A reason in words, with the provider's own code where it told one."""
    w = visit.words
    why, _, code = reason.partition(":")
    plain = str(w["reason"].get(why, why))
    if not code:
        return plain
    said = w["code"].get(code)
    pattern = w["js"]["code_says" if said else "with_code"]
    return str(pattern.format(reason=plain, code=code, words=said))


# --- facts for the scripts --------------------------------------------------------------------------------------------


def facts_of(visit: Visit) -> dict[str, Any]:
    """What every script needs: words, names, the clock."""
    w = visit.words
    return {
        "lang": visit.lang,
        "timezone": visit.deps.timezone,
        "ahead_ms": visit.deps.desk.clock.offset(),  # the sandbox's clock is its own
        "told": w["told"],
        "problems": w["problem"],
        "words": w["js"],
        "states": w["state"],
        "message_states": w["message_state"],
        "reasons": w["reason"],
        "codes": w["code"],
        "rules": w["rule"],
        "units": w["units"],
        "preview": w["preview"],
        "detail": w["detail"],
        "compose": w["compose"],
        "languages": w["lang"],
        "exclusions": {one["name"]: one["title"] for one in visit.deps.desk.crowd.exclusions(visit.lang)},
        "approve_above": visit.deps.desk.broadcasts.rules.approve_above,
    }


def _for_compose(visit: Visit, names: list[str]) -> dict[str, Any]:
    desk = visit.deps.desk
    lanes = [desk.lanes[name] for name in names if name in desk.lanes]
    return {
        "longest": {**LONGEST, "brand": desk.shop.brand},
        "brand": desk.shop.brand,
        "brands": dict(desk.shop.brands),
        "endings": dict(WAY_OUT),
        "lanes": [
            {
                "account": lane.account,
                "sms": lane.able.sms,
                "mainland": lane.able.mainland_parts,
                "free_text": lane.able.free_text,
                "limit": lane.able.text_limit,
                "bytes": lane.able.limit_in_bytes,
                "signature": lane.signature,
            }
            for lane in lanes
        ],
    }


def for_conditions(visit: Visit) -> dict[str, Any]:
    """What a builder of conditions needs."""
    w, desk = visit.words, visit.deps.desk
    return {
        "fields": desk.crowd.fields(visit.lang),
        "operators": w["operator"],
        "operators_of_lists": w["operator_list"],
        "is": w["is"],
        "is_not": w["is_not"],
        "choices": w["choice"] | {"": w["choice"]["unknown"]},
        "besides": w["besides"],
        "narrow": {
            "account": list(desk.lanes),
            "shop": list(desk.shops),
            "purpose": PURPOSES,
            "state of coupons": OF_COUPONS,
            "state of messages": OF_MESSAGES,
        },
    }


def told_segment(visit: Visit, one: Mapping[str, Any]) -> dict[str, Any]:
    """A saved segment for a script: its conditions, and what they say."""
    told = visit.deps.desk.crowd.described(one["where"], visit.lang, visit.words) or visit.words["compose"]["everybody"]
    return {**one, "where": json.loads(one["where"]), "told": told}


def may(visit: Visit, what: str) -> bool:
    """Whether who is signed in may do this."""
    return visit.session is not None and what in ROLES.get(visit.session.caller.role, frozenset())


# --- words about one --------------------------------------------------------------------------------------------------


def when(visit: Visit, at: Ms) -> str:
    """A time by the shop's clock, in words of the page's language."""
    if not at:
        return ""
    shown = local(at, _zone(visit))
    locale = visit.lang.replace("-", "_")
    pattern = "d MMM y, HH:mm" if locale == "en" else "y年M月d日 HH:mm"
    return str(format_datetime(shown, pattern, locale=locale))


async def _audience(visit: Visit, kept: Broadcast) -> str:
    desk, w = visit.deps.desk, visit.words["compose"]
    if kept.segment:
        known = {one["id"]: one["name"] for one in await desk.crowd.segments()}
        return f"{w['saved']}: {known.get(kept.segment, kept.segment)}"
    return desk.crowd.described(kept.where, visit.lang, visit.words) or str(w["everybody"])


def _version(visit: Visit, one: Variant) -> dict[str, Any]:
    """A variant: for whom, and what they read."""
    desk, w = visit.deps.desk, visit.words
    told = desk.crowd.described(one.where, visit.lang, visit.words) if one.where else ""
    who = told or (w["compose"]["weight"] + f" {one.weight}" if one.text else w["detail"]["rest"])
    return {"name": one.name, "who": who, "text": one.text}


def _schedule(visit: Visit, kept: Broadcast) -> str:
    w = visit.words
    if kept.repeat is not None:
        day = list(w["days"].values())[kept.repeat.weekday]
        told = f"{w['compose']['weekly']} · {day} {kept.repeat.minute // 60:02d}:{kept.repeat.minute % 60:02d}"
        return f"{told}{w['detail']['until'].format(day=_day(visit, kept.repeat.until))}" if kept.repeat.until else told
    return when(visit, kept.send_at) if kept.send_at else str(w["compose"]["now"])


def _dates(visit: Visit, kept: Broadcast) -> list[str]:
    """When the next rounds of a weekly one are, by the shop's clock."""
    repeat, found = kept.repeat, list[str]()
    if repeat is None or kept.state in ("done", "cancelled"):
        return found
    at = kept.next_at or occurrence(repeat, max(visit.deps.desk.clock.now(), kept.send_at), _zone(visit))
    while at and len(found) < DATES:
        found.append(_day(visit, at, time=True))
        at = occurrence(repeat, at + 1, _zone(visit))
    return found


def _zone(visit: Visit) -> ZoneInfo:
    return ZoneInfo(visit.deps.timezone)


def _day(visit: Visit, at: Ms, *, time: bool = False) -> str:
    """A day with its day of the week."""
    pattern = "EEE d MMM" if visit.lang == "en" else "M月d日EEE"
    return str(
        format_datetime(
            local(at, _zone(visit)), pattern + (" HH:mm" if time else ""), locale=visit.lang.replace("-", "_")
        )
    )
