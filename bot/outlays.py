"""What the sender's attempts cost their accounts: reserved before the call, settled by what the provider counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.change import Claimed
from bot.costs import cost
from bot.events import Ms
from bot.messages import OutboundMessage, Receipt
from bot.metrics import SPENT, child
from bot.reasons import SkipReason
from bot.spend import Outlay, Spend


class Attempt(Protocol):
    """A claimed message in the sender's hands: why it must not go, and the day whose limit counts it ("" none)."""

    claimed: Claimed
    message: OutboundMessage
    refusal: str
    reserved: str


class Outlays:
    """One process's attempts; what could not be written yet is kept."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend
        self._waiting: list[tuple[str, str, Outlay]] = []  # account, day, what an attempt came to

    async def reserve(self, attempts: Sequence[Attempt], now: Ms) -> None:
        """Reserves with the accounts' spend limits, where they have any; refuses what would go beyond one."""
        by_account: dict[str, list[Attempt]] = {}
        for one in attempts:
            if not one.refusal and self._spend.limits(one.message.account):
                one.reserved = self._spend.day(now)
                by_account.setdefault(one.message.account, []).append(one)
        for account, some in by_account.items():
            refused = await self._spend.reserve(account, [_outlay(one, one.message.parts) for one in some], now)
            for one in some:
                if one.message.id in refused:
                    one.refusal, one.reserved = SkipReason.SPEND_LIMIT, ""

    def bill(self, one: Attempt, state: str, receipt: Receipt | None) -> None:
        """A reservation becomes what the provider counts, or nothing where it took nothing; in doubt it stays."""
        message = one.message
        parts = receipt.parts or message.parts if receipt else 0
        if (paid := cost(message.price, parts)) is not None:
            child(SPENT, message.account, paid.currency).inc(float(paid.amount))
        if one.reserved and state != "in_doubt" and parts != message.parts:
            self._waiting.append((message.account, one.reserved, _outlay(one, parts)))

    async def write(self, now: Ms) -> None:
        """Settles what waits; a settlement may be repeated, so one is dropped only when it is written."""
        while self._waiting:
            account, day, outlay = self._waiting[0]
            await self._spend.settle(account, day, [outlay], now)
            del self._waiting[0]


def _outlay(one: Attempt, parts: int) -> Outlay:
    return Outlay(one.message.id, one.claimed.attempt, one.message.to, parts)
