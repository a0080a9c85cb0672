"""Member cards in a turn: issued, given back, and where their numbers lead. No I/O."""

from __future__ import annotations

import json

from bot import buyers, ids, subjects
from bot.change import Letter
from bot.codec import dump_event
from bot.effects import Effect, IssueCard
from bot.events import Event, StaffAsked
from bot.journal import NoteRecord
from bot.records import Buyer, Member
from bot.run import Run


def issue(run: Run, effect: Effect, number: str) -> None:
    """Gives the buyer the card whose number was drawn."""
    record = run.record
    if isinstance(record, Buyer) and record.member is None and isinstance(effect, IssueCard):
        joined_at = effect.joined_at or run.now
        record.member = Member(number, effect.level or "basic", effect.points, joined_at, effect.source)
        record.left_club_at = 0
        buyers.heed_club(record)
        _point(run, number, record.home)
        run.entry.notes.append(NoteRecord("member", "joined"))


def leave(run: Run, buyer: Buyer) -> None:
    """The buyer gives the card back, and with it all that was told for it."""
    forget(run, buyer)
    buyer.member, buyer.left_club_at = None, run.now
    buyer.birthday, buyer.gender, buyer.sizes, buyer.club = "", "", {}, None
    for address in buyer.addresses:
        buyers.refuse(address, run.now, "left the club")
    run.entry.notes.append(NoteRecord("member", "left"))


def forget(run: Run, buyer: Buyer) -> None:
    """The card's numbers lead nowhere any more."""
    for number in buyer.member.numbers if buyer.member is not None else ():
        _point(run, number, "")


def _point(run: Run, number: str, home: str) -> None:
    """A card's number is looked up in the partition that it names: an imported one may name another than its buyer's."""
    partition = ids.member_partition(number)
    if partition in (None, run.partition):
        run.change.index.append((f"m:{number}", home))
        return
    asked = StaffAsked("point", "engine", json.dumps({"home": home}).encode())
    event = Event("", subjects.card(number), "", run.now, run.now, asked)
    run.change.mails.append(Letter(event.subject, b"", dump_event(event), partition))


def pointed(run: Run, asked: StaffAsked) -> None:
    """In the partition that a number names: it leads to this home."""
    number = run.taken.subject.partition(":")[2]
    run.change.index.append((f"m:{number}", json.loads(asked.data)["home"]))
