"""The life of a broadcast: what may be done with it in which state, when a weekly one is due. Pure.

    draft → (awaiting_approval) → scheduled → sending ⇄ paused → done, or cancelled from any of them

Each function answers the broadcast as it is afterwards, and raises StateError where that cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import TypeAlias

from msgspec import structs

from bot import ids
from bot.broadcasts import LIFE_MS, MOST_STAGES, Broadcast, BroadcastState, Repeat, Stage
from bot.errors import StateError
from bot.events import Ms
from bot.hours import instant, local

Step: TypeAlias = Callable[[Broadcast], Broadcast]
"""One change of a broadcast."""
LATE_MS: Ms = 6 * 3_600_000
"""A weekly round that could not begin within this is missed, not made up for: its day is over."""
GROWN = 2
"""An approved audience that is over so many times what was approved needs somebody's word again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is configured. `approve_above` None: nobody need approve, and what is submitted starts."""

    zone: tzinfo
    approve_above: int | None = None
    undo_ms: Ms = 0


def need(broadcast: Broadcast, *states: BroadcastState, to: str) -> None:
    """Raises StateError unless it is in one of these states."""
    if broadcast.state not in states:
        raise StateError(f"a broadcast that is {_SAID[broadcast.state]} cannot be {to}")


_SAID: dict[BroadcastState, str] = {
    "draft": "a draft",
    "awaiting_approval": "awaiting approval",
    "scheduled": "scheduled",
    "sending": "being sent",
    "paused": "paused",
    "done": "done",
    "cancelled": "cancelled",
}


def submit(broadcast: Broadcast, by: str, now: Ms, rules: Rules, *, recipients: int) -> Broadcast:
    """`recipients`: how many the audience is now; above the limit somebody else must approve."""
    need(broadcast, "draft", to="submitted")
    asked = structs.replace(
        broadcast, submitted_by=by, submitted_at=now, recipients=recipients, approved_by="", approved_at=0, why=""
    )
    if rules.approve_above is not None and recipients > rules.approve_above:
        return structs.replace(asked, state="awaiting_approval")
    return _schedule(asked, now, rules)


def approve(broadcast: Broadcast, by: str, now: Ms, rules: Rules, *, alone: bool) -> Broadcast:
    """`alone`: whoever submitted it also approves it, having typed the count of its recipients."""
    need(broadcast, "awaiting_approval", to="approved")
    _second(broadcast, by, alone=alone)
    return _schedule(structs.replace(broadcast, approved_by=by, approved_at=now), now, rules)


def _second(broadcast: Broadcast, by: str, *, alone: bool) -> None:
    if by == broadcast.submitted_by and not alone:
        raise StateError(
            "whoever submitted a broadcast does not approve it: ask somebody else, or type how many it reaches"
        )


def _schedule(broadcast: Broadcast, now: Ms, rules: Rules) -> Broadcast:
    scheduled = structs.replace(broadcast, state="scheduled", undo_until=now + rules.undo_ms)
    if broadcast.repeat is not None:
        first = max(broadcast.send_at, scheduled.undo_until)
        scheduled.next_at = occurrence(broadcast.repeat, first, rules.zone)
    return scheduled


def withdraw(broadcast: Broadcast, now: Ms) -> Broadcast:
    """Back to a draft: before it was approved, or within the undo window."""
    need(broadcast, "awaiting_approval", "scheduled", to="taken back")
    if broadcast.state == "scheduled" and not broadcast.repeat and now >= max(broadcast.undo_until, broadcast.send_at):
        raise StateError("it begins just now: pause or cancel it")
    return structs.replace(
        broadcast, state="draft", undo_until=0, submitted_by="", submitted_at=0, approved_by="", approved_at=0
    )


def due(broadcast: Broadcast, now: Ms) -> bool:
    """Whether a scheduled one is to begin."""
    return (
        broadcast.state == "scheduled" and not broadcast.repeat and now >= max(broadcast.send_at, broadcast.undo_until)
    )


def start(broadcast: Broadcast, now: Ms) -> Broadcast:
    """It begins: its audience is frozen next."""
    need(broadcast, "scheduled", to="started")
    return structs.replace(
        broadcast, state="sending", started_at=now, not_after=broadcast.not_after or now + LIFE_MS, why=""
    )


def pause(broadcast: Broadcast, why: str) -> Broadcast:
    """Nothing more is sent until it goes on."""
    need(broadcast, "scheduled", "sending", to="paused")
    return structs.replace(broadcast, state="paused", why=why, pauses=broadcast.pauses + 1)


def outgrown(broadcast: Broadcast, size: int, rules: Rules) -> str:
    """Why an audience of this size needs somebody's word, "" where it needs none: it grew since it was let go.

    A weekly one was approved for whoever belongs to it each week: its rounds grow as they will.
    """
    limit = rules.approve_above
    if limit is None or size <= limit:
        return ""
    if not broadcast.approved_by:
        return f"its audience has grown to {size}, above the {limit} that need no approval"
    if not broadcast.parent and size > GROWN * broadcast.recipients:
        return f"its audience has grown to {size}, from the {broadcast.recipients} that were approved"
    return ""


def resume(
    broadcast: Broadcast, by: str, now: Ms, rules: Rules, *, looked_at: tuple[int, int, int], alone: bool = False
) -> Broadcast:
    """It goes on. `looked_at`: how many have ended and failed by now, which whoever lets it go on has seen.

    One that has outgrown its approval is approved anew by it: not by who submitted it, unless `alone`, having typed the count.
    """
    need(broadcast, "paused", to="resumed")
    state: BroadcastState = "sending" if broadcast.started_at else "scheduled"
    going = structs.replace(broadcast, state=state, why="", looked_at=looked_at)
    if outgrown(broadcast, broadcast.frozen, rules):
        _second(broadcast, by, alone=alone)
        going.approved_by, going.approved_at, going.recipients = by, now, broadcast.frozen
    if going.repeat is not None:
        going.next_at = occurrence(going.repeat, max(now, going.next_at), rules.zone)
    return going


def cancel(broadcast: Broadcast, now: Ms, why: str) -> Broadcast:
    """It ends here: what has not gone is skipped."""
    need(broadcast, "draft", "awaiting_approval", "scheduled", "sending", "paused", to="cancelled")
    done_at = 0 if broadcast.started_at else now
    return structs.replace(broadcast, state="cancelled", why=why, done_at=done_at)


def passed(broadcast: Broadcast) -> tuple[Stage, ...]:
    """What it went through, with the state that it has come into by its last change."""
    known = broadcast.stages
    if known and known[-1].state == broadcast.state:
        return known
    why = broadcast.why if broadcast.state in ("paused", "cancelled") else ""
    stages = (*known, Stage(broadcast.state, broadcast.changed_at, broadcast.changed_by, why))
    return stages if len(stages) <= MOST_STAGES else (stages[0], *stages[1 - MOST_STAGES :])


def edit(broadcast: Broadcast, to: Broadcast) -> Broadcast:
    """A draft with other words: only what staff write is taken over."""
    need(broadcast, "draft", to="changed")
    kept = {name: getattr(broadcast, name) for name in _KEPT}
    return structs.replace(to, **kept)


_KEPT = (
    "id created_at created_by parent round state why submitted_by approved_by undo_until started_at frozen done_at version "
    "recipients next_at missed pauses looked_at changed_by changed_at submitted_at approved_at stages"
).split()


# --- weekly -----------------------------------------------------------------------------------------------------------


def occurrence(repeat: Repeat, after: Ms, zone: tzinfo) -> Ms:
    """The first time from `after` on that the repeat names, by the shop's wall clock; 0 when it has ended.

    A time that the clocks skip is moved past the gap; of one that comes twice the earlier counts.
    """
    here = local(after, zone)
    for days in range(9):
        day = here.date() + timedelta(days=days)
        if day.weekday() != repeat.weekday:
            continue
        at = instant(datetime(day.year, day.month, day.day, repeat.minute // 60, repeat.minute % 60), zone)  # noqa: DTZ001
        if at >= after:
            return at if not repeat.until or at <= repeat.until else 0
    return 0


def rounds(broadcast: Broadcast, now: Ms, zone: tzinfo) -> tuple[Ms, int, Ms]:
    """Of a weekly one: the round to make now (0: none), how many were missed before it, when the next is due (0: never)."""
    assert broadcast.repeat is not None
    made, missed, at = 0, 0, broadcast.next_at
    while at and at <= now:
        if made:
            missed += 1
        made = at
        at = occurrence(broadcast.repeat, at + 1, zone)
    if made and now - made > LATE_MS:
        made, missed = 0, missed + 1
    return made, missed, at


def round_of(broadcast: Broadcast, at: Ms) -> Broadcast:
    """The round of a weekly one that is due at `at`: a broadcast of its own, approved with it. The same for whoever makes it."""
    return structs.replace(
        broadcast,
        id=ids.derived("bc", 0, f"{broadcast.id}|{at}"),
        created_at=at,
        parent=broadcast.id,
        round=broadcast.round + 1,
        state="scheduled",
        repeat=None,
        send_at=at,
        undo_until=0,
        not_after=at + LIFE_MS,
        next_at=0,
        missed=0,
        pauses=0,
        looked_at=(0, 0, 0),
        stages=(),
        version=0,
    )


def after_round(broadcast: Broadcast, now: Ms, made: Ms, missed: int, following: Ms) -> Broadcast:
    """A weekly one after the round of `made` (0: none was made): the next is at `following`, 0 when that was the last."""
    need(broadcast, "scheduled", to="repeated")
    after = structs.replace(
        broadcast, round=broadcast.round + bool(made), missed=broadcast.missed + missed, next_at=following
    )
    return after if following else structs.replace(after, state="done", done_at=now)
