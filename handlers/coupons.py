"""Coupons in chat: the wallet, what can be claimed, claiming, the next ones, and a note before one expires."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.effects import Await, ClaimCoupon, ClaimResult, Effect, Resolution, Say, SetConsent
from bot.events import StaffAsked
from bot.handling import CampaignView, Handler, Trigger, Turn
from bot.messages import Choice
from handlers.coupon_words import campaign_of, coupon_values, offer_values, remind
from handlers.links import chat_link

SHOWN = 5


def _offered(turn: Turn, campaign: CampaignView) -> bool:
    """Whether this buyer can claim it: not the gift of the card or of a level, and not held already."""
    gift = campaign.key == turn.facts.gift_campaign or campaign.key in turn.facts.club.gifts
    return campaign.claimable(turn.now) and not gift and not _held(turn, campaign.key)


def _held(turn: Turn, campaign: str) -> bool:
    return any(coupon.campaign == campaign for coupon in turn.buyer.coupons)


def _claimable(turn: Turn) -> list[CampaignView]:
    return [campaign for campaign in turn.facts.campaigns() if _offered(turn, campaign)]


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
    return [Say(key, {"coupons": lines, "offers": len(choices), "page": chat_link(turn)}, choices=choices)]


def claim(turn: Turn) -> Sequence[Effect]:
    """Claims a campaign by its key: by button, number or code."""
    key = turn.arg.strip().upper()[:32]
    if key in turn.facts.club.gifts and not _held(turn, key):  # a level gives it, nothing else
        return [Say("coupon_unknown", offer_values(None))]
    return [ClaimCoupon(key, "claimed")]


def claimed(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """How the claim ended, in words."""
    assert isinstance(result, ClaimResult)
    if result.outcome == "won":
        reminder = remind(turn, result.code, result.expires_at)
        return [Say("coupon_won", coupon_values(turn, result)), *reminder]
    if result.outcome == "again":
        return [Say("coupon_again", coupon_values(turn, result))]
    campaign = campaign_of(turn, result.campaign)
    values = {**offer_values(campaign), "starts_at": campaign.starts_at if campaign else 0}
    waits = result.outcome == "sold_out" and _waits(turn)
    return [Say("coupon_sold_out_waits" if waits else f"coupon_{result.outcome}", values)]


def given(turn: Turn) -> Sequence[Effect]:
    """A coupon was put into the wallet by API: it is told of before it ends, like any other."""
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    data = json.loads(body.data)
    return remind(turn, data["code"], data["expires_at"])


# --- the next ones ----------------------------------------------------------------------------------------------------


def _waits(turn: Turn) -> bool:
    return any(address.consent.coupons == "granted" for address in turn.buyer.addresses)


def next_wanted(turn: Turn) -> Sequence[Effect]:
    """Sold out, and the buyer asks to be told of the next: consent to one message on this topic, kept with its wording."""
    source = f"{turn.event.account}:chat"
    return [SetConsent("coupons", "granted", "coupon_sold_out", source), Await("coupons"), Say("coupon_next_noted")]


def next_unwanted(turn: Turn) -> Sequence[Effect]:
    """No; or no longer."""
    source = f"{turn.event.account}:chat"
    return [
        SetConsent("coupons", "refused", "coupon_sold_out", source),
        Await("coupons", on=False),
        Say("coupon_next_no"),
    ]


def opened(turn: Turn) -> Sequence[Effect]:
    """A campaign can be claimed: told once to who asked, where that may be sent; else the buyer goes on waiting."""
    if not _waits(turn):
        return [Await("coupons", on=False)]
    body = turn.event.body
    assert isinstance(body, StaffAsked)
    campaign = campaign_of(turn, json.loads(body.data)["campaign"])
    if campaign is None or not _offered(turn, campaign):
        return []
    used_up = [
        SetConsent("coupons", "unknown", "coupon_next", "told", address.account, address.id)
        for address in turn.buyer.addresses
        if address.consent.coupons == "granted"
    ]
    return [
        Say(
            "coupon_next",
            {"title": campaign.title, "campaign": campaign.key},
            purpose="marketing",
            topic="coupons",
            touch=f"coupon_next|{campaign.key}",
            source="journey:coupon_next/1",
            not_after=campaign.ends_at,
            after=(*used_up, Await("coupons", on=False)),
        )
    ]


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
        Trigger("intent", "coupon_next"): next_wanted,
        Trigger("intent", "coupon_next_no"): next_unwanted,
        Trigger("timer", "coupon"): expiring,
        Trigger("staff", "coupon"): given,
        Trigger("staff", "coupons_open"): opened,
    },
    continuations={"claimed": claimed},
)
