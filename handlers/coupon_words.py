"""How a coupon is put into words: the variables of the coupon wordings."""

from __future__ import annotations

from decimal import Decimal

from bot.clock import DAY_MS
from bot.effects import ClaimResult, Effect, Schedule
from bot.events import Money, Ms
from bot.handling import CampaignView, Turn

EXPIRING_MS = 3 * DAY_MS
NAMED = 3
VALUES = ("items", "title", "value", "percent", "minimum", "code", "until_at")


def campaign_of(turn: Turn, key: str) -> CampaignView | None:
    """A campaign by its key."""
    return next((campaign for campaign in turn.facts.campaigns() if campaign.key == key), None)


def offer_values(campaign: CampaignView | None) -> dict[str, object]:
    """Title, value and minimum of a campaign; "" where there is none."""
    values: dict[str, object] = dict.fromkeys(VALUES, "")
    values["until_at"] = 0
    if campaign is None:
        return values
    values["title"] = campaign.title
    values["items"] = campaign.names[:NAMED] if len(campaign.names) <= NAMED else ""
    if campaign.kind == "amount_off" and campaign.value:
        values["value"] = Money(Decimal(campaign.value), campaign.currency)
    if campaign.kind == "percent_off":
        values["percent"] = campaign.value
    if campaign.min_spend:
        values["minimum"] = Money(Decimal(campaign.min_spend), campaign.currency)
    return values


def coupon_values(turn: Turn, result: ClaimResult) -> dict[str, object]:
    """The variables of a claimed coupon."""
    return {**offer_values(campaign_of(turn, result.campaign)), "code": result.code, "until_at": result.expires_at}


def remind(turn: Turn, code: str, expires_at: Ms) -> list[Effect]:
    """A note three days before a coupon ends, if that is still to come."""
    at = expires_at - EXPIRING_MS
    return [Schedule(f"coupon:{code}", at)] if at > turn.now else []
