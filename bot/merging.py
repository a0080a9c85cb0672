"""The turns of a merge at its loser: it says nothing new, waits for what is on its way, hands over, becomes a link. No I/O.

Without the pause a message of the survivor could overtake one that is still in the loser's queue.
"""

from __future__ import annotations

from bot import identity
from bot.apply import Applier
from bot.codec import dump_event, load_event
from bot.events import Event, Ms, TimerDue
from bot.reasons import SkipReason
from bot.records import Buyer, Merging, Timer
from bot.run import AwaitQuiet, Run, fired

POLL_MS: Ms = 200


def begin(run: Run, apply: Applier, buyer: Buyer, merging: Merging) -> None:
    """From here on the loser says nothing new; it asks at once, and then every 0.2 s, whether its addresses are quiet."""
    buyer.merging = merging
    due = TimerDue(identity.MERGE, run.now + POLL_MS)
    buyer.timers[identity.MERGE] = Timer(due=due.due)
    # By mail as well: it comes at once, but after all that this batch has planned is in its queue.
    apply.post(run, buyer.home, due)


def hold(run: Run, buyer: Buyer, event: Event, merging: Merging) -> None:
    """What comes meanwhile follows to the survivor, in its order."""
    if not isinstance(event.body, TimerDue):
        merging.held.append(dump_event(event))
    elif event.body.name == identity.MERGE and fired(buyer.timers, event.body) is not None:
        run.effects.append(AwaitQuiet(tuple((a.account, a.id) for a in buyer.addresses)))
    # Any other timer is in the snapshot: it fires at the survivor.


def go_on(run: Run, apply: Applier, *, quiet: bool) -> list[Event]:
    """Hands over once the addresses are quiet, or the time for that has passed: then the events that the link passes on."""
    buyer = run.record
    if not isinstance(buyer, Buyer) or buyer.merging is None:
        return []
    merging = buyer.merging
    if not quiet and run.now < merging.until:
        buyer.timers[identity.MERGE] = Timer(due=min(run.now + POLL_MS, merging.until))
        return []
    for waiting in buyer.waiting.values():  # planned anew, with a new id, at the survivor
        apply.settle(run, waiting.id, SkipReason.MERGED)
    snapshot, link = identity.hand_over(buyer, merging, run.now)
    apply.post(run, merging.survivor, snapshot)
    run.record, run.before_timers = link, {}
    return [load_event(body) for body in merging.held]
