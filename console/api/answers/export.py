"""Orders, and everything that is held of a buyer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import RootModel

from console.api.answers.base import Answer, MoneyOut
from console.api.answers.buyers import Buyer, TimelineLine
from console.api.answers.campaigns import Coupon
from console.api.answers.messages import Decision, Message, Task


class ShipmentOut(Answer):
    """One parcel of an order."""

    id: str
    state: str
    carrier: str
    tracking_no: str
    exception: str | None


class Order(Answer):
    """An order with its lanes."""

    buyer: str | None
    id: str
    shop: str
    number: str
    pay: str
    closed: str | None
    ship: str
    refund: str
    total: MoneyOut | None
    placed_at: datetime | None
    paid_at: datetime | None
    shipments: list[ShipmentOut]


class Evidence(Answer):
    """An answer about consent, and how it came about."""

    buyer: str
    account: str
    id: str
    topic: str
    verdict: Literal["granted", "refused", "unknown"]
    at: datetime | None
    wording: str
    source: str


class JournalLine(Answer):
    """One entry of the journal: a turn with the record as it was afterwards, a send, as they were written down."""

    partition: int
    id: str
    kind: str
    entry: dict[str, Any]


class Csv(RootModel[str]):
    """Lines of a table, the names of its columns first."""


class Export(Answer):
    """Everything that is held of a buyer."""

    buyer: Buyer
    emails: list[str]
    shop_refs: list[str]
    consent_evidence: list[Evidence]
    coupons: list[Coupon]
    orders: list[Order]
    messages: list[Message]
    decisions: list[Decision]
    tasks: list[Task]
    timeline: list[TimelineLine]
    merged_from: list[str]
    record: dict[str, Any]
    journal: list[JournalLine]
