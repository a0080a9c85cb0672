"""A turn under way: what `Turns` begins, resumes and finishes, and what effects are applied to."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct, field

from bot.buyers import Answer
from bot.change import Change, Taken
from bot.effects import ClaimCoupon, ClaimResult, Effect, IssueCard, Resolution, SendCode
from bot.events import Event, Ms, TimerDue
from bot.handling import Handler, Turn
from bot.journal import TurnEntry
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


Unresolved = ClaimCoupon | SendCode | IssueCard | AwaitQuiet | Recall
Answered = Resolution | Issued | Quiet | Recalled


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
    effects: list[Effect | AwaitQuiet | Recall] = field(default_factory=list)
    open: list[Unresolved] = field(default_factory=list)
    news_for: str = ""  # the identity whose record is to learn what is new of this order
    deferred_id: str = ""  # the message id that a deferred event already carries
    touched: bool = False
    claims: list[ClaimResult] = field(default_factory=list)  # won in this turn, to be confirmed after its commit
    rekeyed: list[tuple[str, str, str]] = field(default_factory=list)  # (campaign, code, buyer) of an absorbed wallet
    billed: list[tuple[str, str, int]] = field(default_factory=list)  # (account, message id, parts) of receipts
    before_answers: dict[Answer, str] = field(default_factory=dict)  # what the buyer allowed before the turn
    answered: set[Answer] = field(default_factory=set)  # what was asked and answered in it, also as before
    before_timers: dict[str, Ms] = field(default_factory=dict)


def start(taken: Taken, event: Event, record: Record | None, now: Ms) -> Run:
    """A turn that begins."""
    change = Change(taken.partition, taken.subject, taken.lane, taken.entry, taken.digest)
    entry = TurnEntry(at=now, subject=taken.subject, event=b"")
    return Run(taken, event, record, taken.partition, now, change, entry)


def fired(timers: dict[str, Timer], due: TimerDue) -> Timer | None:
    """Takes the timer that is due off the record; None for one that was moved, cancelled or fired before."""
    held = timers.get(due.name)
    return timers.pop(due.name) if held is not None and held.due == due.due else None
