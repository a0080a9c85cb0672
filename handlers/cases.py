"""What goes to people: a person asked for, returns, missing parcels, urgent matters, and what nobody understood."""

from __future__ import annotations

from collections.abc import Sequence

from bot.effects import Effect, Missed, OpenTask, Say
from bot.handling import Handler, Trigger, Turn


def _brief(turn: Turn, what: str) -> str:
    """For staff: what it is about. The words themselves are in the conversation."""
    last = max(turn.buyer.orders, key=lambda order: order.placed_at, default=None)
    number = f", order {last.number or last.id}" if last is not None else ""
    return f"{what}{number}"


def _values(turn: Turn) -> dict[str, object]:
    return {
        "hours": turn.facts.staff_hours,
        "minutes": turn.facts.answer_minutes,
        "answer_at": turn.facts.staff_answer_by(turn.now),
    }


def person(turn: Turn) -> Sequence[Effect]:
    """A person is asked for. The bot goes on answering until somebody takes over."""
    key = "handover_open" if turn.facts.staff_open(turn.now) else "handover_closed"
    due = turn.facts.staff_answer_by(turn.now)
    return [
        OpenTask("handover", _brief(turn, "asks for a person"), key="handover", due_at=due),
        Say(key, _values(turn)),
    ]


def returns(turn: Turn) -> Sequence[Effect]:
    """Return or exchange: a case, and when it will be answered."""
    due = turn.facts.staff_answer_by(turn.now)
    return [
        OpenTask("return", _brief(turn, "return or exchange"), key="return", due_at=due),
        Say("case_return", _values(turn)),
    ]


def missing(turn: Turn) -> Sequence[Effect]:
    """Delivered, but not to the buyer."""
    due = turn.facts.staff_answer_by(turn.now)
    return [
        OpenTask("parcel", _brief(turn, "parcel not received"), key="missing", due_at=due),
        Say("case_parcel", _values(turn)),
    ]


def urgent(turn: Turn) -> Sequence[Effect]:
    """It cannot wait."""
    return [
        OpenTask("urgent", _brief(turn, "urgent"), key="urgent", due_at=turn.now),
        Say("case_urgent", _values(turn)),
    ]


def fallback(turn: Turn) -> Sequence[Effect]:
    """Not understood: asks instead of guessing; the second time in a row a person is told."""
    misses = turn.address.dialog.misses if turn.address is not None else 0
    if misses == 0:
        return [Missed(), Say("fallback")]
    due = turn.facts.staff_answer_by(turn.now)
    key = "handover_open" if turn.facts.staff_open(turn.now) else "handover_closed"
    task = OpenTask("handover", _brief(turn, "two texts not understood"), key="handover", due_at=due)
    return [Missed(), task, Say(key, _values(turn))]


HANDLER = Handler(
    name="cases",
    runs={
        Trigger("intent", "person"): person,
        Trigger("intent", "returns"): returns,
        Trigger("intent", "missing"): missing,
        Trigger("intent", "urgent"): urgent,
        Trigger("intent", "fallback"): fallback,
    },
)
