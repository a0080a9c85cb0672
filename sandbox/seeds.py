"""What the sandbox's shop begins with: two campaigns to claim, one product to ask about."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from bot import subjects
from bot.codec import dump_entry
from bot.coupons import Campaign, Coupons
from bot.events import Event, Money, Ms, ProductFacts, ShopEvent, SizeRow, VariantFacts
from bot.store import Store

CHART = (("S", "150-160", "42-50"), ("M", "160-165", "50-57"), ("L", "165-172", "57-65"))
STOCKS = (("S", 0), ("M", 12), ("L", 5))


async def seed(store: Store, coupons: Coupons, shops: Iterable[str], now: Ms, currency: str) -> None:
    """Makes what is not there yet; what visitors changed stays, also after the next start."""
    gift = Campaign(
        "WELCOME", "开卡礼 20 元", "amount_off", 100_000, "20.00", currency, "99.00", valid_days=30, created_at=now
    )
    race = Campaign(
        "RACE50", "满 300 减 50", "amount_off", 50, "50.00", currency, "300.00", valid_days=30, created_at=now
    )
    for campaign in (gift, race):
        await coupons.create(campaign)
    await store.append([dump_entry(_told(shop, currency)) for shop in shops])


def _told(shop: str, currency: str) -> Event:
    """The product, as of long ago: whatever is told of it later counts."""
    shirt = ProductFacts(
        "linen-shirt",
        title="亚麻宽松衬衫",
        short_title="亚麻衬衫",
        categories=("上装",),
        care="30 度以下手洗，不可漂白",
        size_chart=tuple(SizeRow(size, {"身高": height, "体重": weight}) for size, height, weight in CHART),
        variants=tuple(
            VariantFacts(f"LS-{size}", size, "白", Money(Decimal("188.00"), currency), stock) for size, stock in STOCKS
        ),
    )
    body = ShopEvent("product.upserted", shop, 1, product=shirt)
    return Event(f"{shop}|seed|{shirt.id}", subjects.product(shop, shirt.id), shop, 1, 1, body)
