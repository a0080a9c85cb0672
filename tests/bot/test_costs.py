"""What texts cost: exact, by country, and never 0 where it is not known."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bot.costs import Tariff, cost
from bot.events import Money

TARIFF = Tariff("CNY", {"CN": Decimal("0.045"), "US": Decimal("0.0083")})


@pytest.mark.parametrize(
    ("to", "parts", "expected"),
    [
        ("+8613900001234", 1, "0.045"),
        ("+8613900001234", 3, "0.135"),
        ("+14155552671", 2, "0.0166"),
    ],
)
def test_parts_times_the_price_of_the_country(to, parts, expected):
    """Decimals stay exact."""
    assert cost(TARIFF.price(to), parts) == Money(Decimal(expected), "CNY")


def test_what_is_not_known_is_not_free():
    """A country without a price, a number without a country, a message without parts."""
    assert TARIFF.price("+447700900123") is None
    assert TARIFF.price("10690001") is None
    assert cost(None, 2) is None
    assert cost(TARIFF.price("+8613900001234"), 0) is None
