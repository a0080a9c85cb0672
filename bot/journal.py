"""What the journal keeps of a turn and of a send: all that the ledger needs to tell the history."""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from bot.codec import pack
from bot.events import Ms


class RuleVerdict(Struct, frozen=True, omit_defaults=True):
    """One rule weighed in a decision: allow, deny or defer (then until when)."""

    rule: str
    verdict: str
    detail: str = ""
    until: Ms = 0


class DecisionRecord(Struct, omit_defaults=True):
    """The recorded answer to "may this be sent, now, on which address, and why (not)"."""

    message: str
    buyer: str
    purpose: str
    outcome: str  # send | skip | defer
    at: Ms
    source: str = ""
    key: str = ""
    account: str = ""
    reason: str = ""
    order: str = ""
    until: Ms = 0
    rules: list[RuleVerdict] = field(default_factory=list)


class NoteRecord(Struct, omit_defaults=True):
    """A line of a record's timeline."""

    kind: str
    summary: str


class ConsentRecord(Struct, frozen=True, omit_defaults=True):
    """One answer about one topic at one address, with its evidence: what was shown, who or what told of it.

    `ip` and `browser`: of an answer on a buyer's page, as its request told them ("" elsewhere).
    """

    account: str
    address: str
    topic: str  # service, marketing, calls, coupons; notice:<template>: one more notice of it
    verdict: str
    at: Ms
    wording: str = ""
    source: str = ""
    ip: str = ""
    browser: str = ""


class TurnEntry(Struct, omit_defaults=True):
    """One turn: what happened, the record afterwards, what was decided and planned."""

    at: Ms
    subject: str
    event: bytes
    handler: str = ""
    record: bytes = b""
    before: bytes = b""  # the survivor's record before a merge; with the event's snapshot the merge can be undone
    buyer: str = ""
    decisions: list[DecisionRecord] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    tasks: list[bytes] = field(default_factory=list)
    notes: list[NoteRecord] = field(default_factory=list)
    consents: list[ConsentRecord] = field(default_factory=list)  # answers given in this turn, by whatever path
    release: str = ""


class SendEntry(Struct, omit_defaults=True):
    """One outcome of a provider call."""

    id: str
    state: str
    at: Ms
    attempt: int
    account: str
    buyer: str
    purpose: str
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    parts: int = 0


class BroadcastEntry(Struct, omit_defaults=True):
    """One change of a broadcast (kind `broadcast`, in the journal of partition 0): by whom, and all of it as it is then.

    `by`: staff or token, "engine" for what happens by itself. `body`: MessagePack of `bot.broadcasts.Broadcast`.
    """

    at: Ms
    id: str
    state: str
    version: int
    by: str
    body: bytes
    why: str = ""


class UnplannedEntry(Struct, omit_defaults=True):
    """Recipients whom a cancelled broadcast had not come to (kind `unplanned`): each is skipped as `cancelled`, at `at`.

    `buyers`: their ids, some of those of the entry's partition; nothing else of them is told.
    """

    at: Ms
    broadcast: str
    purpose: str
    buyers: list[str]


_turn_decoder = msgspec.msgpack.Decoder(TurnEntry)


def dump(entry: TurnEntry | SendEntry | BroadcastEntry | UnplannedEntry) -> bytes:
    """An entry's stored form."""
    return pack(entry)


def load_turn(body: bytes) -> TurnEntry:
    """A turn from its stored form."""
    return _turn_decoder.decode(body)
