"""A cart is left: three notes, 45 min, 24 h and 72 h after its last change, then none. Marketing: only with consent."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS
from bot.effects import Cancel, Effect, Schedule, Skip, Tell
from bot.events import Guard, Ms
from bot.handling import Handler, Trigger, Turn
from bot.orders import is_fresh
from bot.reasons import Rule, SkipReason
from bot.records import Cart
from bot.touching import item_of, key_of, others_of, touch

STEPS: tuple[tuple[str, Ms], ...] = (("cart_1", 45 * MINUTE_MS), ("cart_2", 24 * HOUR_MS), ("cart_3", 72 * HOUR_MS))
USEFUL_MS = 12 * HOUR_MS


def _cart(turn: Turn) -> Cart:
    assert isinstance(turn.record, Cart)
    return turn.record


def changed(turn: Turn) -> Sequence[Effect]:
    """The cart changed: the ladder starts again from here, or ends."""
    cart = _cart(turn)
    if cart.state != "open":
        return [Cancel(step) for step, _ in STEPS]
    if not turn.became or not is_fresh(turn.event, "cart", turn.now):
        return []
    told = {key.split("|")[1] for key in cart.told}
    steps = [(step, cart.updated_at + after) for step, after in STEPS if step not in told]
    return [Schedule(step, at) for step, at in steps if at > turn.now - USEFUL_MS]


def due(turn: Turn) -> Sequence[Effect]:
    """A step is due: ask the buyer's record for it."""
    cart = _cart(turn)
    body = turn.event.body
    step = getattr(body, "name", "")
    if cart.state != "open":
        key = key_of(cart, step)
        return [Skip(key, SkipReason.REASON_GONE, Rule.REASON_HOLDS, "marketing", f"journey:cart/{step[-1]}")]
    asked = touch(
        cart,
        step,
        values={
            "item": item_of(cart.items),
            "others": others_of(cart.items),
            "total": cart.total,
            "link": cart.recover_url,
        },
        guard=Guard(cart.subject, "cart", ("open",)),
        not_after=turn.now + (USEFUL_MS if step == "cart_1" else DAY_MS),
        since=cart.started_at,
        source=f"journey:cart/{step[-1]}",
        purpose="marketing",
    )
    return [Tell(asked)]


HANDLER = Handler(
    name="cart_ladder",
    runs={
        Trigger("shop", "checkout.updated", "cart"): changed,
        Trigger("shop", "cart.abandoned", "cart"): changed,
        Trigger("shop", "order.created", "cart"): changed,
        **{Trigger("timer", step, "cart"): due for step, _ in STEPS},
    },
)
