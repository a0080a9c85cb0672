"""Coupon campaigns: shared by all processes, exact under load. One hash tag per campaign, `{c:KEY}`.

A claim is made before its turn is committed, so it is tentative until then: one whose turn never came is released after
10 minutes. Codes have 12 characters of 32 (60 bits), without 0 O 1 I.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bot import keys
from bot.clock import DAY_MS, MINUTE_MS
from bot.effects import ClaimResult
from bot.events import Ms
from bot.handling import CampaignView
from bot.redis_client import Scripts
from bot.store import Store

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
Outcome = Literal["won", "again", "limit", "sold_out", "not_started", "ended", "unknown"]
OUTCOMES: Mapping[bytes, Outcome] = {
    b"won": "won",
    b"again": "again",
    b"limit": "limit",
    b"sold_out": "sold_out",
    b"not_started": "not_started",
    b"ended": "ended",
    b"unknown": "unknown",
}
TENTATIVE_MS = 10 * MINUTE_MS


class Campaign(Struct, omit_defaults=True):
    """A coupon campaign. `value`: an amount or percent as a decimal string, "" for free_shipping and gift."""

    key: str
    title: str
    kind: str
    stock: int
    value: str = ""
    currency: str = ""
    min_spend: str = ""
    per_buyer: int = 1
    starts_at: Ms = 0
    ends_at: Ms = 0
    valid_days: int = 0
    own_codes: bool = False
    created_at: Ms = 0


class Counts(Struct):
    """A campaign's numbers."""

    claimed: int
    redeemed: int
    remaining: int


class CouponState(Struct):
    """One code: who holds it, until when, and the order it was used for ("" while unused)."""

    code: str
    campaign: str
    buyer: str
    expires_at: Ms
    order: str = ""


def new_code() -> str:
    """A fresh code."""
    return "".join(secrets.choice(ALPHABET) for _ in range(12))


def expiry(campaign: Campaign, now: Ms) -> Ms:
    """When a coupon claimed now expires: `valid_days` after the claim, else with the campaign."""
    return now + campaign.valid_days * DAY_MS if campaign.valid_days else campaign.ends_at


def _by_hash(codes: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(keys.coupon_codes(code), []).append(code)
    return groups


class Coupons:
    """Campaigns, claims and redemptions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scripts: Scripts = store.scripts
        self._cache: dict[str, tuple[Campaign, Counts]] = {}

    # --- campaigns ------------------------------------------------------------------------------------------------

    async def create(self, campaign: Campaign, codes: Sequence[str] = ()) -> bool:
        """Creates a campaign. False: the key is taken. Its own codes must be free (`taken`)."""
        campaign.own_codes = bool(codes)
        body = msgspec.json.encode(campaign)
        made = await self._scripts.run(
            "coupons_create", keys.campaign(campaign.key)[:2], [body, campaign.stock, *codes]
        )
        if made:
            for name, group in _by_hash(codes).items():
                await self._store.command("HSET", name, *(part for code in group for part in (code, campaign.key)))
            await self._store.command("SADD", keys.CAMPAIGNS, campaign.key)
            await self.refresh()
        return bool(made)

    async def taken(self, codes: Sequence[str]) -> str:
        """The first of these codes that a campaign has already, "" for none: a code names one coupon of one campaign."""
        for name, group in _by_hash(codes).items():
            found = await self._store.command("HMGET", name, *group)
            if used := [code for code, campaign in zip(group, found, strict=True) if campaign is not None]:
                return used[0]
        return ""

    async def change(self, campaign: Campaign) -> None:
        """Replaces a campaign's description and stock; claims stay."""
        await self._store.command(
            "HSET", keys.campaign(campaign.key)[0], "body", msgspec.json.encode(campaign), "stock", campaign.stock
        )
        await self.refresh()

    async def get(self, key: str) -> tuple[Campaign, Counts] | None:
        """A campaign with its numbers."""
        body, stock, claimed, redeemed = await self._store.command(
            "HMGET", keys.campaign(key)[0], "body", "stock", "claimed", "redeemed"
        )
        if body is None:
            return None
        remaining = max(0, int(stock) - int(claimed))
        return msgspec.json.decode(body, type=Campaign), Counts(int(claimed), int(redeemed), remaining)

    async def all(self) -> list[tuple[Campaign, Counts]]:
        """Every campaign, newest first."""
        names = await self._store.command("SMEMBERS", keys.CAMPAIGNS)
        found = [await self.get(name.decode()) for name in names]
        return sorted((f for f in found if f), key=lambda f: (f[0].created_at, f[0].key), reverse=True)

    async def refresh(self) -> None:
        """Brings the view that handlers get up to date."""
        self._cache = {campaign.key: (campaign, counts) for campaign, counts in await self.all()}

    def views(self) -> list[CampaignView]:
        """The campaigns as handlers see them: at most a second old."""
        return [
            CampaignView(
                key=c.key,
                title=c.title,
                kind=c.kind,
                value=c.value,
                currency=c.currency,
                min_spend=c.min_spend,
                starts_at=c.starts_at,
                ends_at=c.ends_at,
                remaining=n.remaining,
                valid_days=c.valid_days,
                per_buyer=c.per_buyer,
                stock=c.stock,
            )
            for c, n in self._cache.values()
        ]

    # --- claims ---------------------------------------------------------------------------------------------------

    async def claim(
        self, key: str, buyer: str, now: Ms, data: Mapping[str, str] | None = None, *, merged: Sequence[str] = ()
    ) -> ClaimResult:
        """One coupon of a campaign for a buyer; the same buyer again gets the code that still works, if there is one.

        `merged`: ids of buyers that were merged into this one; what they hold counts. "limit" carries the last code:
        used or expired, and no further one is given.
        """
        found = self._cache.get(key)
        campaign = found[0] if found else None
        if campaign is None:
            fresh = await self.get(key)
            if fresh is None:
                return ClaimResult("unknown", key, data=dict(data or {}))
            campaign = fresh[0]
        outcome, code, expires = b"retry", b"", b"0"
        while outcome == b"retry":  # a fresh code that is taken already: one in 10^18
            args: list[Any] = [
                buyer,
                now,
                campaign.starts_at,
                campaign.ends_at,
                expiry(campaign, now),
                campaign.per_buyer,
            ]
            args += ["" if campaign.own_codes else new_code(), *merged]
            outcome, code, expires = await self._scripts.run("coupons_claim", keys.campaign(key), args)
        if code:
            await self._store.tell(keys.coupon_codes(code.decode()), code, key)
        return ClaimResult(OUTCOMES[outcome], key, code.decode(), int(float(expires or 0)), dict(data or {}))

    async def confirm(self, key: str, code: str) -> None:
        """The claim's turn was committed."""
        await self._store.command("ZREM", keys.campaign(key)[3], code)

    async def release(self, key: str, code: str) -> None:
        """The claim's turn never came: the coupon returns to the stock."""
        found = await self.get(key)
        own = "1" if found and found[0].own_codes else "0"
        await self._scripts.run("coupons_settle", keys.campaign(key), ["release", code, own, ""])

    async def rekey(self, key: str, code: str, buyer: str) -> None:
        """The coupon's buyer was merged into another."""
        await self._scripts.run("coupons_settle", keys.campaign(key), ["rekey", code, "0", buyer])

    async def tentative(self, now: Ms) -> list[tuple[str, str]]:
        """(campaign, code) of claims older than 10 minutes that nobody confirmed."""
        found: list[tuple[str, str]] = []
        for name in await self._store.command("SMEMBERS", keys.CAMPAIGNS):
            key = name.decode()
            codes = await self._store.command(
                "ZRANGEBYSCORE", keys.campaign(key)[3], "-inf", now - TENTATIVE_MS, "LIMIT", 0, 200
            )
            found.extend((key, code.decode()) for code in codes)
        return found

    # --- codes ----------------------------------------------------------------------------------------------------

    async def find(self, code: str) -> CouponState | None:
        """A coupon by its code."""
        code = code.strip().upper().replace("-", "")
        key = await self._store.command("HGET", keys.coupon_codes(code), code)
        if key is None:
            return None
        body = await self._store.command("HGET", keys.campaign(key.decode())[4], code)
        if body is None:
            return None
        state = msgspec.json.decode(body)
        return CouponState(code, key.decode(), state["b"], int(float(state["x"] or 0)), state.get("r", ""))

    async def redeem(self, code: str, order: str, now: Ms) -> tuple[str, CouponState | None]:
        """Uses a coupon for an order: ok, again (same order), other (already used for another), expired, unknown."""
        state = await self.find(code)
        if state is None:
            return "unknown", None
        camp, _, _, _, codes = keys.campaign(state.campaign)
        outcome, _, used = await self._scripts.run("coupons_redeem", [camp, codes], [state.code, order, now])
        state.order = used.decode()
        return outcome.decode(), state
