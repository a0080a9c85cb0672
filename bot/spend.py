"""Spend limits of accounts: a text's price is reserved before it is handed over, and settled by the provider's count.

`daily_spend_limit` counts by the shop's day, `monthly_budget` by its calendar month, both over all processes and in the
currency of the account's prices. At a limit nothing goes out by the account, whatever its purpose; other accounts carry on.
A text to a country without a price counts at the dearest one, so that nothing gets past a limit for want of a price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from decimal import Decimal

import structlog

from bot import hours, keys, subjects
from bot.clock import DAY_MS
from bot.codec import dump_entry
from bot.costs import Tariff
from bot.errors import StoreError
from bot.events import AccountAlert, Event, Ms
from bot.metrics import SPEND_ALERTS, child
from bot.store import Store

MICRO = 1_000_000
CORRECTED_DAYS = 4  # receipts come within three days
KEPT_DAYS = 10
KEPT_MONTHS = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may spend, and its prices. At least one of the limits is set."""

    tariff: Tariff
    daily: Decimal | None = None
    monthly: Decimal | None = None

    def part(self, to: str) -> int:
        """Millionths that one part to a number counts."""
        price = self.tariff.price(to)
        return _micros(price.amount if price is not None else max(self.tariff.per_part.values()))

    @property
    def least(self) -> int:
        """Millionths of the cheapest part: with less than this left, a limit is used up."""
        return _micros(min(self.tariff.per_part.values()))


@dataclass(frozen=True, slots=True)
class Outlay:
    """One attempt at a text that is about to be handed over."""

    id: str
    attempt: int
    to: str
    parts: int


class Spend:
    """The accounts with a limit. `used_up` says of an account until when it may send nothing; it is a second old at most."""

    def __init__(self, store: Store, limits: Mapping[str, Limits], zone: tzinfo) -> None:
        self._store = store
        self._limits = limits
        self._zone = zone
        self._news: list[Event] = []
        self.used_up: dict[str, Ms] = {}

    def limits(self, account: str) -> bool:
        """Whether an account has a limit at all."""
        return account in self._limits

    def day(self, at: Ms) -> str:
        """The shop's day of an instant, as reservations name it."""
        return hours.local(at, self._zone).date().isoformat()

    async def reserve(self, account: str, outlays: Sequence[Outlay], now: Ms) -> set[str]:
        """Reserves what these attempts will cost; answers the ids for which nothing is left. Repeats change nothing."""
        limits = self._limits[account]
        args: list[object] = []
        for one in outlays:
            price = limits.part(one.to)
            args += [one.id, one.attempt, max(1, one.parts) * price, price]
        return await self._run("reserve", account, [self.day(now)], args, now)

    async def settle(self, account: str, day: str, outlays: Sequence[Outlay], now: Ms) -> None:
        """What attempts reserved on a day came to: their parts, 0 where nothing was accepted. Repeats change nothing."""
        limits = self._limits[account]
        args: list[object] = []
        for one in outlays:
            args += [one.id, one.attempt, one.parts * limits.part(one.to)]
        await self._run("settle", account, [day], args, now)

    async def correct(self, account: str, id: str, parts: int, now: Ms) -> None:
        """A receipt tells the parts of a message of the last days. Repeats change nothing."""
        if parts > 0 and account in self._limits:
            days = [self.day(now - back * DAY_MS) for back in range(CORRECTED_DAYS)]
            await self._run("correct", account, list(dict.fromkeys(days)), [id, parts], now)

    async def _run(self, what: str, account: str, days: Sequence[str], args: Iterable[object], now: Ms) -> set[str]:
        limits = self._limits[account]
        names = [name for day in days for name in (keys.spend(account, day), keys.spend(account, day[:7]))]
        head = [
            what,
            *(_micros(one) if one is not None else "" for one in (limits.daily, limits.monthly)),
            limits.least,
        ]
        found = await self._store.scripts.run("spend", names, [*head, *args])
        spent = [int(found[0]), int(found[1])]
        for window, total, share in zip(("day", "month"), spent, found[2:4], strict=True):
            if share:
                self._warn(account, window, int(share), total, days[0], now)
        if days[0] == self.day(now):
            self._look(account, spent, now)
        await self.tell()
        return {id.decode() for id in found[4:]}

    # --- warnings -------------------------------------------------------------------------------------------------

    def _warn(self, account: str, window: str, share: int, total: int, day: str, now: Ms) -> None:
        limits = self._limits[account]
        limit = limits.daily if window == "day" else limits.monthly
        key = "daily_spend_limit" if window == "day" else "monthly_budget"
        spent = f"{_plain(total)} of {limit} {limits.tariff.currency}"
        child(SPEND_ALERTS, account, window, str(share)).inc()
        (log.error if share == 100 else log.warning)(
            "spend limit", account=account, limit=key, reached_percent=share, spent=spent
        )
        body = AccountAlert(kind="spend", detail=f"{share} % of {key}: {spent}")
        id = f"{account}|spend|{window}|{day if window == 'day' else day[:7]}|{share}"
        self._news.append(Event(id, subjects.account(account), account, now, now, body))

    async def tell(self) -> None:
        """Hands alerts over to the accounts' own records; what cannot be stored now is kept."""
        news, self._news = self._news, []
        if not news:
            return
        try:
            await self._store.append([dump_entry(event) for event in news])
        except StoreError:
            self._news = news + self._news

    # --- what is left ---------------------------------------------------------------------------------------------

    def _look(self, account: str, spent: Sequence[int], now: Ms) -> None:
        limits = self._limits[account]
        tomorrow = hours.day_start(now, self._zone, 1)
        until = 0
        if limits.daily is not None and _micros(limits.daily) - spent[0] < limits.least:
            until = tomorrow
        if limits.monthly is not None and _micros(limits.monthly) - spent[1] < limits.least:
            until = _month_end(now, self._zone)
        if until:
            self.used_up[account] = until
        else:
            self.used_up.pop(account, None)

    async def refresh(self, now: Ms) -> None:
        """Reads what every process has spent."""
        day = self.day(now)
        for account in self._limits:
            totals = [await self._store.command("HGET", keys.spend(account, span), "t") for span in (day, day[:7])]
            self._look(account, [int(total or 0) for total in totals], now)
        await self.tell()

    async def sweep(self, now: Ms) -> None:
        """Days and months that no receipt can be about any more go."""
        today = hours.local(now, self._zone).date()
        days = [(today - timedelta(days=back)).isoformat() for back in range(KEPT_DAYS, KEPT_DAYS + 60)]
        months = [(today.replace(day=1) - timedelta(days=31 * back)).isoformat()[:7] for back in range(KEPT_MONTHS, 12)]
        for account in self._limits:
            await self._store.command("UNLINK", *(keys.spend(account, span) for span in (*days, *months)))


def _month_end(now: Ms, zone: tzinfo) -> Ms:
    here = hours.local(now, zone).date()
    days = ((here.replace(day=28) + timedelta(days=4)).replace(day=1) - here).days
    return hours.day_start(now, zone, days)


def _micros(amount: Decimal) -> int:
    return int(amount * MICRO)


def _plain(micros: int) -> str:
    return str((Decimal(micros) / MICRO).normalize()) if micros % MICRO else str(micros // MICRO)
