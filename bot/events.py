"""What happened: one `Event` with a closed set of bodies. Adapters make them, the inbox carries them, handlers read them.

All times are `Ms`: integer milliseconds since 1970 UTC, in the gateway's (virtual) time.
Subjects are plain strings made by the functions of `bot.subjects`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct, field

Ms: TypeAlias = int

Opener: TypeAlias = Literal["", "message", "click", "follow", "scan"]
"""Which reply window an event opens: a key of `Capabilities.windows`; "" opens none."""


class Media(Struct, frozen=True, array_like=True):
    """One attachment of an incoming message: `url` where the provider gives one, else the provider's media `ref`."""

    kind: str
    url: str = ""
    ref: str = ""


# --- what a buyer does in a channel -----------------------------------------------------------------------------------


class MessageReceived(Struct, frozen=True, tag="message", omit_defaults=True):
    """A buyer wrote, spoke or sent something.

    `payload` is what a tapped quick reply or option carries (then `text` is its label). `phone` is a number that the
    channel handed over; it is proved only if `phone_proved`.
    """

    text: str = ""
    kind: str = "text"  # text image voice video file sticker location link reaction other
    payload: str = ""
    media: tuple[Media, ...] = ()
    phone: str = ""
    phone_proved: bool = False
    referral: str = ""
    opener: Opener = "message"
    overheard: bool = (
        False  # not for us to answer (another app owns the conversation): only opt-out and opt-in words count
    )


class Tapped(Struct, frozen=True, tag="tapped", omit_defaults=True):
    """A buyer tapped a button, a persistent menu entry or a menu key: `payload` says which."""

    payload: str
    title: str = ""
    referral: str = ""
    opener: Opener = "message"


class Followed(Struct, frozen=True, tag="followed", omit_defaults=True):
    """A buyer followed the account, or opened the chat for the first time; `scene` is the QR scene or referral."""

    scene: str = ""
    opener: Opener = "follow"


class Scanned(Struct, frozen=True, tag="scanned", omit_defaults=True):
    """A follower scanned a QR code or opened a referral link: `scene` is its parameter."""

    scene: str
    opener: Opener = "scan"


class Unfollowed(Struct, frozen=True, tag="unfollowed"):
    """The buyer left the account: the address cannot be reached any more."""


class OptChanged(Struct, frozen=True, tag="opt", omit_defaults=True):
    """The provider itself reports an opt-out, opt-in or help word.

    `answered` means that the provider has already confirmed it to the buyer, so that we must not.
    `blocks_all`: the carrier blocks every message to the address (a STOP on a US or Twilio number).
    """

    change: Literal["out", "in", "help"]
    answered: bool = True
    blocks_all: bool = False


class StaffSpoke(Struct, frozen=True, tag="staff_spoke", omit_defaults=True):
    """A person answered the buyer outside the gateway (page inbox, phone app): the bot falls silent."""

    text: str = ""
    by: str = ""


class StaffTook(Struct, frozen=True, tag="staff_took", omit_defaults=True):
    """Staff own the conversation from now on."""

    by: str = ""


class StaffReleased(Struct, frozen=True, tag="staff_released", omit_defaults=True):
    """Staff gave the conversation back to the bot."""

    by: str = ""


class StatusReported(Struct, frozen=True, tag="status", omit_defaults=True):
    """What became of a message of ours. Names it by `ref` (our message id), `provider_id`, or all sent up to `watermark`.

    `template`: of a notice to this address; where `provider_id` is not known, it is the first one that was handed over.

    Needs no dedup: a message's status only moves forward. An echo of our own send is `state="sent"`.
    """

    state: Literal["sent", "delivered", "read", "failed"]
    ref: str = ""
    provider_id: str = ""
    watermark: Ms = 0
    code: str = ""
    reason: str = ""  # a FailureReason when failed
    parts: int = 0
    marketing_only: bool = False  # of reason opted_out: service notices may still arrive
    template: str = ""
    again_after_s: tuple[int, ...] = ()  # failed for now only: how long to wait before the first, second … new attempt


class GrantChanged(Struct, frozen=True, tag="grant", omit_defaults=True):
    """The buyer's leave for one more notice of a template, or what became of it.

    given: one yes. taken: the buyer said no; what was given before is void. void: the provider says that none is left. back: `message`
    took one and was not sent; the event's time is when that one was given.
    """

    template: str
    change: Literal["given", "taken", "void", "back"]
    source: str = ""  # where the buyer was asked
    message: str = ""


class AccountAlert(Struct, frozen=True, tag="account_alert", omit_defaults=True):
    """The provider warns about, blocks or restores the account itself."""

    kind: str
    detail: str = ""


# --- what a shop system reports ---------------------------------------------------------------------------------------


class Money(Struct, frozen=True):
    """An exact amount in a currency's major unit."""

    amount: Decimal
    currency: str


class Item(Struct, frozen=True, omit_defaults=True):
    """One line of an order or cart."""

    title: str = ""
    qty: int = 1
    sku: str = ""
    price: Money | None = None
    short_title: str = ""
    product_id: str = ""
    size: str = ""
    color: str = ""


class OrderFacts(Struct, frozen=True, omit_defaults=True):
    """What an event says of an order; None or "" where it says nothing."""

    id: str
    number: str = ""
    status: str = ""
    pay_state: str = ""  # unpaid authorized partially_paid paid partially_refunded refunded
    total: Money | None = None
    pay_url: str = ""
    status_url: str = ""
    items: tuple[Item, ...] = ()
    placed_at: Ms = 0
    paid_at: Ms = 0
    pay_expires_at: Ms = 0
    ship_by: Ms = 0
    cod: bool | None = None
    reason: str = ""
    city: str = ""


class BuyerFacts(Struct, frozen=True, omit_defaults=True):
    """Whom an event is about. `phones` are E.164; masked and virtual numbers are left out by the adapter.

    `locale` is one of `bot.locales.LOCALES`, "" where the shop names none of them. `tier` and `points` are what the shop's own
    club says as of `club_at` (0: nothing).
    """

    ref: str = ""
    name: str = ""
    phones: tuple[str, ...] = ()
    email: str = ""
    locale: str = ""
    is_new: bool | None = None
    sms_consent: Literal["yes", "no", "unknown"] = "unknown"
    consent_at: Ms = 0
    address: str = ""  # "<account>:<id>" where the shop system knows the chat address
    consent_event: str = ""  # id of the event that said so: part of the evidence
    tier: str = ""
    points: int | None = None
    club_at: Ms = 0


class ShipmentFacts(Struct, frozen=True, omit_defaults=True):
    """One parcel: `state` is a value of facts/shops.md 6.5 (`label` … `returned`, `exception`)."""

    id: str
    carrier: str = ""
    tracking_no: str = ""
    tracking_url: str = ""
    state: str = ""
    reason: str = ""
    city: str = ""
    scan_at: Ms = 0
    eta: Ms = 0
    place: str = ""
    pickup_code: str = ""


class RefundItem(Struct, frozen=True, omit_defaults=True):
    """What of an order goes back, and why: `reason` is `size_small`, `size_large`, `quality` …, "" where it is not told."""

    sku: str = ""
    size: str = ""
    qty: int = 1
    reason: str = ""


class RefundFacts(Struct, frozen=True, omit_defaults=True):
    """One refund case."""

    id: str
    amount: Money | None = None
    kind: str = ""
    items: tuple[RefundItem, ...] = ()


class CheckoutFacts(Struct, frozen=True, omit_defaults=True):
    """One cart or checkout."""

    token: str
    items: tuple[Item, ...] = ()
    total: Money | None = None
    recover_url: str = ""
    updated_at: Ms = 0
    started_at: Ms = 0


SHORT = 6
SHORT_LATIN = 24
MOST_VARIANTS = 500


def short_limit(text: str) -> int:
    """How long a short title may be: 6 characters, 24 where all of them are Latin."""
    return SHORT_LATIN if text.isascii() else SHORT


class SizeRow(Struct, frozen=True):
    """One line of a size chart: what a size measures, as the shop wrote it: `{"bust": "84-88", "height": "160-165"}`."""

    size: str
    measures: dict[str, str]


class VariantFacts(Struct, frozen=True, omit_defaults=True):
    """What an event says of one variant of a product; None or "" where it says nothing."""

    sku: str
    size: str = ""
    color: str = ""
    price: Money | None = None
    stock: int | None = None


class ProductFacts(Struct, frozen=True, omit_defaults=True):
    """What an event says of a product; None or "" where it says nothing. `whole`: what is empty here is empty there, too."""

    id: str
    title: str = ""
    short_title: str = ""
    url: str = ""
    image_url: str = ""
    categories: tuple[str, ...] | None = None
    style_tags: tuple[str, ...] | None = None
    care: str = ""
    size_chart: tuple[SizeRow, ...] | None = None
    variants: tuple[VariantFacts, ...] | None = None
    whole: bool = False
    adds: bool = False  # `variants` join those that are there; else they are all that there are


class ShopEvent(Struct, frozen=True, tag="shop", omit_defaults=True):
    """A normalised shop event. `kind` is a value of `SHOP_EVENT_TYPES`; `version` orders events within a lane."""

    kind: str
    shop: str
    occurred_at: Ms = 0
    version: Ms = 0
    seq: int = 0
    order: OrderFacts | None = None
    buyer: BuyerFacts | None = None
    shipment: ShipmentFacts | None = None
    refund: RefundFacts | None = None
    checkout: CheckoutFacts | None = None
    product: ProductFacts | None = None
    rating: int = 0
    text: str = ""
    data: dict[str, str] = field(default_factory=dict)  # facts of rarer types (member, coupon, product, privacy)


SHOP_EVENT_TYPES = frozenset(
    "order.created payment.failed order.paid order.updated order.cancelled order.closed_unpaid order.completed "
    "shipment.created shipment.updated refund.requested refund.approved refund.rejected refund.succeeded "
    "refund.closed checkout.updated cart.abandoned buyer.created buyer.updated buyer.consent_changed member.joined "
    "member.tier_changed member.points_changed coupon.issued coupon.expiring coupon.redeemed review.created "
    "product.upserted product.removed stock.changed price.changed privacy.data_request privacy.redact_customer "
    "privacy.redact_shop shop.disconnected".split()
)


# --- what the gateway tells itself ------------------------------------------------------------------------------------


class TimerDue(Struct, frozen=True, tag="due"):
    """A timer of the record has come due. `due` must equal the time the record holds, else it is stale."""

    name: str
    due: Ms


class ItemRef(Struct, frozen=True, omit_defaults=True):
    """An item that is spoken of: by the shop's product id, else its SKU, else its title. `size`: of the variant meant."""

    shop: str = ""
    product: str = ""
    sku: str = ""
    title: str = ""
    size: str = ""


class OrderBrief(Struct, frozen=True, omit_defaults=True):
    """An order as its buyer's record remembers it (at most 20)."""

    id: str
    shop: str
    number: str = ""
    pay: str = "unpaid"
    ship: str = "none"
    refund: str = "none"
    total: Money | None = None
    title: str = ""
    placed_at: Ms = 0
    paid_at: Ms = 0
    stuck: bool = False  # a parcel of it is in trouble


class Guard(Struct, frozen=True):
    """The reason of a touch that must still hold at the send: lane `lane` of record `subject` is one of `values`."""

    subject: str
    lane: str  # pay | ship | ship:<shipment> | refund:<case> | review:<shipment> | kept | cart
    values: tuple[str, ...]


class TouchAsked(Struct, frozen=True, tag="touch", omit_defaults=True):
    """An order, cart or parcel asks its buyer's record to send something, or only to remember `brief`.

    `key` is the message key `{shop}|{rule}|{order}|{step}`: a touch with a key that the buyer already had is dropped.
    `notice` "" means: only remember.
    """

    notice: str = ""
    key: str = ""
    purpose: Literal["service", "marketing"] = "service"
    vars: dict[str, str] = field(default_factory=dict)
    guard: Guard | None = None
    not_after: Ms = 0
    not_before_returning: Ms = 0  # a returning buyer is not touched before this (payment reminder, row 5)
    since: Ms = 0  # a cart's start: an order placed after it makes the touch pointless
    source: str = ""  # "journey:payment_reminder/1"
    brief: OrderBrief | None = None
    facts: BuyerFacts | None = None
    shop: str = ""
    large: bool = False  # payment reminder of a large order: a staff call first
    item: ItemRef | None = None  # the first item of the order or cart
    parcel: str = ""  # the same notice of one parcel that carries two orders: carrier and tracking number


class IdentityClaimed(Struct, frozen=True, tag="identity_claimed", omit_defaults=True):
    """Buyer record `home` says that this identity (the subject it is mailed to) is its own.

    The identity's home alone decides: link, or merge with the buyer it already belongs to. `proved`: the buyer proved a
    phone number, with `fact` (the card's birthday, `01-02`) where that was asked for.
    """

    home: str
    buyer: str
    created_at: Ms
    identity: str = ""
    proved: bool = False
    fact: str = ""


class IdentityGranted(Struct, frozen=True, tag="identity_granted"):
    """Answer to a claim: `identity` now links to this record."""

    identity: str


class MergeAsked(Struct, frozen=True, tag="merge_asked", omit_defaults=True):
    """This record loses a merge: it mails its snapshot to `survivor` and becomes a link to it."""

    survivor: str
    identity: str = ""


class IdentityHeld(Struct, frozen=True, tag="identity_held", omit_defaults=True):
    """A proved number leads to a card that may be somebody else's by now: a second fact (`asks`) or a clerk decides."""

    identity: str
    asks: Literal["", "birthday"] = ""


class IdentityReleased(Struct, frozen=True, tag="identity_released"):
    """The buyer at `home` has another number now: this one starts anew, as whoever writes from it."""

    home: str


class Absorbed(Struct, frozen=True, tag="absorbed", omit_defaults=True):
    """A merged buyer's snapshot (encoded record) arrives at the survivor."""

    snapshot: bytes
    home: str
    identity: str = ""


class Forwarded(Struct, frozen=True, tag="forwarded"):
    """An event that reached a link and is passed on to the record the link names: an encoded `Event`."""

    event: bytes


class BroadcastDue(Struct, frozen=True, tag="broadcast", omit_defaults=True):
    """A broadcast has come to one buyer of its audience. `moved`: a link or a merge passed it on from where it was planned."""

    broadcast: str
    buyer: str
    variant: str = ""
    moved: bool = False


class BroadcastEnded(Struct, frozen=True, tag="broadcast_ended"):
    """A broadcast was cancelled: what of it waits for its hour in this record is skipped."""

    broadcast: str


class StaffAsked(Struct, frozen=True, tag="staff_asked", omit_defaults=True):
    """Staff or a shop system's API call asks something of the record.

    `action`: message, patch, redeem, leave, complete_task, consent, take, release, merge. `data` is JSON of its
    arguments, as validated by the REST API.
    """

    action: str
    by: str
    data: bytes = b"{}"


Body: TypeAlias = (
    MessageReceived
    | Tapped
    | Followed
    | Scanned
    | Unfollowed
    | OptChanged
    | StaffSpoke
    | StaffTook
    | StaffReleased
    | StatusReported
    | GrantChanged
    | AccountAlert
    | ShopEvent
    | TimerDue
    | TouchAsked
    | IdentityClaimed
    | IdentityGranted
    | MergeAsked
    | IdentityHeld
    | IdentityReleased
    | Absorbed
    | Forwarded
    | BroadcastDue
    | BroadcastEnded
    | StaffAsked
)


class Event(Struct, frozen=True, array_like=True):
    """Something that happened to `subject`.

    `id` is unique for what happened within its subject and is what repeats are recognised by ("" = never a repeat, for
    statuses, timers and mail). `at` is when it happened, `received` when the gateway took it in. `account` names the
    channel account, shop or tracker that it came through.
    """

    id: str
    subject: str
    account: str
    at: Ms
    received: Ms
    body: Body
