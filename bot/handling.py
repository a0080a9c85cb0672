"""What a handler is: a value with triggers and plain functions. No I/O in handlers; they may run twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from bot.club import Rules
from bot.effects import Effect, Resolution
from bot.events import Event, Ms
from bot.ports import Capabilities
from bot.records import Address, Buyer, Order, Record


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A coupon campaign as handlers see it (a copy at most a second old; the claim itself is exact)."""

    key: str
    title: str
    kind: str
    value: str  # decimal string: amount or percent
    currency: str
    min_spend: str
    starts_at: Ms
    ends_at: Ms
    remaining: int
    valid_days: int
    per_buyer: int = 1
    stock: int = 0
    names: tuple[str, ...] = ()  # of the products it is for

    def claimable(self, now: Ms) -> bool:
        """Whether it has begun, has not ended, and something is left."""
        return self.remaining > 0 and self.starts_at <= now and (not self.ends_at or now < self.ends_at)


@dataclass(frozen=True, slots=True)
class AccountView:
    """A configured channel account as handlers see it."""

    name: str
    type: str
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Facts:
    """What the shop's configuration says, for handlers. Pure data and pure functions."""

    brand: str
    privacy_url: str
    locale: str
    timezone: tzinfo
    currency: str
    country: str
    staff_hours: str
    staff_phone: str
    answer_minutes: int
    large_order: Decimal | None
    gift_campaign: str
    campaigns: Callable[[], Sequence[CampaignView]]
    accounts: Mapping[str, AccountView]
    ships_today_before: Callable[[Ms], Ms]  # cut-off of today if what is paid now still ships today, else 0
    ships_by: Callable[[Ms], Ms]  # when an order paid at that time ships at the latest
    staff_open: Callable[[Ms], bool]
    staff_answer_by: Callable[[Ms], Ms]
    call_slot: Callable[[Ms], Ms]  # end of the next phone slot (11:00-12:00, 16:00) for large orders
    check_code: Callable[[str, str, str], bool]  # (phone, code, digest): constant time
    parse_phone: Callable[[str], str]  # a typed number to E.164 by the shop's country, "" if it is none
    club: Rules = field(default_factory=Rules)
    page_link: Callable[[Literal["chat", "text", "out"], Buyer, Ms], str] = lambda *_: ""  # "" without a public address


class Turn(Struct, frozen=True):
    """One event for one record. Read-only by rule."""

    event: Event
    record: Record
    now: Ms
    facts: Facts
    address: Address | None = None  # the buyer's address that the event came from
    arg: str = ""  # what follows the intent: a campaign key, a choice
    text: str = ""  # the message, trimmed and folded for comparison
    raw_text: str = ""  # the message as typed, trimmed
    data: Mapping[str, str] = msgspec.field(default_factory=dict)  # what the timer that fired was set with
    became: tuple[str, ...] = ()  # lane changes that this shop event caused: "pay:paid", "ship:delivered:<shipment>", …

    @property
    def buyer(self) -> Buyer:
        """The record, known to be a buyer."""
        assert isinstance(self.record, Buyer)
        return self.record

    @property
    def order(self) -> Order:
        """The record, known to be an order."""
        assert isinstance(self.record, Order)
        return self.record


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a handler runs.

    intent  a keyword, button or menu payload resolved to this name (`templates/keywords.toml`, payload `name:arg`)
    state   any other text while the dialog is in this state (a payload `.x` is an answer in the state: arg "x")
    event   a body type's tag ("followed"), for records of `record` kind
    shop    a ShopEvent of this kind, after its facts were applied to the order or cart
    timer   a timer with this name (up to the first ":")
    touch   a TouchAsked with this notice
    staff   a StaffAsked with this action
    """

    kind: Literal["intent", "state", "event", "shop", "timer", "touch", "staff"]
    name: str
    record: str = "buyer"


Run: TypeAlias = Callable[[Turn], Sequence[Effect]]
Continue: TypeAlias = Callable[[Turn, Resolution], Sequence[Effect]]


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler: `name` equals its module's name; `runs` maps triggers to functions.

    `continuations` run after an effect was resolved (ClaimCoupon, SendCode). `states` are the dialog states it may enter.
    """

    name: str
    runs: Mapping[Trigger, Run]
    continuations: Mapping[str, Continue] = field(default_factory=dict)
    states: frozenset[str] = frozenset()
