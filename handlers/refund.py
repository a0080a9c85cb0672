"""A refund is asked for: acknowledged at once, a task for staff with the time by which the buyer gets an answer."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS
from bot.effects import CloseTask, Effect, OpenTask, Tell
from bot.events import Guard
from bot.handling import Handler, Trigger, Turn
from bot.orders import is_fresh
from bot.records import Order
from bot.touching import touch
from handlers import order_lifecycle


def changed(turn: Turn) -> Sequence[Effect]:
    """A refund event."""
    order = turn.record
    assert isinstance(order, Order)
    effects: list[Effect] = list(order_lifecycle.changed(turn))
    for became in turn.became:
        kind, _, rest = became.partition(":")
        state, _, id = rest.partition(":")
        if kind != "refund":
            continue
        if state == "requested" and is_fresh(turn.event, "refund", turn.now):
            answer_at = turn.facts.staff_answer_by(turn.now)
            amount = next((r.amount for r in order.refunds if r.id == id), None)
            effects.append(
                OpenTask("refund", f"{order.number or order.id}", key=f"refund:{id}", order=order.id, due_at=answer_at)
            )
            asked = touch(
                order,
                "refund_received",
                parts=(id,),
                values={"amount": amount, "answer_at": answer_at, "number": order.number},
                guard=Guard(order.subject, f"refund:{id}", ("requested", "approved")),
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
