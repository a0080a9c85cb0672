"""A notice whose failure the provider tells later, and which may pass, is said again: a message of its own that names the first.

The message that failed stays failed, so that states only move forward and counts add up. The new one is weighed like any
other, at its own hour: hours, caps, opt-out, deadline and, just before the call, the reason of the notice.
"""

from __future__ import annotations

from bot import ids
from bot.broadcasts import SOURCE
from bot.effects import Say
from bot.messages import OutboundMessage
from bot.records import Buyer, Timer
from bot.run import Recall, Recalled, Run

TIMER = "again"


def next_id(partition: int, id: str) -> str:
    """The id of the message that repeats another: the same however often its failure is told."""
    return ids.derived("m", partition, f"{TIMER}|{id}")


def go_on(run: Run, recall: Recall, found: Recalled) -> Say | None:
    """Sets the timer of the next attempt; once it has fired, the attempt itself. Service notices only."""
    message, buyer = found.message, run.record
    if message is None or not isinstance(buyer, Buyer) or message.purpose != "service":
        return None
    if message.source.startswith(SOURCE):
        return None  # a broadcast counts each buyer's message once
    if not recall.waits_s:
        return _repeat(run, message)
    name = f"{TIMER}:{message.id}"
    if message.again < len(recall.waits_s) and name not in buyer.timers:
        due = run.now + recall.waits_s[message.again] * 1000
        if not message.not_after or due <= message.not_after:
            buyer.timers[name] = Timer(due=due)
            run.touched = True
    return None


def _repeat(run: Run, message: OutboundMessage) -> Say:
    return Say(
        key=message.key,
        purpose=message.purpose,
        account=message.account,
        content=message.content,
        not_after=message.not_after,
        guard=message.guard,
        touch=message.touch,
        source=message.source,
        order=message.order,
        id=next_id(run.partition, message.id),
        again_of=message.id,
        again=message.again + 1,
    )
