"""What one turn writes, and what the store answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct, field

from bot import ids
from bot.events import Ms, StatusReported
from bot.messages import OutboundMessage


class QueuedMessage(Struct):
    """A message as the commit writes it: `lane` hi (reply, code) or lo; `state` queued or skipped.

    `claim_at` (real time): the commit is to claim it for this process's sender if nothing waits before it; 0: queue it.
    """

    id: str
    account: str
    to: str
    lane: str
    state: str
    reason: str
    created_at: Ms
    purpose: str
    body: bytes
    message: OutboundMessage | None = None  # what `body` encodes, where it is to be sent
    claim_at: Ms = 0
    bc: str = ""  # of a broadcast: its id, NUL, the variant


class Letter(Struct):
    """Mail to another record: an encoded event for `subject`."""

    subject: str
    digest: bytes
    body: bytes
    partition: int


class StatusChange(Struct):
    """A message's progress: `how` is ref, provider, or the account and address whose messages up to `what` it covers.

    `how` tally: the counter `state` of the broadcast `what` moves by `at`.
    """

    how: str
    what: str | bytes
    state: str
    at: Ms
    reason: str
    provider: bytes = b""  # digest of the provider's id, where a status by ref tells it
    parts: int = 0  # as the provider counts them, where it says


class Change(Struct):
    """Everything one turn commits. `entry` "" commits without an inbox entry."""

    partition: int
    subject: str
    lane: str = "i"
    entry: str = ""
    digest: bytes = b""
    record: bytes = b""
    journal: bytes = b""
    timers: list[tuple[str, str, Ms]] = field(default_factory=list)  # ("+" or "-", name, due)
    messages: list[QueuedMessage] = field(default_factory=list)
    mails: list[Letter] = field(default_factory=list)
    index: list[tuple[str, str]] = field(default_factory=list)
    tasks: list[tuple[str, bytes]] = field(default_factory=list)
    statuses: list[StatusChange] = field(default_factory=list)
    rows: list[tuple[str, str, str | bytes]] = field(
        default_factory=list
    )  # (key, field, value; "" removes, "+" counts up)


class Commit(IntEnum):
    """The store's answer per turn."""

    REFUSED = 0  # an earlier turn of the record in the batch did not go through: run it again
    DONE = 1
    GONE = 2  # the entry was handled already
    REPEATED = 3  # the event was seen before
    NOT_OWNER = 4
    UNKNOWN = 5  # its server gave no answer: done or not, it is read again


class Taken(Struct):
    """One entry of a lane, with all that a turn needs."""

    partition: int
    lane: str
    entry: str
    subject: str
    digest: bytes
    seen: bool
    body: bytes
    timer: str = ""
    due: Ms = 0
    tries: int = 0
    error: str = ""  # what its last attempt broke with


class Claimed(Struct):
    """A message claimed for sending: `attempt` fences its settlement.

    `tries` counts attempts that the provider did not merely throttle, this one included; `doubts` how often it was left
    in doubt before.
    """

    partition: int
    id: str
    attempt: int
    body: bytes
    tries: int = 1
    doubts: int = 0


class Settlement(Struct):
    """What became of one provider call."""

    partition: int
    id: str
    attempt: int
    state: str
    reason: str = ""
    provider: bytes = b""
    again_at: Ms = 0  # real time
    hold_until: Ms = 0  # real time
    unread: bool = False
    at: Ms = 0  # virtual time
    journal: bytes = b""
    parts: int = 0  # as the provider counts them, where it says


def timer_changes(before: Mapping[str, Ms], after: Mapping[str, Ms]) -> list[tuple[str, str, Ms]]:
    """The timers to set ("+") and to remove ("-") between two states of a record."""
    changes = [("+", name, due) for name, due in after.items() if before.get(name) != due]
    changes.extend(("-", name, 0) for name in before if name not in after)
    return changes


def because(reason: str, code: str) -> str:
    """A reason as messages keep it: ours, with the provider's code behind it where it names one."""
    return f"{reason}:{code}" if reason and code else reason or code


def status_changes(status: StatusReported, account: str, id: str, at: Ms) -> list[StatusChange]:
    """What a report without our message id says of messages to an address."""
    reason = because(status.reason, status.code)
    if status.provider_id:
        return [StatusChange("provider", ids.digest(status.provider_id), status.state, at, reason, parts=status.parts)]
    if status.watermark:
        return [StatusChange(f"{account}:{id}", str(status.watermark), status.state, at, reason)]
    return []
