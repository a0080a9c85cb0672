"""Broadcasts as the contract shows them, and as a body makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from bot.broadcasts import Broadcast, Counts, Repeat, Stage, Template, Variant
from bot.events import Ms
from bot.lint import Finding
from console.api.broadcast_models import WEEKDAYS, BroadcastPatch, RepeatIn, TemplateIn, VariantIn
from console.api.shapes import ms, when

EVERYBODY = '{"all":[]}'
SUMS = ("planned", "pending", "sent", "delivered", "read", "failed", "skipped", "in_doubt")


def broadcast(found: Broadcast, counts: Counts, warnings: Sequence[Finding], now: Ms) -> dict[str, Any]:
    """A broadcast with its counts."""
    return {
        "id": found.id,
        "title": found.title,
        "purpose": found.purpose,
        "state": found.state,
        "why": found.why or None,
        "where": json.loads(found.where) if not found.segment else None,
        "segment": found.segment or None,
        "text": found.text,
        "accounts": list(found.accounts),
        "templates": {
            account: {"template_id": one.template_id, "fields": one.fields} for account, one in found.templates.items()
        },
        "variants": [_variant(one, counts) for one in found.variants],
        "exclude": list(found.exclude),
        "items": list(found.items),
        "coupon": found.coupon or None,
        "holdout_percent": found.holdout_percent,
        "rate_per_second": found.rate_per_second or None,
        "send_at": when(found.send_at),
        "not_after": when(found.not_after),
        "repeat": _repeat(found),
        "parent": found.parent or None,
        "round": found.round,
        "created_at": when(found.created_at),
        "created_by": found.created_by,
        "submitted_by": found.submitted_by or None,
        "submitted_at": when(found.submitted_at),
        "approved_by": found.approved_by or None,
        "approved_at": when(found.approved_at),
        "changed_by": found.changed_by or None,
        "recipients": found.recipients if found.submitted_by else None,
        "undo_until": when(found.undo_until),
        "started_at": when(found.started_at),
        "done_at": when(found.done_at),
        "history": [_stage(one) for one in found.stages or _remembered(found)],
        "version": found.version,
        "counts": {name: getattr(counts, name) for name in SUMS},
        "skipped_by_reason": counts.skipped_by_reason,
        "failed_by_reason": counts.failed_by_reason,
        "failed_by_code": counts.failed_by_code,
        "by_account": counts.by_account,
        "progress": _progress(found, counts, now),
        "warnings": findings(warnings),
    }


def _stage(one: Stage) -> dict[str, Any]:
    return {"state": one.state, "at": when(one.at), "by": one.by, "why": one.why or None}


def _remembered(found: Broadcast) -> list[Stage]:
    """What is known of one that an older release made."""
    stages = [Stage("draft", found.created_at, found.created_by)]
    if found.started_at:
        stages.append(Stage("sending", found.started_at, "engine"))
    if found.done_at:
        stages.append(Stage(found.state, found.done_at, "engine"))
    return stages


def _variant(one: Variant, counts: Counts) -> dict[str, Any]:
    return {
        "name": one.name,
        "weight": one.weight,
        "where": json.loads(one.where) if one.where else None,
        "text": one.text,
        "counts": counts.by_variant.get(one.name, {}),
    }


def _repeat(found: Broadcast) -> dict[str, Any] | None:
    if found.repeat is None:
        return None
    return {
        "weekday": WEEKDAYS[found.repeat.weekday],
        "at": f"{found.repeat.minute // 60:02d}:{found.repeat.minute % 60:02d}",
        "until": when(found.repeat.until),
        "next_at": when(found.next_at),
        "missed": found.missed,
    }


def _progress(found: Broadcast, counts: Counts, now: Ms) -> dict[str, Any]:
    done, total = counts.planned - counts.pending, max(counts.planned, found.frozen)
    elapsed_s = ((found.done_at or now) - found.started_at) / 1000 if found.started_at else 0
    per_second = round(done / elapsed_s, 2) if done and elapsed_s >= 1 else None
    left = round((total - done) / per_second) if per_second and found.state == "sending" else None
    return {"done": done, "total": total, "per_second": per_second, "seconds_left": left}


def findings(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """What a check of the words found."""
    return [{"field": one.field, "rule": one.rule, "detail": one.detail, "args": one.args} for one in found]


def apply(body: BroadcastPatch, to: Broadcast) -> Broadcast:
    """A draft with what a body gives; what it leaves out stays, and null is none."""
    given = body.model_fields_set
    changes: dict[str, Any] = {}
    for name in ("title", "purpose", "holdout_percent"):
        if name in given and getattr(body, name) is not None:
            changes[name] = getattr(body, name)
    if body.accounts is not None:
        changes["accounts"] = tuple(dict.fromkeys(body.accounts))
    for name in ("exclude", "items"):
        if name in given:
            changes[name] = tuple(dict.fromkeys(getattr(body, name) or ()))
    for name in ("send_at", "not_after"):
        if name in given:
            changes[name] = ms(getattr(body, name))
    if "text" in given:
        changes["text"] = _texts(body.text or {})
    if "coupon" in given:
        changes["coupon"] = body.coupon or ""
    if "rate_per_second" in given:
        changes["rate_per_second"] = body.rate_per_second or 0.0
    if "variants" in given:
        changes["variants"] = tuple(map(_variant_in, body.variants or ()))
    if "templates" in given:
        changes["templates"] = {account: _template_in(one) for account, one in (body.templates or {}).items()}
    if "repeat" in given:
        changes["repeat"] = _repeat_in(body.repeat) if body.repeat else None
    if body.segment is not None:
        changes |= {"segment": body.segment, "where": EVERYBODY}
    elif body.where is not None:
        changes |= {"segment": "", "where": _json(body.where)}
    return structs.replace(to, **changes)


def _json(where: Mapping[str, Any]) -> str:
    return json.dumps(where, ensure_ascii=False, separators=(",", ":"))


def _texts(texts: Mapping[Any, str]) -> dict[str, str]:
    """Without those that say nothing."""
    return {str(locale): text for locale, text in texts.items() if text.strip()}


def _variant_in(one: VariantIn) -> Variant:
    return Variant(one.name, one.weight, _json(one.where) if one.where is not None else "", _texts(one.text))


def _template_in(one: TemplateIn) -> Template:
    return Template(one.template_id, dict(one.fields))


def _repeat_in(one: RepeatIn) -> Repeat:
    hour, minute = one.at.split(":")
    return Repeat(WEEKDAYS.index(one.weekday), int(hour) * 60 + int(minute), ms(one.until))
