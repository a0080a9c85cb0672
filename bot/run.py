"""A turn under way: what `Turns` begins, resumes and finishes, and what effects are applied to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct, field

from bot.broadcasts import Broadcast
from bot.buyers import Answer
from bot.change import Change, StatusChange, Taken
from bot.effects import ClaimCoupon, ClaimResult, Effect, FindProducts, IssueCard, Resolution, SendCode
from bot.events import BroadcastDue, Event, Item, Ms, StatusReported, TimerDue
from bot.handling import Handler, Turn
from bot.journal import ConsentRecord, TurnEntry
from bot.messages import OutboundMessage
from bot.records import Record, Timer


@dataclass(frozen=True, slots=True)
class Issued:
    """The number of a new card: the answer to `IssueCard`."""

    number: str


@dataclass(frozen=True, slots=True)
class AwaitQuiet:
    """Asks whether anything is still queued for these addresses, or on its way to them."""

    addresses: tuple[tuple[str, str], ...]  # (account, id)


@dataclass(frozen=True, slots=True)
class Quiet:
    """The answer to `AwaitQuiet`."""

    yes: bool


@dataclass(frozen=True, slots=True)
class Recall:
    """Asks for a message that failed, which is to go again: after which of `waits_s`, or now where there are none."""

    id: str
    waits_s: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to `Recall`: the message as it was planned, None where it is gone, has not failed, or went again already."""

    message: OutboundMessage | None


@dataclass(frozen=True, slots=True)
class FindSent:
    """Asks which of these messages, the oldest first, a notice's result is about, which names none of ours."""

    ids: tuple[str, ...]
    status: StatusReported


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to `FindSent`: "" for none."""

    id: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Asks for a broadcast that this process does not have at hand: one that has ended, or has only just begun."""

    due: BroadcastDue


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The answer to `LookUp`: None where there is no such broadcast any more."""

    broadcast: Broadcast | None


@dataclass(frozen=True, slots=True)
class NameItems:
    """Asks for the short titles of an order's or cart's items; the event goes on when they are known."""

    event: Event
    shop: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """The answer to `NameItems`: short titles by product id, or by SKU where an item has no id."""

    names: Mapping[str, str]


Question = AwaitQuiet | Recall | LookUp | NameItems | FindSent
"""What the engine itself asks in a turn; handlers ask by effects."""

Unresolved = ClaimCoupon | SendCode | FindProducts | IssueCard | Question
Answered = Resolution | Issued | Quiet | Recalled | LookedUp | Named | Sent


class Run(Struct, eq=False):
    """A turn under way."""

    taken: Taken
    event: Event
    record: Record | None
    partition: int
    now: Ms
    change: Change
    entry: TurnEntry
    turn: Turn | None = None
    handler: Handler | None = None
    effects: list[Effect | Question] = field(default_factory=list)
    named: bool = False  # the items of its event were looked up
    open: list[Unresolved] = field(default_factory=list)
    news_for: str = ""  # the identity whose record is to learn what is new of this order
    deferred_id: str = ""  # the message id that a deferred event already carries
    touched: bool = False
    guest: bool = False  # nobody is known here and nobody is to be by this turn: its record is not kept
    claims: list[ClaimResult] = field(default_factory=list)  # won in this turn, to be confirmed after its commit
    rekeyed: list[tuple[str, str, str]] = field(default_factory=list)  # (campaign, code, buyer) of an absorbed wallet
    billed: list[tuple[str, str, int]] = field(default_factory=list)  # (account, message id, parts) of receipts
    before_answers: dict[Answer, str] = field(default_factory=dict)  # what the buyer allowed before the turn
    evidence: list[ConsentRecord] = field(default_factory=list)  # answers of long ago that are told once more
    answered: set[Answer] = field(default_factory=set)  # what was asked and answered in it, also as before
    leaves: list[ConsentRecord] = field(default_factory=list)  # evidence of yes and no to single notices
    before_timers: dict[str, Ms] = field(default_factory=dict)

    def tally(self, broadcast: str, counter: str, by: int) -> None:
        """Moves a counter of a broadcast in this partition: `events`, `arrived`, `forwarded`."""
        self.change.statuses.append(StatusChange("tally", broadcast, counter, by, ""))


def start(taken: Taken, event: Event, record: Record | None, now: Ms) -> Run:
    """A turn that begins."""
    change = Change(taken.partition, taken.subject, taken.lane, taken.entry, taken.digest)
    entry = TurnEntry(at=now, subject=taken.subject, event=b"")
    return Run(taken, event, record, taken.partition, now, change, entry)


def fired(timers: dict[str, Timer], due: TimerDue) -> Timer | None:
    """Takes the timer that is due off the record; None for one that was moved, cancelled or fired before."""
    held = timers.get(due.name)
    return timers.pop(due.name) if held is not None and held.due == due.due else None
