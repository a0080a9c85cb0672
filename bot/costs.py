"""What texts cost: parts times what a part costs in the destination's country. Pure; exact amounts in the account's currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from bot.events import Money
from bot.phones import country_of


@dataclass(frozen=True, slots=True)
class Tariff:
    """An account's prices: `per_part` maps ISO countries to the price of one part."""

    currency: str
    per_part: Mapping[str, Decimal]

    def price(self, to: str) -> Money | None:
        """What one part to this number costs, None for a country without a price."""
        amount = self.per_part.get(country_of(to))
        return Money(amount, self.currency) if amount is not None else None


def cost(price: Money | None, parts: int) -> Money | None:
    """What a message of so many parts costs; None, never 0, where its price or its parts are unknown."""
    return Money(price.amount * parts, price.currency) if price is not None and parts > 0 else None
