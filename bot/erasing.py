"""What tells of a buyer who is being erased: noted before the record forgets it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from bot import subjects
from bot.events import Ms
from bot.records import Buyer

TELLING = 6  # an id of a channel shorter than this would match by chance; such are compared whole, never searched for


class Wanted(Struct, omit_defaults=True):
    """What to look for. `until`: server time, ms; what came later is another person's or new (0: not known yet).

    `heads`: by partition the newest journal entry that may name the buyer, once no other can come. `aged`: nobody asked for it, the
    time since the last sign of life is over: what names the buyer lies where the buyer's own records lie, and all else that did is
    gone by its own age; evidence of consents stays until `evidence_until`.
    """

    id: str
    ids: list[str]
    subjects: list[str]
    words: list[str]
    orders: list[str]
    until: Ms = 0
    next_at: Ms = 0
    passes: int = 0
    asked: list[str] = []  # subjects of orders and carts that have a turn to forget in
    heads: dict[int, str] = {}
    forgotten: bool = False  # by the ledger, but for what lies on in its files
    aged: bool = False
    evidence_until: Ms = 0

    def in_bytes(self, body: bytes) -> bool:
        """Whether stored bytes name the buyer."""
        return any(word.encode() in body for word in (*self.words, *self.ids))


def wanted(buyer: Buyer) -> Wanted:
    """Of a buyer as the record still is."""
    reach = [subjects.address(a.account, a.id) for a in buyer.addresses]
    reach += [subjects.phone(phone) for phone in buyer.phones] + [subjects.email(mail) for mail in buyer.emails]
    words = [*buyer.phones, *buyer.emails, *(a.id for a in buyer.addresses)]
    words += buyer.member.numbers if buyer.member else ()
    return Wanted(
        id=buyer.id,
        ids=[buyer.id, *buyer.merged],
        subjects=list(dict.fromkeys([buyer.home, *reach, *buyer.shoppers])),
        words=sorted({word for word in words if len(word) >= TELLING}),
        orders=[subjects.order(o.shop, o.id) for o in buyer.orders],
    )


def dump(found: Wanted) -> bytes:
    """Its stored form."""
    return msgspec.json.encode(found)


def load(stored: bytes) -> Wanted:
    """From its stored form."""
    return msgspec.json.decode(stored, type=Wanted)
