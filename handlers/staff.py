"""People in the conversation: while they write the bot is silent; and what staff ask to be sent."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from bot.broadcasts import Script
from bot.clock import MINUTE_MS
from bot.effects import CloseTask, Effect, IssueCard, Say, StaffOwns
from bot.events import StaffAsked
from bot.handling import Handler, Trigger, Turn

SILENCE_MS = 15 * MINUTE_MS


def spoke(turn: Turn) -> Sequence[Effect]:
    """Staff wrote or took over: theirs until 15 minutes of their silence."""
    return [StaffOwns(turn.now + SILENCE_MS), CloseTask("handover", "staff answered")]


def released(turn: Turn) -> Sequence[Effect]:
    """Staff gave the conversation back."""
    del turn
    return [StaffOwns(0)]


def message(turn: Turn) -> Sequence[Effect]:
    """A message by the API, or a test of a broadcast: policy holds for it like for any other."""
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    data = json.loads(body.data)
    return [
        Say(
            data.get("wording", ""),
            dict(data.get("vars", {})),
            purpose="marketing" if data["purpose"] == "marketing" else "service",
            accounts=tuple(data.get("accounts", ())),
            not_after=int(data.get("not_after", 0)),
            source=data.get("source") or f"api:{body.by}",
            script=msgspec.convert(data["script"], Script) if "script" in data else None,
            id=data["id"],
            text=data.get("text", ""),
        )
    ]


def imported(turn: Turn) -> Sequence[Effect]:
    """A member of another system: the card that they had, if its number can be kept, else a new one."""
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    data = json.loads(body.data)
    return [IssueCard(body.by, data["number"], data["level"], data["points"], data["joined_at"])]


HANDLER = Handler(
    name="staff",
    runs={
        Trigger("event", "staff_spoke"): spoke,
        Trigger("event", "staff_took"): spoke,
        Trigger("event", "staff_released"): released,
        Trigger("staff", "message"): message,
        Trigger("staff", "import_member"): imported,
    },
)
