"""Answers the effects that need shared state: coupon claims, phone codes, card numbers. One gather per batch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bot import ids, keys, products, resending, subjects
from bot.broadcasting import Broadcasts
from bot.catalogue import Catalogue
from bot.clock import DAY_MS, SystemClock
from bot.codec import load_message
from bot.codes import Codes
from bot.coupons import Coupons
from bot.effects import ClaimCoupon, CodeResult, FindProducts, FoundProducts, IssueCard, ProvePhone, SendCode
from bot.messages import OutboundMessage
from bot.phones import country_of
from bot.ports import Capabilities
from bot.records import Buyer, Product
from bot.run import (
    Answered,
    AwaitQuiet,
    FindSent,
    Issued,
    LookedUp,
    LookUp,
    Named,
    NameItems,
    Quiet,
    Recall,
    Recalled,
    Run,
    Sent,
    Unresolved,
)
from bot.spend import Spend
from bot.store import Store

MOST_FOUND = 6


class EffectResolver:
    """Implements `bot.worker.Resolver`."""

    def __init__(
        self,
        *,
        store: Store,
        coupons: Coupons,
        catalogue: Catalogue,
        codes: Codes,
        clock: SystemClock,
        accounts: Mapping[str, Capabilities],
        sms_order: Sequence[str],
        notices: frozenset[tuple[str, str]],
        spend: Spend,
        broadcasts: Broadcasts,
    ) -> None:
        self._broadcasts = broadcasts
        self._store = store
        self._coupons = coupons
        self._catalogue = catalogue
        self._codes = codes
        self._clock = clock
        self._spend = spend
        self._accounts = accounts
        able = [name for name in sms_order if accounts[name].address_is_phone]
        # A line that sends only templates can carry a code only with a template for it.
        self._sms = [name for name in able if accounts[name].free_text or ("phone_code", name) in notices]

    async def resolve(self, runs: Sequence[Run]) -> list[list[Answered]]:
        """The answers to each run's open effects, in order."""
        return await asyncio.gather(*(self._run(run) for run in runs))

    async def _run(self, run: Run) -> list[Answered]:
        return [await self._one(run, effect) for effect in run.open]

    async def _one(self, run: Run, effect: Unresolved) -> Answered:
        if isinstance(effect, LookUp):  # also where there is no buyer
            return LookedUp(await self._broadcasts.find(effect.due.broadcast))
        if isinstance(effect, FindProducts):
            return FoundProducts(tuple(await self._products(effect)), effect.data)
        if isinstance(effect, NameItems):
            return Named(await self._catalogue.names(effect.shop, effect.items))
        buyer = run.record
        assert isinstance(buyer, Buyer)
        match effect:
            case IssueCard():
                return Issued(await self._number(run.partition, effect.number, buyer.home))
            case ClaimCoupon():
                now = self._clock.now()
                return await self._coupons.claim(effect.campaign, buyer.id, now, effect.data, merged=buyer.merged)
            case SendCode():
                return await self._code(run, effect)
            case AwaitQuiet():
                return Quiet(not await self._under_way(run.partition, effect))
            case Recall():
                return Recalled(await self._failed(run, effect))
            case FindSent():
                return Sent(await self._sent(effect))

    async def _number(self, partition: int, wanted: str, home: str) -> str:
        """A number that nobody has: the one that is wanted, else the next of the partition."""
        named = ids.member_partition(wanted) if wanted else None
        known = named is not None and named < self._store.partitions
        if named is not None and known and await self._reserve(named, wanted, home):
            return wanted
        while True:
            number = ids.member_number(partition, await self._store.count(keys.cards(partition)))
            # One that came by an import is passed over; two turns of one moment take two.
            if await self._reserve(partition, number, home):
                return number

    async def _reserve(self, partition: int, number: str, home: str) -> bool:
        owner = await self._store.scripts.run("reserve", [keys.index(partition)], [f"m:{number}", home])
        return bool(owner == home.encode())

    async def _products(self, wanted: FindProducts) -> list[Product]:
        if (item := wanted.item) is not None:
            one = await self._catalogue.get(item.shop, item.product) if item.product else None
            found = [one] if one is not None else await self._catalogue.by_sku(item.sku, item.shop) if item.sku else []
            found = found or (
                [p for p in await self._catalogue.find(item.title) if p.shop == item.shop] if item.title else []
            )
            return [product for product in found if products.is_offered(product)][:1]
        for text in wanted.texts:
            found = await self._catalogue.by_sku(text) or await self._catalogue.find(text, limit=MOST_FOUND)
            if found:
                return found[:MOST_FOUND]
        return []

    async def _failed(self, run: Run, recall: Recall) -> OutboundMessage | None:
        """A message that failed and did not go again since. When its time has come, a late receipt may have said otherwise."""
        partition = ids.partition_in(recall.id)
        if partition is None or partition >= self._store.partitions:
            return None
        body, state = await self._store.command("HMGET", keys.message(partition, recall.id), "b", "s")
        if body is None or state in (b"delivered", b"read", b"skipped") or (state != b"failed" and not recall.waits_s):
            return None  # the turn that tells of the failure is the one that writes it
        again = resending.next_id(run.partition, recall.id)
        known = await self._store.command("EXISTS", keys.message(run.partition, again))
        return None if known and run.deferred_id != again else load_message(body)

    async def _sent(self, wanted: FindSent) -> str:
        """The message that a result is about: the one whose acceptance named the provider's id, else the first handed over.

        To one address one call is under way at a time, and results come in the order of the calls, as far as they come at all.
        """
        today, named = self._clock.now() // DAY_MS, ids.digest(wanted.status.provider_id)
        handed_over = ""
        for id in wanted.ids:
            partition = ids.partition_in(id)
            if partition is None or partition >= self._store.partitions:
                continue
            for day in (today, today - 1) if named else ():
                if await self._store.command("HGET", keys.provider_ids(partition, day), named) == id.encode():
                    return id
            state = await self._store.command("HGET", keys.message(partition, id), "s")
            if not handed_over and state in (b"sending", b"sent", b"in_doubt"):
                handed_over = id
        return handed_over

    async def _under_way(self, partition: int, effect: AwaitQuiet) -> bool:
        """Whether a message is queued for one of the addresses, handed to a provider, or held in doubt."""
        for account, to in effect.addresses:
            if await self._store.command("HEXISTS", keys.busy(partition), f"{account}\0{to}"):
                return True
            for lane in ("hi", "lo"):
                if await self._store.command("EXISTS", keys.queue(partition, account, lane, to)):
                    return True
        return False

    async def _code(self, run: Run, effect: SendCode) -> CodeResult:
        lane = self.lane_to(effect.phone)
        if not lane:
            return CodeResult("no_lane", effect.phone, data=effect.data)
        address = run.turn.address if run.turn is not None else None
        asker = subjects.address(address.account, address.id) if address is not None else ""
        found = await self._codes.request(effect.phone, self._clock.now(), asker=asker)
        if found.outcome == "too_many":
            return CodeResult("too_many", effect.phone, retry_at=found.retry_at, data=effect.data)
        if found.outcome == "stopped":
            return CodeResult("no_lane", effect.phone, data=effect.data)
        if found.outcome != "sent":
            return CodeResult("not_allowed", effect.phone, data=effect.data)
        data = {**effect.data, "account": lane, "otp": found.code}
        return CodeResult("sent", effect.phone, found.digest, found.expires_at, data=data)

    def lane_to(self, phone: str) -> str:
        """The first SMS account that reaches the number's country and may still spend, "" for none."""
        now, country = self._clock.now(), country_of(phone)
        for name in self._sms:
            reached = self._accounts[name].countries
            if (not reached or country in reached) and self._spend.used_up.get(name, 0) <= now:
                return name
        return ""

    async def settled(self, runs: Sequence[Run]) -> None:
        """Claims of committed turns are final; a merged buyer's coupons follow to the survivor; receipts correct costs."""
        for run in runs:
            for account, id, parts in run.billed:
                await self._spend.correct(account, id, parts, self._clock.now())
            for effect in run.effects:
                if isinstance(effect, ProvePhone) and effect.by_code:
                    await self._codes.proved(effect.phone, self._clock.now())
            for claim in run.claims:
                await self._coupons.confirm(claim.campaign, claim.code)
            for campaign, code, buyer in run.rekeyed:
                await self._coupons.rekey(campaign, code, buyer)

    async def sweep(self) -> None:
        """Claims whose turn never came return to the stock after 10 minutes."""
        for campaign, code in await self._coupons.tentative(self._clock.now()):
            state = await self._coupons.find(code)
            if state is not None and await self._holds(state.buyer, code):
                await self._coupons.confirm(campaign, code)
            else:
                await self._coupons.release(campaign, code)

    async def _holds(self, buyer_id: str, code: str) -> bool:
        partition = ids.partition_in(buyer_id)
        if partition is None:
            return False
        subject = await self._store.command("HGET", keys.index(partition), f"b:{buyer_id}")
        record = await self._store.resolve(subject.decode()) if subject else None
        return isinstance(record, Buyer) and any(coupon.code == code for coupon in record.coupons)
