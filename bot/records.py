"""Records: what a turn loads and commits. Mutable while a turn applies effects; handlers only read them.

Encoded as MessagePack behind one version byte (`bot.codec`). A buyer's record begins with 0.4 KiB; with 20 orders and all that
was told of them it has 6.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct, field

from bot.events import BuyerFacts, Item, ItemRef, Money, Ms, OrderBrief, RefundItem, SizeRow, TouchAsked

Verdict: TypeAlias = Literal["granted", "refused", "unknown"]


class Timer(Struct, omit_defaults=True):
    """A timer of this record; `data` is what it was set with."""

    due: Ms
    data: dict[str, str] = field(default_factory=dict)


class Waiting(Struct, omit_defaults=True):
    """A message that waits for its hour: the encoded event that asked for it, and the id it will carry.

    `data` is what the timer was set with, where it was a timer that asked.
    """

    event: bytes
    id: str
    data: dict[str, str] = field(default_factory=dict)


class Task(Struct, omit_defaults=True):
    """Work for staff. Kept in the record while open, and in the task list for ever."""

    id: str
    kind: str
    key: str
    home: str
    brief: str
    created_at: Ms
    buyer: str = ""
    order: str = ""
    due_at: Ms = 0
    state: Literal["open", "done", "expired"] = "open"
    assignee: str = ""
    outcome: str = ""
    note: str = ""


class Window(Struct, omit_defaults=True):
    """A reply window: shut after `closes_at`; `left` messages still allowed (-1: no quota)."""

    closes_at: Ms = 0
    left: int = -1


class Consent(Struct, omit_defaults=True):
    """What the buyer allows at one address, with the evidence of the last marketing answer."""

    service: Verdict = "granted"
    marketing: Verdict = "unknown"
    calls: Verdict = "unknown"
    coupons: Verdict = "unknown"  # asked to be told once of the next coupons: a topic of marketing by itself
    coupons_at: Ms = 0
    coupons_wording: str = ""
    at: Ms = 0
    wording: str = ""  # wording key and version that was shown
    source: str = ""


class Grant(Struct, omit_defaults=True):
    """The buyer's leave for notices of one template, each yes good for one (`bot.grants`), with the evidence of the last answer.

    `given`: when each yes was said that no message has taken yet. What was given up to `void_until` is void. `out`: messages that
    took one and whose result is not known.
    """

    given: list[Ms] = field(default_factory=list)
    void_until: Ms = 0
    out: list[str] = field(default_factory=list)
    at: Ms = 0
    verdict: Verdict = "unknown"
    source: str = ""


class Dialog(Struct, omit_defaults=True):
    """Where a conversation stands: `state` "" is no dialog. `data` is the handler's own; `until` is its time-out.

    `asked` maps the digits of the last numbered question to payloads; it outlives the dialog.
    """

    state: str = ""
    data: dict[str, str] = field(default_factory=dict)
    until: Ms = 0
    tries: int = 0
    asked: dict[str, str] = field(default_factory=dict)
    misses: int = 0
    paused: str = ""  # state to resume after an interruption
    paused_data: dict[str, str] = field(default_factory=dict)


class Address(Struct, omit_defaults=True):
    """One way to reach the buyer."""

    account: str
    id: str
    reachable: bool = True
    blocked: bool = False  # carrier block: not even service
    opted_out: bool = False
    consent: Consent = field(default_factory=Consent)
    windows: dict[str, Window] = field(default_factory=dict)  # by opener
    dialog: Dialog = field(default_factory=Dialog)
    last_in: Ms = 0
    last_out: Ms = 0
    staff_until: Ms = 0  # staff own the conversation until then
    followed_at: Ms = 0
    left_at: Ms = 0
    locale: str = ""
    timezone: str = ""
    grants: dict[str, Grant] = field(default_factory=dict)  # by template
    doubted: bool = False  # a number that may have changed hands: no card is shown before a second fact


class Member(Struct, omit_defaults=True):
    """A member card. `number` is 12 digits, the last a Luhn digit. `older` are numbers of merged cards; both resolve."""

    number: str
    level: str = "basic"
    points: int = 0
    joined_at: Ms = 0
    source: str = ""
    older: tuple[str, ...] = ()
    spend: dict[str, str] = field(default_factory=dict)  # "CNY 2026-11" -> what the club counts, a decimal string
    granted: tuple[str, ...] = ()  # levels that an import gave: the card does not fall below them

    @property
    def numbers(self) -> tuple[str, ...]:
        """Every number that leads to this card."""
        return (self.number, *self.older)


class Club(Struct, frozen=True, omit_defaults=True):
    """What a shop's own club says of its member, as of `at`; kept for a card that may be issued later."""

    at: Ms
    tier: str
    points: int | None = None


class Coupon(Struct, omit_defaults=True):
    """A coupon in the buyer's wallet. State: claimed, redeemed or expired (by `expires_at`)."""

    code: str
    campaign: str
    state: Literal["claimed", "redeemed", "expired"] = "claimed"
    expires_at: Ms = 0
    claimed_at: Ms = 0
    order: str = ""


class SentCount(Struct, omit_defaults=True):
    """Times of recent sends, for caps; trimmed to a week (marketing) and a day (service)."""

    marketing: list[Ms] = field(default_factory=list)
    service: list[Ms] = field(default_factory=list)


class Awaited(Struct, omit_defaults=True):
    """A product that the buyer asked to be told of when it is back: consent to one message, with its evidence.

    `product` is its subject, `sku` "" any variant; asked at the address `account`, `to`.
    """

    product: str
    sku: str
    at: Ms
    account: str
    to: str
    wording: str


class Merging(Struct, omit_defaults=True):
    """A merge that this buyer loses, and that waits for what is on its way to its addresses: until `until` at most.

    `held` are the encoded events that came meanwhile; they follow to the survivor in their order.
    """

    survivor: str
    identity: str
    until: Ms
    held: list[bytes] = field(default_factory=list)


class Buyer(Struct, tag="buyer", omit_defaults=True):
    """A person who chats or orders. `home` is the subject under which this record is kept."""

    id: str
    home: str
    created_at: Ms
    name: str = ""
    locale: str = ""
    timezone: str = ""
    phones: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)
    shoppers: list[str] = field(default_factory=list)  # shopper subjects that link here
    birthday: str = ""  # "1990-01-02" or "01-02"
    gender: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    member: Member | None = None
    left_club_at: Ms = 0
    coupons: list[Coupon] = field(default_factory=list)
    orders: list[OrderBrief] = field(default_factory=list)
    orders_count: int = 0
    spent: dict[str, str] = field(default_factory=dict)  # currency -> decimal string
    last_order_at: Ms = 0
    sent: SentCount = field(default_factory=SentCount)
    touched: dict[str, Ms] = field(default_factory=dict)  # message keys of the last 60 days
    timers: dict[str, Timer] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)  # messages deferred to an hour, by timer name
    tasks: dict[str, Task] = field(default_factory=dict)  # open tasks by key
    owed: list[TouchAsked] = field(default_factory=list)  # notices that wait for an address
    erased: bool = False
    tallies: dict[str, int] = field(default_factory=dict)  # small counters of handlers
    proved_at: dict[str, Ms] = field(default_factory=dict)  # when each number was last proved by code or text
    merged: list[str] = field(default_factory=list)  # ids of buyers merged into this one
    revoked: int = 0  # how often the links to this buyer's pages were revoked: older ones open nothing
    merging: Merging | None = None
    about: ItemRef | None = None  # the item that was spoken of last
    awaits: list[Awaited] = field(default_factory=list)
    club: Club | None = None
    uncounted: list[str] = field(
        default_factory=list
    )  # completed orders (subjects, at most 20) that came before a card

    def address(self, account: str, id: str) -> Address | None:
        """The buyer's address on an account, or None."""
        for address in self.addresses:
            if address.account == account and address.id == id:
                return address
        return None


class Lane(Struct, omit_defaults=True):
    """One independent line of an order's life (pay, a shipment, a refund)."""

    state: str = ""
    version: Ms = 0
    seq: int = 0


class Shipment(Struct, omit_defaults=True):
    """One parcel of an order."""

    id: str
    lane: Lane = field(default_factory=Lane)
    carrier: str = ""
    tracking_no: str = ""
    tracking_url: str = ""
    city: str = ""
    reason: str = ""  # what was said with its state: "pickup_point" for a locker or station
    exception: str = ""
    delivered_at: Ms = 0
    eta: Ms = 0
    place: str = ""
    pickup_code: str = ""
    exception_at: Ms = 0
    known: dict[str, Ms] = field(default_factory=dict)  # version of each fact


class RefundCase(Struct, omit_defaults=True):
    """One refund of an order: requested, approved, rejected, succeeded or closed. `kind`: refund_only, return_refund, exchange."""

    id: str
    lane: Lane = field(default_factory=Lane)
    amount: Money | None = None
    kind: str = ""
    known: dict[str, Ms] = field(default_factory=dict)  # version of each fact
    items: tuple[RefundItem, ...] = ()
    counted: bool = False  # its items' products were told why they came back


class Credit(Struct, omit_defaults=True):
    """What the club counts of an order, as the buyer's record said last: `amount` and `points` stand there.

    `rate` (points per whole unit), `currency`, `month` and `at` (completed) are those of the first offer. `asked`: an answer is awaited,
    until then nothing further is offered. `closed`: why nothing is counted any more ("off", "no_card" …).
    """

    rate: str = "0"
    currency: str = ""
    month: str = ""
    at: Ms = 0
    home: str = ""  # the buyer's record that counts it, and the card there
    card: str = ""
    amount: Decimal = Decimal(0)
    points: int = 0
    asked: bool = False
    closed: str = ""


class Order(Struct, tag="order", omit_defaults=True):
    """One order: lanes pay, ship and refund, its journeys and its own timers."""

    id: str
    shop: str
    subject: str
    number: str = ""
    pay: Lane = field(default_factory=Lane)
    closed: str = ""  # "cancelled" or "closed_unpaid"
    shipments: list[Shipment] = field(default_factory=list)
    refunds: list[RefundCase] = field(default_factory=list)
    total: Money | None = None
    items: tuple[Item, ...] = ()
    pay_url: str = ""
    status_url: str = ""
    placed_at: Ms = 0
    paid_at: Ms = 0
    pay_expires_at: Ms = 0
    ship_by: Ms = 0
    cod: bool = False
    city: str = ""
    buyer: BuyerFacts | None = None
    checkout: str = ""
    timers: dict[str, Timer] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # touches already asked for
    owed: list[TouchAsked] = field(default_factory=list)  # touches waiting for somebody to send to
    reviewed: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    created_at: Ms = 0
    known: dict[str, Ms] = field(default_factory=dict)  # version of each fact
    completed_at: Ms = 0  # the shop said so, or its parcels came long enough ago
    credit: Credit | None = None

    @property
    def ship_state(self) -> str:
        """The state of the shipment that is least far, or "none"."""
        return min((s.lane.state or "label" for s in self.shipments), key=_ship_rank, default="none")

    @property
    def refund_state(self) -> str:
        """The state of the newest refund case, or "none"."""
        return self.refunds[-1].lane.state if self.refunds else "none"


SHIP_RANK: dict[str, int] = {
    "none": -1,
    "label": 0,
    "accepted": 1,
    "in_transit": 2,
    "arrived_city": 3,
    "out_for_delivery": 4,
    "delivered": 5,
    "returned": 6,
}


def _ship_rank(state: str) -> int:
    return SHIP_RANK.get(state, 0)


class Cart(Struct, tag="cart", omit_defaults=True):
    """One cart or checkout: state open, ordered or emptied."""

    token: str
    shop: str
    subject: str
    state: str = "open"
    items: tuple[Item, ...] = ()
    total: Money | None = None
    recover_url: str = ""
    updated_at: Ms = 0
    started_at: Ms = 0
    buyer: BuyerFacts | None = None
    timers: dict[str, Timer] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    created_at: Ms = 0
    known: dict[str, Ms] = field(default_factory=dict)  # version of each fact of the buyer


class Parcel(Struct, tag="parcel", omit_defaults=True):
    """A parcel that is known apart from its order: forwards what it learns to `order` once it knows it."""

    subject: str
    order: str = ""
    held: list[bytes] = field(default_factory=list)  # encoded events until the order is known (at most 20)
    timers: dict[str, Timer] = field(default_factory=dict)
    created_at: Ms = 0


Version: TypeAlias = tuple[Ms, int]
"""What orders two events about one fact: the shop's time, then its number."""


class Variant(Struct, omit_defaults=True):
    """One variant of a product. `known` holds the version of each fact; `listed`: the last list of variants that had it."""

    sku: str
    size: str = ""
    color: str = ""
    price: Money | None = None
    stock: int | None = None  # None: the shop does not say
    known: dict[str, Version] = field(default_factory=dict)
    listed: Version = (0, -1)


class Product(Struct, tag="product", omit_defaults=True):
    """One product of a shop's catalogue: what it is, its variants, and what came back because of its size.

    `variants` holds those that a later list left out, too, so that facts may come in any order: ask `bot.products.offered`.
    """

    id: str
    shop: str
    subject: str
    title: str = ""
    short_title: str = ""
    url: str = ""
    image_url: str = ""
    categories: tuple[str, ...] = ()
    style_tags: tuple[str, ...] = ()
    care: str = ""
    size_chart: tuple[SizeRow, ...] = ()
    variants: list[Variant] = field(default_factory=list)
    known: dict[str, Version] = field(default_factory=dict)
    listed: Version = (0, -1)  # the last list of its variants
    upserted: Version = (0, -1)
    removed: Version = (0, -1)
    returned: dict[str, int] = field(default_factory=dict)  # reason -> pieces that came back for it
    timers: dict[str, Timer] = field(default_factory=dict)
    created_at: Ms = 0


class Link(Struct, tag="link", omit_defaults=True):
    """This identity belongs to the buyer whose record is at `home`."""

    home: str
    at: Ms = 0
    buyer: str = ""  # id of a merged buyer that once lived here


class AccountState(Struct, tag="account", omit_defaults=True):
    """What the gateway knows of one configured account, shop or tracker itself."""

    name: str
    alerts: list[str] = field(default_factory=list)
    blocked: str = ""
    timers: dict[str, Timer] = field(default_factory=dict)
    created_at: Ms = 0
    disconnected_at: Ms = 0  # a shop that is gone: what it told before leads to no message any more


Record: TypeAlias = Buyer | Order | Cart | Parcel | Product | Link | AccountState
