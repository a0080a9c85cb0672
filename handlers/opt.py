"""Out and in: stop words end marketing on all channels at once; the way back is one word."""

from __future__ import annotations

from collections.abc import Sequence

from bot.effects import Effect, Leave, OptIn, OptOut, Say
from bot.events import OptChanged
from bot.handling import Handler, Trigger, Turn

# What Twilio and US carriers themselves act on: from then on they block the number.
CARRIER_WORDS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"})


def _blocks(turn: Turn) -> bool:
    account = turn.facts.accounts.get(turn.event.account)
    if account is None or not account.capabilities.sms or turn.text not in CARRIER_WORDS:
        return False
    return account.type == "twilio" or (turn.address is not None and turn.address.id.startswith("+1"))


def out(turn: Turn) -> Sequence[Effect]:
    """The buyer says stop. Confirmed once; a repeat is heard and not answered."""
    already = turn.address is not None and turn.address.opted_out
    effects: list[Effect] = [OptOut(source=f"{turn.event.account}:keyword", blocks=_blocks(turn))]
    if turn.address is not None and turn.address.dialog.state == "consent.marketing":
        effects.append(Leave())  # that was the answer: a "yes" typed later is no answer to it any more
    return effects if already else [*effects, Say("opt_out_done", confirms_opt_out=True)]


def back(turn: Turn) -> Sequence[Effect]:
    """The buyer wants news again, on this channel."""
    return [OptIn(source=f"{turn.event.account}:keyword", wording="opt_in_done"), Say("opt_in_done")]


def reported(turn: Turn) -> Sequence[Effect]:
    """The provider reports it; what it has answered itself is not answered twice."""
    body = turn.event.body
    assert isinstance(body, OptChanged)
    source = f"{turn.event.account}:provider"
    if body.change == "out":
        effects: list[Effect] = [OptOut(source=source, blocks=body.blocks_all)]
        return effects if body.answered else [*effects, Say("opt_out_done", confirms_opt_out=True)]
    if body.change == "in":
        effects = [OptIn(source=source)]
        return effects if body.answered else [*effects, Say("opt_in_done")]
    if body.answered:
        return []
    return [Say("help", {"hours": turn.facts.staff_hours, "phone": turn.facts.staff_phone})]


HANDLER = Handler(
    name="opt",
    runs={
        Trigger("intent", "opt_out"): out,
        Trigger("intent", "opt_in"): back,
        Trigger("event", "opt"): reported,
    },
)
