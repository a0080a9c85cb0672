"""Who is whom: claims of identities between records, and merges. Pure; the answers travel by mail.

A claim goes to the identity's home (a phone, a shop's customer reference, an e-mail). An unclaimed one becomes a link; one
that belongs to another buyer leads to a merge, in which the older buyer survives (created, then id). Since every link
points to an older record, links can form no circle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot import buyers, subjects
from bot.codec import dump_record, load_record
from bot.errors import GatewayError
from bot.events import Absorbed, Body, BuyerFacts, IdentityClaimed, IdentityGranted, IdentityHeld, MergeAsked, Ms
from bot.ports import Capabilities
from bot.records import Buyer, Link, Merging

SETTLE_MS = 60_000
"""How long a merge waits at most for what is on its way to the loser's addresses."""
MERGE = "merge"
"""The engine's own timer of a merge that waits."""


@dataclass(slots=True)
class Outcome:
    """What an identity event leads to: mail, a merge that this record loses, an identity that is ours now."""

    mails: list[tuple[str, Body]] = field(default_factory=list)
    granted: str = ""
    merging: Merging | None = None


def claim(buyer: Buyer, identity: str, *, proved: bool = False, fact: str = "") -> IdentityClaimed:
    """The claim that a buyer's record posts to an identity."""
    return IdentityClaimed(buyer.home, buyer.id, buyer.created_at, identity, proved, fact)


def handle(buyer: Buyer, body: object, now: Ms) -> Outcome:
    """What an identity event means at a buyer's record."""
    match body:
        case IdentityClaimed():
            return _claimed(buyer, body, now)
        case MergeAsked():
            return _lose(buyer, body.survivor, body.identity, now)
        case Absorbed():
            return _absorb(buyer, body)
        case IdentityGranted():
            return Outcome(granted=body.identity)
        case _:
            raise GatewayError(f"{type(body).__name__} is no identity event")


def _claimed(buyer: Buyer, body: IdentityClaimed, now: Ms) -> Outcome:
    if body.home == buyer.home:
        return Outcome(mails=[(body.home, IdentityGranted(body.identity))])
    number = body.identity.partition(":")[2]
    if body.proved and buyers.may_be_recycled(buyer, number, now) and not _knows(buyer, body.fact):
        held = IdentityHeld(body.identity, "birthday" if buyer.birthday else "")
        return Outcome(mails=[(body.home, held)])
    if (buyer.created_at, buyer.id) <= (body.created_at, body.buyer):
        return Outcome(mails=[(body.home, MergeAsked(survivor=buyer.home, identity=body.identity))])
    return _lose(buyer, body.home, body.identity, now)


def _knows(buyer: Buyer, fact: str) -> bool:
    return bool(fact) and fact == buyer.birthday[-5:]


def _lose(buyer: Buyer, survivor: str, identity: str, now: Ms) -> Outcome:
    """The loser takes nothing new on and lets what is on its way arrive first: no address has two messages under way."""
    if survivor == buyer.home:
        return Outcome()
    return Outcome(merging=Merging(survivor, identity, until=now + SETTLE_MS))


def hand_over(buyer: Buyer, merging: Merging, now: Ms) -> tuple[Absorbed, Link]:
    """The loser's end: its snapshot for the survivor, and the link that is left."""
    buyer.merging = None
    buyer.timers.pop(MERGE, None)
    snapshot = Absorbed(snapshot=dump_record(buyer), home=buyer.home, identity=merging.identity)
    return snapshot, Link(home=merging.survivor, at=now, buyer=buyer.id)


def _absorb(buyer: Buyer, body: Absorbed) -> Outcome:
    loser = load_record(body.snapshot)
    if not isinstance(loser, Buyer):
        raise GatewayError("a merge brought a record that is no buyer")
    if loser.erased:
        return Outcome()
    buyers.merge(buyer, loser)
    return Outcome(granted=body.identity or body.home)


def adopt(buyer: Buyer, identity: str, accounts: Mapping[str, Capabilities]) -> None:
    """The identity is the buyer's now: known numbers become ways to reach them."""
    kind, _, value = identity.partition(":")
    if kind == "phone":
        buyers.add_phone(buyer, value, accounts)
    elif kind == "email" and value not in buyer.emails:
        buyer.emails.append(value)
    elif kind == "shopper" and identity not in buyer.shoppers:
        buyer.shoppers.append(identity)


def index_lines(buyer: Buyer) -> list[tuple[str, str]]:
    """The index entries of a buyer after a merge: its own id and every card number."""
    lines = [(f"b:{buyer.id}", buyer.home)]
    if buyer.member is not None:
        lines += [(f"m:{number}", buyer.home) for number in buyer.member.numbers]
    return lines


def unknown_subjects(buyer: Buyer, facts: BuyerFacts, shop: str) -> list[str]:
    """Identities that a shop gives for this buyer and that do not lead to this record yet."""
    wanted = [subjects.phone(phone) for phone in facts.phones[:2]]
    if facts.ref:
        wanted.append(subjects.shopper(shop, facts.ref))
    if facts.email:
        wanted.append(subjects.email(facts.email))
    known = {buyer.home, *buyer.shoppers, *(subjects.email(mail) for mail in buyer.emails)}
    known |= {subjects.phone(phone) for phone in buyer.phones}
    return [subject for subject in wanted if subject not in known]
