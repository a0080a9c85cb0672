"""Coupon campaigns: shared by all processes, exact under load. One hash tag per campaign, `{c:KEY}`.

A claim is made before its turn is committed, so it is tentative until then: one whose turn never came is released after
10 minutes. Codes have 12 characters of 32 (60 bits), without 0 O 1 I.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bot import keys
from bot.clock import DAY_MS, MINUTE_MS
from bot.effects import ClaimResult
from bot.errors import GatewayError
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
_TOGETHER = 500


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
    items: tuple[str, ...] = ()  # ids or SKUs of the products it is for
    names: tuple[str, ...] = ()  # what these were called when they were named


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


class StockError(GatewayError):
    """A stock that cannot be: below what is claimed, or above the campaign's own codes. `number`: what there is."""

    def __init__(self, number: int, *, too_high: bool) -> None:
        super().__init__(f"the campaign has {number} codes" if too_high else f"{number} are claimed already")
        self.number = number
        self.too_high = too_high


class CodesTakenError(GatewayError):
    """Codes that belong to another campaign."""

    def __init__(self, codes: Sequence[str]) -> None:
        super().__init__(f"{len(codes)} codes belong to another campaign, {codes[0]} among them")
        self.codes = tuple(codes)


def new_code() -> str:
    """A fresh code."""
    return "".join(secrets.choice(ALPHABET) for _ in range(12))


def expiry(campaign: Campaign, now: Ms) -> Ms:
    """When a coupon claimed now expires: `valid_days` after the claim, else with the campaign."""
    return now + campaign.valid_days * DAY_MS if campaign.valid_days else campaign.ends_at


class Coupons:
    """Campaigns, claims and redemptions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scripts: Scripts = store.scripts
        self._cache: dict[str, tuple[Campaign, Counts]] = {}

    # --- campaigns ------------------------------------------------------------------------------------------------

    async def create(self, campaign: Campaign, codes: Sequence[str] = ()) -> bool:
        """Creates a campaign. False: the key is taken. Raises CodesTakenError for codes of another campaign."""
        campaign.own_codes = bool(codes)
        body = msgspec.json.encode(campaign)
        await self._reserve(campaign.key, codes)
        made = await self._scripts.run(
            "coupons_create", keys.campaign(campaign.key)[:2], [body, campaign.stock, *codes]
        )
        if made:
            await self._store.command("SADD", keys.CAMPAIGNS, campaign.key)
            await self.refresh()
        elif codes:
            await self._forget(campaign.key, codes)
        return bool(made)

    async def change(self, key: str, how: Callable[[Campaign], None], codes: Sequence[str] = ()) -> Campaign | None:
        """Changes a campaign's description and stock, and adds own codes; claims stay. None: there is no such campaign.

        `how` edits the campaign, again where somebody else changed it meanwhile. Raises StockError, CodesTakenError.
        """
        await self._reserve(key, codes)
        try:
            return await self._change(key, how, codes)
        except StockError:
            await self._forget(key, codes)
            raise

    async def _change(self, key: str, how: Callable[[Campaign], None], codes: Sequence[str]) -> Campaign | None:
        while True:
            was = await self._store.command("HGET", keys.campaign(key)[0], "body")
            if was is None:
                await self._forget(key, codes)
                return None
            campaign = msgspec.json.decode(was, type=Campaign)
            how(campaign)
            campaign.own_codes = campaign.own_codes or bool(codes)
            args = [was, msgspec.json.encode(campaign), campaign.stock, int(campaign.own_codes), *codes]
            result, number = await self._scripts.run("coupons_change", keys.campaign(key)[:2], args)
            if result < 0:
                raise StockError(int(number), too_high=result == -2)
            if result:
                await self.refresh()
                return campaign

    async def pool(self, key: str) -> set[str]:
        """The own codes of a campaign: those left and those claimed."""
        _, left, _, _, claimed = keys.campaign(key)
        rows = [*await self._store.command("LRANGE", left, 0, -1), *await self._store.command("HKEYS", claimed)]
        return {row.decode() for row in rows}

    async def owners(self, codes: Sequence[str]) -> dict[str, str]:
        """The campaigns that codes lead to, of those that lead to one."""
        found = await self._store.together([("HGET", keys.coupon_codes(code), code) for code in codes])
        return {code: key.decode() for code, key in zip(codes, found, strict=True) if key}

    async def _reserve(self, key: str, codes: Sequence[str]) -> None:
        """A code leads to one campaign: own codes are entered before any is claimed. All, or none."""
        news, taken = list[str](), list[str]()
        for start in range(0, len(codes), _TOGETHER):
            part = codes[start : start + _TOGETHER]
            fresh = await self._store.together([("HSETNX", keys.coupon_codes(code), code, key) for code in part])
            held = [code for code, new in zip(part, fresh, strict=True) if not new]
            owners = await self._store.together([("HGET", keys.coupon_codes(code), code) for code in held])
            taken += [code for code, owner in zip(held, owners, strict=True) if owner != key.encode()]
            news += [code for code, new in zip(part, fresh, strict=True) if new]
        if taken:
            await self._forget(key, news)
            raise CodesTakenError(taken)

    async def _forget(self, key: str, codes: Sequence[str]) -> None:
        """Reserved codes that did not come into the campaign after all."""
        kept = await self.pool(key) if codes else set()
        gone = [code for code in codes if code not in kept]
        for start in range(0, len(gone), _TOGETHER):
            part = gone[start : start + _TOGETHER]
            await self._store.together([("HDEL", keys.coupon_codes(code), code) for code in part])

    async def get(self, key: str) -> tuple[Campaign, Counts] | None:
        """A campaign with its numbers."""
        return _found(await self._store.command(*_about(key)))

    async def all(self) -> list[tuple[Campaign, Counts]]:
        """Every campaign, newest first."""
        names = await self._store.command("SMEMBERS", keys.CAMPAIGNS)
        rows = await self._store.together([_about(name.decode()) for name in names])
        return sorted((f for f in map(_found, rows) if f), key=lambda f: (f[0].created_at, f[0].key), reverse=True)

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
                names=c.names,
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
        found = await self.get(key)  # not the handlers' copy: a campaign that has just been changed counts at once
        if found is None:
            return ClaimResult("unknown", key, data=dict(data or {}))
        campaign = found[0]
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


def _about(key: str) -> tuple[str, ...]:
    """The command that reads what `_found` takes."""
    return ("HMGET", keys.campaign(key)[0], "body", "stock", "claimed", "redeemed")


def _found(row: Sequence[bytes | None]) -> tuple[Campaign, Counts] | None:
    body, *numbers = row
    if body is None:
        return None
    stock, claimed, redeemed = (int(number or 0) for number in numbers)
    counts = Counts(claimed, redeemed, remaining=max(0, stock - claimed))
    return msgspec.json.decode(body, type=Campaign), counts
