"""Buyers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from console.api.answers.base import Answer, MoneyOut
from console.api.answers.campaigns import CouponBrief

Consented = Literal["granted", "refused", "unknown"]


class MemberOut(Answer):
    """A member card."""

    number: str
    level: str
    points: int
    joined_at: datetime
    source: str


class ConsentOut(Answer):
    """What is allowed at one address."""

    service: Consented
    marketing: Consented
    calls: Consented


class AddressOut(Answer):
    """One way to reach the buyer."""

    account: str
    id: str
    reachable: bool
    window_closes_at: datetime | None
    consent: ConsentOut
    opted_out: bool


class OrderBriefOut(Answer):
    """An order of a buyer."""

    id: str
    shop: str
    number: str
    pay: str
    ship: str
    refund: str
    total: MoneyOut | None


class Stats(Answer):
    """Sums over all orders."""

    orders: int
    spent: MoneyOut
    last_order_at: datetime | None


class Buyer(Answer):
    """A person who chats or orders."""

    id: str
    name: str
    phones: list[str]
    locale: str
    birthday: str | None
    gender: str | None
    sizes: dict[str, str]
    tags: list[str]
    erased: Literal[False]
    member: MemberOut | None
    addresses: list[AddressOut]
    coupons: list[CouponBrief]
    orders: list[OrderBriefOut]
    stats: Stats


class ErasedBuyer(Answer):
    """What is left of a buyer who was erased."""

    id: str
    erased: Literal[True]


class TimelineLine(Answer):
    """Something that happened to a buyer; `ref` is the id of a message or task."""

    at: datetime
    kind: str
    summary: str
    ref: str | None


class Erasing(Answer):
    """The erasure is under way."""

    id: str
    erasing: Literal[True]


class Merging(Answer):
    """The merge is under way; the older of the two ids stays."""

    merging: list[str]
