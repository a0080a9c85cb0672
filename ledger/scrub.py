"""A journal entry without the person: what remains counts in every statistic and names nobody, also when all is derived anew."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec import structs

from bot import buyers, subjects
from bot.codec import dump_message, dump_record, load_message, load_record, pack
from bot.errors import GatewayError
from bot.journal import DecisionRecord, SendEntry, dump, load_turn
from bot.messages import Text
from bot.records import Buyer, Cart, Link, Order, Record, Task

T = TypeVar("T")
NOBODY = "erased"  # the subject of a turn whose own subject was an address or a number
_sends = msgspec.msgpack.Decoder(SendEntry)
_tasks = msgspec.msgpack.Decoder(Task)


@dataclass(frozen=True, slots=True)
class Person:
    """What tells of a person: the ids, which stay, and what goes: subjects, words, subjects of the orders."""

    ids: frozenset[str]
    subjects: frozenset[str]
    words: frozenset[str]
    orders: frozenset[str]

    @property
    def needles(self) -> frozenset[bytes]:
        """What an entry about the person holds one of."""
        return frozenset(one.encode() for one in (*self.ids, *self.subjects, *self.words, *self.orders))

    def told_in(self, text: str) -> bool:
        """Whether words name the person."""
        return any(word in text for word in (*self.words, *self.subjects))

    def told_in_bytes(self, body: bytes) -> bool:
        """Whether stored bytes name the person (by more than the id)."""
        # As MessagePack writes it, with its length in front: a short id at the end of a longer one is another's.
        return any(word.encode() in body for word in self.words) or any(pack(one) in body for one in self.subjects)


def scrubbed(kind: str, body: bytes, person: Person) -> bytes | None:
    """The entry without the person; the same bytes where it names nobody; None where it cannot be read: it has to go."""
    try:
        if kind == "turn":
            return _turn(body, person)
        if kind == "send":
            send = _sends.decode(body)
            found = dump(structs.replace(send, buyer="", provider_id="")) if send.buyer in person.ids else body
        else:
            found = body
    except (GatewayError, msgspec.MsgspecError):
        return None
    return None if person.told_in_bytes(found) else found


def _turn(body: bytes, person: Person) -> bytes | None:
    turn = load_turn(body)
    own = turn.buyer in person.ids or turn.subject in person.subjects
    told = person.told_in_bytes(body)
    theirs = own or told or turn.subject in person.orders
    if not theirs:
        return body  # it names the id at most
    record = _record(turn.record, person, own=own)
    made = structs.replace(
        turn,
        subject=NOBODY if turn.subject in person.subjects else turn.subject,
        buyer="" if own else turn.buyer,  # nothing of it stands in a timeline
        event=b"",
        before=b"",
        record=record,
        messages=_each(turn.messages, lambda stored: _message(stored, person)),
        tasks=_each(turn.tasks, lambda stored: _task(stored, person, own=own)),
        decisions=[_decision(one, person) for one in turn.decisions],
        notes=[] if own else [note for note in turn.notes if not person.told_in(note.summary)],
        consents=[] if own else turn.consents,
    )
    packed = dump(made)
    # Of somebody else's turn the record is theirs: a number that both had is not taken from them.
    return None if person.told_in_bytes(packed) and own else packed


def _each(stored: Collection[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    return [change(one) for one in stored if one]


def _record(stored: bytes, person: Person, *, own: bool) -> bytes:
    record: Record | None = load_record(stored) if stored else None
    if isinstance(record, Buyer):
        if record.id not in person.ids:
            return stored
        # The wallet stays for the counts of campaigns, and who became whom; nothing of it names the person.
        bare = Buyer(id=record.id, home="", created_at=0, coupons=record.coupons, merged=record.merged, erased=True)
        return dump_record(bare)
    if isinstance(record, Order | Cart):
        if record.subject in person.orders or person.told_in_bytes(stored):
            buyers.forget(record)
            return dump_record(record)
        return stored
    if isinstance(record, Link) and record.buyer in person.ids:
        return dump_record(Link(home="", at=record.at, buyer=record.buyer))
    return b"" if own or person.told_in_bytes(stored) else stored


def _message(stored: bytes, person: Person) -> bytes:
    message = load_message(stored)
    if message.buyer not in person.ids and not person.told_in_bytes(stored):
        return stored
    return dump_message(structs.replace(message, to="", home="", content=Text("")))


def _task(stored: bytes, person: Person, *, own: bool) -> bytes:
    task = _tasks.decode(stored)
    about = own or task.buyer in person.ids
    if not about and task.home not in person.orders and not person.told_in_bytes(stored):
        return stored
    bare = structs.replace(task, brief="", note="")
    if not about:
        return pack(structs.replace(bare, home="" if task.home in person.subjects else task.home))
    home = task.home if subjects.kind(task.home) == "order" else ""
    return pack(structs.replace(bare, home=home, state="expired" if task.state == "open" else task.state))


def _decision(found: DecisionRecord, person: Person) -> DecisionRecord:
    rules = [structs.replace(rule, detail="") if person.told_in(rule.detail) else rule for rule in found.rules]
    bare = structs.replace(found, rules=rules)
    if person.told_in(found.key):
        bare = structs.replace(bare, key="")
    return structs.replace(bare, reason="") if person.told_in(found.reason) else bare
