"""A refund is asked for: acknowledged at once, a task for staff with the time by which the buyer gets an answer."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS
from bot.effects import CloseTask, Effect, OpenTask, Tell
from bot.events import Guard
from bot.handling import Handler, Trigger, Turn
from bot.orders import OPEN_REFUND, is_fresh
from bot.touching import key_of, touch
from handlers import order_lifecycle


def changed(turn: Turn) -> Sequence[Effect]:
    """A refund event."""
    order = turn.order
    effects: list[Effect] = list(order_lifecycle.changed(turn))
    for became in turn.became:
        kind, _, rest = became.partition(":")
        state, _, id = rest.partition(":")
        if kind != "refund":
            continue
        if state in OPEN_REFUND and is_fresh(turn.event, "refund", turn.now):
            # An approval may come before the request that it answers: the buyer is told once, by whichever is first.
            if key_of(order, "refund_received", id) in order.told:
                continue
            answer_at = turn.facts.staff_answer_by(turn.now)
            case = next(r for r in order.refunds if r.id == id)
            effects.append(
                OpenTask("refund", f"{order.number or order.id}", key=f"refund:{id}", order=order.id, due_at=answer_at)
            )
            asked = touch(
                order,
                "refund_received",
                parts=(id,),
                values={
                    "amount": case.amount,
                    "answer_at": answer_at,
                    "number": order.number,
                    "exchange": "1" if case.kind == "exchange" else "",
                },
                guard=Guard(order.subject, f"refund:{id}", OPEN_REFUND),
                not_after=turn.now + DAY_MS,
            )
            effects.append(Tell(asked))
        elif state in ("succeeded", "rejected", "closed"):
            effects.append(CloseTask(f"refund:{id}", state))
    return effects


HANDLER = Handler(
    name="refund",
    runs={
        Trigger("shop", f"refund.{state}", "order"): changed
        for state in ("requested", "approved", "rejected", "succeeded", "closed")
    },
)
