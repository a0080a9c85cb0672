"""Coupons in chat: the wallet, what can be claimed, claiming, and a note before one expires."""

from __future__ import annotations

from collections.abc import Sequence

from bot.clock import DAY_MS
from bot.effects import ClaimCoupon, ClaimResult, Effect, Resolution, Say, Schedule
from bot.handling import CampaignView, Handler, Trigger, Turn
from bot.messages import Choice
from handlers.coupon_words import campaign_of, coupon_values, offer_values

EXPIRING_MS = 3 * DAY_MS
SHOWN = 5


def _claimable(turn: Turn) -> list[CampaignView]:
    held = {coupon.campaign for coupon in turn.buyer.coupons}
    gift = turn.facts.gift_campaign
    return [
        c
        for c in turn.facts.campaigns()
        if c.remaining > 0 and c.starts_at <= turn.now and (not c.ends_at or turn.now < c.ends_at)
        and c.key not in held and c.key != gift
    ]  # fmt: skip


def wallet(turn: Turn) -> Sequence[Effect]:
    """What the buyer holds and what there is to claim."""
    held = [c for c in turn.buyer.coupons if c.state == "claimed" and (not c.expires_at or c.expires_at > turn.now)]
    offers = _claimable(turn)[:SHOWN]
    choices = tuple(Choice(f"claim:{offer.key}", offer.title) for offer in offers)
    lines = []
    for coupon in held[-SHOWN:]:
        campaign = campaign_of(turn, coupon.campaign)
        lines.append(
            {
                "title": campaign.title if campaign else coupon.campaign,
                "code": coupon.code,
                "until_at": coupon.expires_at,
            }
        )
    if not lines and not choices:
        return [Say("coupons_none")]
    key = "wallet" if lines else "coupons_offer"
    return [Say(key, {"coupons": lines, "offers": len(choices)}, choices=choices)]


def claim(turn: Turn) -> Sequence[Effect]:
    """Claims a campaign by its key: by button, number or code."""
    return [ClaimCoupon(turn.arg.strip().upper()[:32], "claimed")]


def claimed(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """How the claim ended, in words."""
    assert isinstance(result, ClaimResult)
    if result.outcome in ("won", "again"):
        key = "coupon_won" if result.outcome == "won" else "coupon_again"
        effects: list[Effect] = [Say(key, coupon_values(turn, result))]
        at = result.expires_at - EXPIRING_MS
        if result.outcome == "won" and at > turn.now:
            effects.append(Schedule(f"coupon:{result.code}", at))
        return effects
    campaign = campaign_of(turn, result.campaign)
    values = {**offer_values(campaign), "starts_at": campaign.starts_at if campaign else 0}
    return [Say(f"coupon_{result.outcome}", values)]


def expiring(turn: Turn) -> Sequence[Effect]:
    """Three days before a coupon expires, if it is still unused: marketing."""
    coupon = next((c for c in turn.buyer.coupons if c.code == turn.arg), None)
    if coupon is None or coupon.state != "claimed":
        return []
    result = ClaimResult("again", coupon.campaign, coupon.code, coupon.expires_at)
    return [
        Say(
            "coupon_expiring",
            coupon_values(turn, result),
            purpose="marketing",
            touch=f"coupon_expiring|{coupon.code}",
            source="journey:coupon_expiring/1",
            not_after=coupon.expires_at,
        )
    ]


HANDLER = Handler(
    name="coupons",
    runs={
        Trigger("intent", "coupons"): wallet,
        Trigger("intent", "claim"): claim,
        Trigger("timer", "coupon"): expiring,
    },
    continuations={"claimed": claimed},
)
