"""Campaigns and coupons."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from console.api.answers.base import Answer, MoneyOut


class Campaign(Answer):
    """A campaign with its numbers. `stock` is what it began with."""

    key: str
    title: str
    kind: Literal["amount_off", "percent_off", "free_shipping", "gift", "add_on_price"]
    value: MoneyOut | str | None
    min_spend: MoneyOut | None
    stock: int
    per_buyer: int
    starts_at: datetime | None
    ends_at: datetime | None
    valid_days: int | None
    claimed: int
    redeemed: int
    remaining: int
    items: list[str] | None = None  # only of a campaign that names products


class CouponBrief(Answer):
    """A coupon in a wallet."""

    code: str
    campaign: str
    state: Literal["claimed", "redeemed", "expired"]
    expires_at: datetime | None


class Coupon(CouponBrief):
    """A coupon by its code."""

    buyer: str
    order: str | None
