"""A broadcast at one buyer: whether it goes there, once. No I/O.

What was planned is counted where it was planned (`events`); what a link or a merge passes on counts as `forwarded` there and
as `arrived` where it ends. The message's own row counts from then on, in the step that moves it.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from bot import ids
from bot.apply import Applier
from bot.broadcasts import SOURCE, Broadcast, Script, Variant
from bot.codec import dump_event, load_event
from bot.effects import Say, Skip
from bot.events import BroadcastDue, Event, Forwarded, Ms
from bot.reasons import Rule, SkipReason
from bot.records import Buyer, Link, Waiting
from bot.run import LookUp, Run
from bot.speaking import Speaker


class BroadcastTurns:
    """The part of a buyer's turn that is about broadcasts."""

    def __init__(
        self, *, apply: Applier, speaker: Speaker, broadcasts: Mapping[str, Broadcast], spread_ms: Ms = 0
    ) -> None:
        """`broadcasts`: those that this process has at hand; another one is looked up."""
        self._apply = apply
        self._speaker = speaker
        self._broadcasts = broadcasts
        self._spread_ms = spread_ms

    def come(self, run: Run, due: BroadcastDue, waited: Waiting | None = None) -> None:
        """It has come to a buyer, or to nobody. `waited`: it was here before, and its hour has come."""
        self._count(run, due, waited)
        broadcast = self._broadcasts.get(due.broadcast)
        if broadcast is None:
            run.effects.append(LookUp(due))
        else:
            self.go_on(run, due, broadcast)

    def _count(self, run: Run, due: BroadcastDue, waited: Waiting | None) -> None:
        if waited is not None and waited.id:
            return  # its row counts already
        if due.moved or waited is not None:
            run.tally(due.broadcast, "arrived", 1)
        else:
            run.tally(due.broadcast, "events", -1)

    def pass_on(self, run: Run, link: Link, event: Event, due: BroadcastDue) -> None:
        """The buyer lives elsewhere by now."""
        self._count(run, due, None)
        run.tally(due.broadcast, "forwarded", 1)
        moved = structs.replace(event, body=structs.replace(due, moved=True))
        self._apply.post(run, link.home, Forwarded(dump_event(moved)))

    def ended(self, run: Run, buyer: Buyer, broadcast: str) -> None:
        """What of it waits for its hour is skipped."""
        for name, waiting in list(buyer.waiting.items()):
            body = load_event(waiting.event).body
            if not isinstance(body, BroadcastDue) or body.broadcast != broadcast:
                continue
            del buyer.waiting[name]
            buyer.timers.pop(name, None)
            if waiting.id:
                self._apply.settle(run, waiting.id, SkipReason.CANCELLED)
            else:
                self._count(run, body, waiting)
                self._skip(run, buyer, body, None, SkipReason.CANCELLED, Rule.BROADCAST)

    # --- one buyer ------------------------------------------------------------------------------------------------

    def go_on(self, run: Run, due: BroadcastDue, broadcast: Broadcast | None) -> None:
        """Decides; whatever it is, there is a row of it."""
        buyer = run.record if isinstance(run.record, Buyer) else None
        refused = _refused(due, broadcast, buyer)
        if refused is not None or broadcast is None or buyer is None:
            reason, rule = refused or (SkipReason.CANCELLED, Rule.BROADCAST)
            self._skip(run, buyer, due, broadcast, reason, rule)
            return
        chosen = variant_of(broadcast, due.variant, buyer.id)
        script = Script(
            text={**broadcast.text, **(chosen.text if chosen else {})},
            templates=broadcast.templates,
            given=broadcast.given,
            coupon=broadcast.coupon,
            spread_ms=self._spread_ms,
        )
        say = Say(
            key=_key(due),
            purpose=broadcast.purpose,
            accounts=broadcast.accounts,
            source=f"{SOURCE}{due.broadcast}",
            touch=_key(due),
            not_after=broadcast.not_after,
            script=script,
            variant=chosen.name if chosen else "",
        )
        run.touched = True
        if self._speaker.say(run, buyer, say):
            self._apply.touch(buyer, [_key(due)], run.now)

    def _skip(
        self,
        run: Run,
        buyer: Buyer | None,
        due: BroadcastDue,
        broadcast: Broadcast | None,
        reason: SkipReason,
        rule: Rule,
    ) -> None:
        chosen = variant_of(broadcast, due.variant, buyer.id) if broadcast is not None and buyer is not None else None
        source = f"{SOURCE}{due.broadcast}"
        purpose = broadcast.purpose if broadcast is not None else "marketing"
        variant = chosen.name if chosen else due.variant
        self._speaker.skip(run, Skip(_key(due), reason, rule, purpose, source, variant=variant), buyer)


def _key(due: BroadcastDue) -> str:
    return f"broadcast/{due.broadcast}"


def _refused(due: BroadcastDue, broadcast: Broadcast | None, buyer: Buyer | None) -> tuple[SkipReason, Rule] | None:
    if buyer is None or buyer.erased or due.buyer not in (buyer.id, *buyer.merged):
        return SkipReason.ERASED, Rule.ADDRESS  # nobody is there, or somebody new
    if broadcast is None or broadcast.state == "cancelled":
        return SkipReason.CANCELLED, Rule.BROADCAST
    if _key(due) in buyer.touched:
        return SkipReason.ALREADY_SENT, Rule.ALREADY_SENT  # two of its audience turned out to be one
    if held_out(broadcast, buyer.id):
        return SkipReason.HOLDOUT, Rule.HOLDOUT
    return None


def held_out(broadcast: Broadcast, buyer: str) -> bool:
    """Whether a buyer is one of the share that is left out: in every round of a weekly one the same."""
    seed = f"holdout|{broadcast.parent or broadcast.id}|{buyer}"
    return broadcast.holdout_percent > 0 and ids.share(seed, 100) < broadcast.holdout_percent


def variant_of(broadcast: Broadcast, variant: str, buyer: str) -> Variant | None:
    """How it is said to a buyer: as the audience says (`variant`), else by weight."""
    named = next((one for one in broadcast.variants if one.name == variant), None)
    open_to_all = [one for one in broadcast.variants if not one.where and one.weight > 0]
    if named is not None or not open_to_all:
        return named
    at = ids.share(f"variant|{broadcast.parent or broadcast.id}|{buyer}", sum(one.weight for one in open_to_all))
    for one in open_to_all:
        at -= one.weight
        if at < 0:
            return one
    return None
